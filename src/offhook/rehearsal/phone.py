"""Places a rehearsed call: the part of Twilio between a phone number and a media stream.

It requests the voice webhook, executes the TwiML that it gets, opens the stream and posts the
callbacks. Source: twilio.md §1.2, §1.7, §1.10, §2 and §4.

It speaks to one host, as webhooks.py says; a URL of another host is noted and never contacted.
"""

import asyncio
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final, Literal, TypeAlias
from urllib.parse import urljoin
from uuid import uuid4

import httpx2

from offhook import wire
from offhook.clock import Clock, Timer
from offhook.rehearsal import stream_socket, verbs, webhooks
from offhook.rehearsal.caller import Caller
from offhook.rehearsal.ending import Ending
from offhook.rehearsal.report import CallReport, Document, Note
from offhook.rehearsal.stream import EndedBy, SimulatedStream, StreamEvent
from offhook.rehearsal.verbs import Verb
from offhook.rehearsal.webhooks import Failed, Front, Request

MAX_DOCUMENTS: Final = 100
"""TwiML documents of one call, so that one which redirects to itself comes to an end."""

SAY_S: Final = 0.06
"""Simulated seconds that speaking one character of a <Say> takes."""

PLAY_S: Final = 2.0
DIAL_S: Final = 3.0
RECORD_S: Final = 5.0
"""Simulated seconds that a sound, a dialled call and a message take: nothing is fetched, dialled
or recorded."""

SCHEMA_WARNING: Final = 12200
STATUS_CALLBACK_FAILURE: Final = 15003
UNKNOWN_STREAM_ERROR: Final = 31900
UNREACHABLE: Final = 31904
UPGRADE_REFUSED: Final = 31920
NOT_WSS: Final = 31922

DialStatus: TypeAlias = Literal["completed", "busy", "no-answer", "failed", "canceled"]


async def place_call(
    to_url: str,
    caller: Caller,
    *,
    clock: Clock,
    auth_token: str | None,
    account_sid: str,
    from_: str,
    to: str,
    call_sid: str | None = None,
    parameters: Mapping[str, str] | None = None,
    public_url: str | None = None,
    status_callback: str | None = None,
    fallback_url: str | None = None,
    dial_status: DialStatus = "completed",
    time_limit_s: float | None = None,
) -> CallReport:
    """Call a number whose voice webhook (http, https) or media stream (ws, wss) is `to_url`.

    Without `auth_token` nothing is signed; `public_url` is the origin that a server behind a plain
    `to_url` takes itself to have, if another (webhooks.py). `parameters` are the stream's, when
    `to_url` is one. `dial_status` is what becomes of every <Dial>. A call that is not over after
    `time_limit_s` simulated seconds is hung up, which its report calls a fault. Cancelling it hangs
    up; then, as after a normal end, no connection and no task is left. Raises Problem E-REH-02 for
    another `to_url`.
    """
    front = Front(to_url, auth_token, public_url)
    report = CallReport(account_sid, call_sid or "CA" + uuid4().hex, caller)
    async with (
        httpx2.AsyncClient(timeout=webhooks.TIMEOUT_S, trust_env=False) as http,
        asyncio.TaskGroup() as callbacks,
    ):
        call = _Call(report, front, clock, http, callbacks, from_, to, dial_status)
        await call.run(parameters or {}, status_callback, fallback_url, time_limit_s)
    return report


class _Call:
    """One call while it lasts."""

    def __init__(
        self,
        report: CallReport,
        front: Front,
        clock: Clock,
        http: httpx2.AsyncClient,
        callbacks: asyncio.TaskGroup,
        from_: str,
        to: str,
        dial_status: DialStatus,
    ) -> None:
        self._report = report
        self._front = front
        self._clock = clock
        self._http = http
        self._callbacks = callbacks
        self._dial_status = dial_status
        self._status = "ringing"
        self._form = {
            "AccountSid": report.account_sid,
            "CallSid": report.call_sid,
            "From": from_,
            "To": to,
            "Caller": from_,
            "Called": to,
            "Direction": "inbound",
            "ApiVersion": "2010-04-01",
        }

    async def run(
        self,
        parameters: Mapping[str, str],
        status_callback: str | None,
        fallback_url: str | None,
        time_limit_s: float | None,
    ) -> None:
        report = self._report
        timer: Timer | None = None
        try:
            async with asyncio.timeout(None) as limit:
                if time_limit_s is not None:
                    up = self._clock.now() + time_limit_s
                    timer = self._clock.call_at(up, lambda: limit.reschedule(0.0))
                report.ending = await self._until_over(parameters, fallback_url)
        except TimeoutError:
            report.ending = "given_up"
        finally:
            if timer is not None:
                timer.cancel()
        report.caller.call_ended()
        report.ended_at = self._clock.now()
        if math.isnan(report.answered_at):
            report.answered_at = report.ended_at
        self._status = {"rejected": "busy", "application_error": "failed"}.get(
            report.ending, "completed"
        )
        if status_callback is not None:
            seconds = math.ceil(report.ended_at - report.answered_at)
            final = {
                "CallStatus": self._status,
                "CallDuration": str(seconds),
                "Duration": str(math.ceil(seconds / 60)),
                "Timestamp": format_datetime(datetime.now(UTC)),
                "CallbackSource": "call-progress-events",
                "SequenceNumber": "0",
            }
            self._post(Request(status_callback, "POST", self._form | final))

    async def _until_over(self, parameters: Mapping[str, str], fallback_url: str | None) -> Ending:
        if not self._front.is_stream:
            return await self._follow(Request(self._front.url), fallback_url)
        self._report.answered_at = self._clock.now()
        self._status = "in-progress"
        nouns = tuple(
            Verb("Parameter", {"name": name, "value": value}, "", ())
            for name, value in parameters.items()
        )
        noun = Verb("Stream", {"url": self._front.url}, "", nouns)
        return _end_of_stream(await self._stream(noun, self._front.url))

    # --- TwiML ---

    async def _follow(self, request: Request, fallback_url: str | None) -> Ending:
        """Get a document, execute it, and go where it leads."""
        for _ in range(MAX_DOCUMENTS):
            try:
                document = await self._document(request)
            except Failed as failed:
                self._note(failed.code, str(failed))
                if fallback_url is None:
                    return "application_error"
                why = {"ErrorCode": str(failed.code), "ErrorUrl": request.url}
                request, fallback_url = Request(fallback_url, "POST", why), None
                continue
            outcome = await self._execute(document, request.url)
            if not isinstance(outcome, Request):
                return outcome
            request = outcome
        self._note(
            webhooks.HTTP_FAILURE, f"{MAX_DOCUMENTS} documents, and the last leads to another"
        )
        return "application_error"

    async def _document(self, request: Request) -> list[Verb]:
        form = {**self._form, "CallStatus": self._status, **request.parameters}
        response = await self._front.send(self._http, Request(request.url, request.method, form))
        body = response.content
        text = body.decode("utf-8", "replace")
        self._report.documents.append(Document(request.url, response.status_code, text))
        if response.status_code != 200:
            raise Failed(webhooks.HTTP_FAILURE, f"{request.url} answered {response.status_code}")
        try:
            document, warnings = verbs.read(body, response.headers.get("content-type"))
        except verbs.BadTwiml as bad:
            raise Failed(bad.code, f"{request.url}: {bad}") from None
        for warning in warnings:
            self._note(SCHEMA_WARNING, warning)
        return document

    async def _execute(self, document: list[Verb], base: str) -> Ending | Request:
        """Execute a document; the request for the next one, or how the call ended."""
        if document and document[0].name != "Reject" and math.isnan(self._report.answered_at):
            self._report.answered_at = self._clock.now()
            self._status = "in-progress"
        for verb in document:
            self._report.verbs.append(verb)
            extra: dict[str, str] = {}
            match verb.name:
                case "Say":
                    await self._pass(SAY_S * len(verb.text) * self._loops(verb))
                case "Play":
                    await self._pass(_play_seconds(verb) * self._loops(verb))
                case "Pause":
                    await self._pass(self._number(verb, "length"))
                case "Hangup":
                    return "hangup_verb"
                case "Reject":
                    return "rejected"
                case "Redirect":
                    return self._next(verb, verb.text, base, extra)
                case "Connect":
                    if await self._connect(verb, base) == "caller":
                        await self._after_hang_up(verb, base)
                        return "caller_hung_up"
                case "Dial":
                    await self._pass(DIAL_S)
                    extra = self._dialled()
                case _:
                    assert verb.name == "Record"  # verbs.read gives no others
                    await self._pass(RECORD_S)
                    extra = self._recorded()
            action = verb.attributes.get("action")
            if verb.name == "Record" and action is None:
                action = base  # its default is the document itself
            if action is not None:
                return self._next(verb, action, base, extra)
        return "end_of_document"

    def _next(self, verb: Verb, url: str, base: str, extra: Mapping[str, str]) -> Request:
        return Request(urljoin(base, url), _method(verb, "method"), extra)

    def _dialled(self) -> dict[str, str]:
        duration = str(round(DIAL_S)) if self._dial_status == "completed" else "0"
        return {
            "DialCallStatus": self._dial_status,
            "DialCallSid": "CA" + uuid4().hex,
            "DialCallDuration": duration,
        }

    def _recorded(self) -> dict[str, str]:
        sid = "RE" + uuid4().hex
        account = self._report.account_sid
        return {
            "RecordingSid": sid,
            "RecordingUrl": f"https://api.twilio.com/2010-04-01/Accounts/{account}/Recordings/{sid}",
            "RecordingDuration": str(round(RECORD_S)),
        }

    async def _connect(self, verb: Verb, base: str) -> EndedBy | None:
        """Run a stream to its end; whoever ended it, or None if it never began."""
        if len(verb.nouns) != 1:
            self._note(SCHEMA_WARNING, f"<Connect> with {len(verb.nouns)} <Stream>")
            return None
        return await self._stream(verb.nouns[0], base)

    async def _after_hang_up(self, verb: Verb, base: str) -> None:
        """Request `action` once more, without obeying the answer (§2.4; INFERRED)."""
        self._status = "completed"
        action = verb.attributes.get("action")
        if action is not None:
            try:
                await self._document(self._next(verb, action, base, {}))
            except Failed as failed:
                self._note(failed.code, str(failed))

    # --- the stream ---

    async def _stream(self, noun: Verb, base: str) -> EndedBy | None:
        url = urljoin(base, noun.attributes.get("url", ""))
        if "://" not in noun.attributes.get("url", ""):
            url = re.sub("^http", "ws", url)  # a relative one is the document's, as a socket
        url, _, query = url.partition("?")
        if query:
            self._note(None, "the query string of a stream's URL is not delivered")
        sid = "MZ" + uuid4().hex
        ended = asyncio.Event()

        def report(event: StreamEvent, code: int | None, text: str) -> None:
            if code is not None:
                self._note(code, text)
            self._post_stream_event(noun, base, sid, event, f"{code} {text}" if code else "")

        dialled = self._front.dialled(url)
        if not url.startswith("wss://"):
            report("stream-error", NOT_WSS, f"{url} is no wss URL")
            return None
        if dialled is None:
            report("stream-error", UNREACHABLE, f"{url} is another host's: not contacted")
            return None
        headers = {"User-Agent": "Twilio.TmeWs/1.0", "Accept-Encoding": "gzip"}
        signature = self._front.signature(url)
        if signature is not None:
            headers["x-twilio-signature"] = signature
        one = SimulatedStream(
            self._report.caller,
            self._clock,
            account_sid=self._report.account_sid,
            call_sid=self._report.call_sid,
            stream_sid=sid,
            parameters={
                parameter.attributes.get("name", ""): parameter.attributes.get("value", "")
                for parameter in noun.nouns
            },
            report=report,
            on_end=ended.set,
        )
        try:
            await stream_socket.connect(dialled, one, headers)
        except wire.Refused as refused:
            report("stream-error", UPGRADE_REFUSED, f"the upgrade was answered {refused.status}")
            return None
        except wire.Unreachable as unreachable:
            report("stream-error", UNKNOWN_STREAM_ERROR, str(unreachable))
            return None
        self._report.streams.append(one)
        try:
            await ended.wait()
        finally:
            # Cancelled: hang up, and leave when the socket is closed, which wire.py sees to.
            one.hang_up()
            await ended.wait()
        return one.ended_by

    def _post_stream_event(
        self, noun: Verb, base: str, sid: str, event: StreamEvent, error: str
    ) -> None:
        url = noun.attributes.get("statusCallback")
        if url is None:
            return
        form = {
            "AccountSid": self._report.account_sid,
            "CallSid": self._report.call_sid,
            "StreamSid": sid,
            "StreamName": noun.attributes.get("name", sid),
            "StreamEvent": event,
            "Timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        if error:
            form["StreamError"] = error
        self._post(Request(urljoin(base, url), _method(noun, "statusCallbackMethod"), form))

    # --- callbacks ---

    def _post(self, request: Request) -> None:
        """Post a callback, beside the call."""
        self._callbacks.create_task(self._deliver(request), name=f"callback {request.url}")

    async def _deliver(self, request: Request) -> None:
        if self._front.dialled(request.url) is None:
            self._note(None, f"{request.url} is another host's: not contacted")
            return
        try:
            response = await self._front.send(self._http, request)
        except Failed as failed:
            self._note(failed.code, str(failed))
            return
        if response.status_code >= 400:
            text = f"{request.url} answered {response.status_code}"
            self._note(STATUS_CALLBACK_FAILURE, text)

    # --- time and notes ---

    def _loops(self, verb: Verb) -> int:
        """How often a <Say> or <Play> is repeated; 0 means until the end, at most 1000 (§2.5)."""
        return self._number(verb, "loop") or 1000

    def _number(self, verb: Verb, attribute: str) -> int:
        """A whole number, 1 by default."""
        value = verb.attributes.get(attribute, "1")
        if value.isdecimal():
            return int(value)
        self._note(SCHEMA_WARNING, f"{attribute} of <{verb.name}> is no number")
        return 1

    async def _pass(self, seconds: float) -> None:
        """Let simulated time pass."""
        passed = asyncio.Event()
        timer = self._clock.call_at(self._clock.now() + seconds, passed.set)
        try:
            await passed.wait()
        finally:
            timer.cancel()

    def _note(self, code: int | None, text: str) -> None:
        self._report.notes.append(Note(code, text))


def _end_of_stream(ended_by: EndedBy | None) -> Ending:
    if ended_by == "caller":
        return "caller_hung_up"
    return "stream_closed" if ended_by == "server" else "stream_failed"


def _method(verb: Verb, attribute: str) -> str:
    return "GET" if verb.attributes.get(attribute, "").upper() == "GET" else "POST"


def _play_seconds(verb: Verb) -> float:
    digits = verb.attributes.get("digits")
    if digits is None:
        return PLAY_S
    return sum({"w": 0.5, "W": 1.0}.get(digit, 0.2) for digit in digits)
