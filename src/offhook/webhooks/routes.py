"""The HTTP that Twilio speaks to us: TwiML for a call, what comes after a stream, and statuses.

Everything here is answered at once, but for a new call's lookup and Deepgram's first word, which
take 6 s at most: Twilio gives up after 15 s (twilio.md §4.1). Each request is
checked for its signature before a field of it is believed.
"""

import asyncio
import contextlib
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from offhook.call import inputs
from offhook.call.handoff_actions import Meet, SendDigits
from offhook.calls import responses
from offhook.calls.calls import CallEntry, Calls
from offhook.config import Agent, Announcement, Config
from offhook.events.types import ErrandOutcome, StreamTrouble
from offhook.net import websocket
from offhook.observability.metrics.meter import Metrics
from offhook.outbound.placing import CallPlacer
from offhook.twilio import stream_errors, twiml
from offhook.twilio.fields import MisreadFieldError, read
from offhook.twilio.signature import HEADER, SETTINGS_HEADER, Signatures, UnknownKeyError
from offhook.webhooks import form_checks
from offhook.webhooks.pending_streams import PendingStreams

if TYPE_CHECKING:
    from offhook.records.record import Record

_log: Final = logging.getLogger("offhook.webhooks")
_refused_log: Final = logging.getLogger("offhook.refused")
"""Of what anybody can have written again and again (log_limit.py)."""

STREAM_PATH: Final = "/twilio"
PUBLIC: Final = frozenset(
    (
        "/twilio/voice",
        "/twilio/after",
        "/twilio/status",
        "/twilio/stream-status",
        "/twilio/amd",
        "/healthz",
        "/readyz",
    )
)
"""Every path of the HTTP side. /healthz and /readyz are told to the operator's hosts alone."""
URL_MAX: Final = 200
"""Characters of a URL that was refused, in the log."""

VERDICT_S: Final = 1.0
"""How long the caller goes on ringing while Deepgram answers our dial. A refusal that comes by
then is answered without picking up; later ones reach /twilio/after."""

PERSON: Final = "person"
"""In the query of a request about a person who was called for a caller: transfers.py's id."""

_OVER: Final = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})

_OUTCOMES: Final[dict[str, ErrandOutcome]] = {
    "completed": "reached",
    "answered": "reached",
    "busy": "busy",
    "no-answer": "no-answer",
    "canceled": "canceled",
}
"""What DialCallStatus says (twilio.md §2.6)."""

_NOT_TWILIOS: Final = (
    "forwarded",
    "origin",  # of a page in this machine's browser; Twilio sends none (twilio.md §1.2)
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
)

Form = dict[str, str]
Endpoint = Callable[[Form, str], Awaitable[Response]]

_OURS: Final = re.compile("placing|person|left|stream|last")
_QUERY: Final = re.compile(
    "(placing)=([A-Za-z0-9_-]{16})|(person)=([A-Za-z0-9_-]{1,32})"
    "|(left|stream)=([0-9]{1,6})|(last)=(1)"
)
"""What we write into the query of an address: of a placed call's callbacks (outbound/placing.py),
of a person's leg (transfers.py), and of what comes after a stream, a dial or a farewell."""


class TwilioAuth:
    """Whether a request is Twilio's, by its signature; or, in development, this machine's own."""

    def __init__(self, config: Config) -> None:
        self._public_url = config.server.public_url
        self._unsigned = config.server.unsigned
        self._signatures = Signatures(
            [token.get_secret_value() for token in config.twilio.auth_tokens],
            {key: one.get_secret_value() for key, one in config.twilio.signing_secrets.items()},
        )

    def origin(self, headers: Mapping[str, str]) -> str:
        """Our https origin: the configured one, else by the request's Host.

        A forged Host gains nothing: the signature must hold for it all the same.
        """
        return self._public_url or f"https://{headers.get('host', '')}"

    def may_believe(self, headers: Mapping[str, str]) -> bool:
        """Whether a webhook may turn out to be believed, which its headers alone can rule out."""
        return _is_local(headers) if self._unsigned else form_checks.may_be_signed(headers)

    def webhook(self, headers: Mapping[str, str], target: str, form: list[tuple[str, str]]) -> bool:
        """Whether a webhook may be believed; `target` is the raw path and query.

        Raises UnknownKeyError for one that is signed with a key that is not configured.
        """
        if self._unsigned:
            return _is_local(headers)
        return self._signatures.webhook(
            self.origin(headers),
            target,
            form,
            headers.get(HEADER, ""),
            headers.get(SETTINGS_HEADER),
        )

    def upgrade(self, headers: Mapping[str, str], path: str) -> bool:
        """Whether a WebSocket upgrade may be believed. Raises UnknownKeyError as `webhook`."""
        if self._unsigned:
            return _is_local(headers)
        origin = _wss(self.origin(headers))
        return self._signatures.upgrade(
            origin, path, headers.get(HEADER, ""), headers.get(SETTINGS_HEADER)
        )


class Webhooks:
    """Twilio's requests, answered from the calls that are known."""

    def __init__(
        self,
        config: Config,
        calls: Calls,
        lobby: PendingStreams,
        metrics: Metrics,
        record: "Record | None" = None,
        placing: CallPlacer | None = None,
        *,
        failing: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._failing = failing
        self._placing = placing
        self._config = config
        self._calls = calls
        self._lobby = lobby
        self._metrics = metrics
        self._record = record
        self._doors = TwilioAuth(config)

    def app(self) -> Starlette:
        """The HTTP side of the port. The public host has /twilio/… and nothing else."""
        posts: dict[str, tuple[Endpoint, tuple[str, ...]]] = {
            "/twilio/voice": (self._voice, ("From", "To")),
            "/twilio/after": (
                self._after,
                (
                    "CallStatus",
                    "DialCallStatus",
                    "Digits",
                    "Direction",
                    "From",
                    "RecordingSid",
                    "RecordingUrl",
                    "To",
                ),
            ),
            "/twilio/status": (self._status, ("CallDuration", "CallStatus", "SipResponseCode")),
            "/twilio/stream-status": (self._stream_status, ("StreamError", "StreamEvent")),
            "/twilio/amd": (self._answered_by, ("AnsweredBy",)),
        }
        routes = [
            Route(
                path,
                self._timed(path, self._signed(self._contained(endpoint), names)),
                methods=["POST"],
            )
            for path, (endpoint, names) in posts.items()
        ]
        routes.append(Route("/healthz", self._operators_only(self._healthz), methods=["GET"]))
        routes.append(Route("/readyz", self._operators_only(self._readyz), methods=["GET"]))
        assert {route.path for route in routes} == PUBLIC
        return Starlette(routes=routes)

    def decide(self, upgrade: websocket.Upgrade) -> websocket.Acceptance | websocket.Refusal:
        """What to do about a WebSocket upgrade."""
        path = upgrade.path.partition("?")[0]
        if path.rstrip("/") != STREAM_PATH:
            return websocket.Refusal(404, "Not found.\n")
        url = _wss(self._doors.origin(upgrade.headers)) + path
        try:
            believed = self._doors.upgrade(upgrade.headers, upgrade.path)
        except UnknownKeyError as error:
            self._metrics.refused("upgrade", "an unknown signing key")
            _say_unknown_key(url, error)
            return websocket.Refusal(403, "The signature names an unknown key.\n")
        if not believed:
            self._metrics.refused("upgrade", "a wrong signature")
            self._say_unsigned(url)
            return websocket.Refusal(403, "The signature is missing or wrong.\n")
        if self._lobby.full:
            self._metrics.refused("upgrade", "the lobby is full")
            return websocket.Refusal(503, "Too many streams have not said whose call they are.\n")
        return websocket.Acceptance(self._lobby.receiver())

    # --- Twilio's requests ---------------------------------------------------------------------

    async def _voice(self, form: Form, origin: str) -> Response:
        sid = {"call_sid": form["CallSid"]}
        agent = self._config.agent_for(form.get("To"))
        if agent is None:
            self._metrics.refused("webhook", "no line")
            _log.warning(
                "a call to a number without a line, and there is no default: rejected", extra=sid
            )
            return _xml(twiml.reject())
        call_sid, account_sid = form["CallSid"], form["AccountSid"]
        if self._calls.is_long_over(call_sid):
            self._metrics.refused("webhook", "the call is over")
            _log.warning("the call is over, and its webhook was asked again: hung up", extra=sid)
            return _xml(twiml.hang_up())
        entry = self._calls.find(call_sid)
        if entry is None and self._calls.full and not self._calls.is_coming(call_sid):
            self._metrics.refused("webhook", "the house is full")
            _log.warning("the house is full: the call gets the busy answer", extra=sid)
            turned_away = self._calls.turn_away(
                call_sid, account_sid, self._filled(agent, form), *_numbers(form), _last(origin)
            )
            return _xml(turned_away)
        if entry is None:
            from_, to = _numbers(form)
            entry = await self._calls.arrive(call_sid, account_sid, agent, from_=from_, to=to)
        entry.origin = origin
        if entry.session is not None and entry.session.has_agent:
            with contextlib.suppress(TimeoutError):
                # Deepgram may take its time: the stream can be opened meanwhile.
                await asyncio.wait_for(entry.answered.wait(), VERDICT_S)
        if entry.ending is not None:
            return _xml(self._farewell(call_sid, entry, origin))
        return _xml(self._stream(entry, origin, announcement=entry.agent.announcement))

    def _stream(
        self,
        entry: CallEntry,
        origin: str,
        *,
        announcement: Announcement | None = None,
        keys: str = "",
    ) -> str:
        return twiml.connect(
            stream_url=_wss(origin) + STREAM_PATH,
            after_url=self._calls.after_url(entry),
            stream_status_url=origin + "/twilio/stream-status",
            token=entry.token,
            announcement=responses.announced(announcement),
            apology=responses.spoken(entry.agent, entry.agent.fallback.say),
            keys=keys,
        )

    async def _after(self, form: Form, origin: str) -> Response:
        """What comes after a stream, a transfer's dial, a farewell, or a person's key.

        Twilio repeats requests, and a repeated one may be late: the query of each address says
        what it is about, so that the same question gets the same answer, and an old one changes
        nothing (twilio.md §4.1).
        """
        call_sid, outcome = form["CallSid"], form.get("DialCallStatus")
        if PERSON in form:
            digits = form.get("Digits") if outcome is None else None
            return _xml(self._calls.transfers.answer(form[PERSON], call_sid, digits))
        entry = self._calls.find(call_sid)
        agent = self._agent_of(entry, form)
        if form.get("CallStatus") in _OVER:
            if entry is not None and outcome is not None and form.get("left") == str(entry.leaves):
                self._calls.errand_done(call_sid, entry, _OUTCOMES.get(outcome, "failed"))
            self._calls.tell(call_sid, inputs.CallOver())
            document = twiml.nothing()
        elif "last" in form or agent is None or _is_recording(form):
            document = self._after_farewell(outcome, agent)
        elif entry is None and outcome is not None:
            # It was put through by an earlier run of this server.
            document = self._after_farewell(outcome, agent)
        elif entry is None:
            # Our memory of the call is gone (a restart), or it never reached us: its caller waits.
            document = self._calls.farewells.fallback(call_sid, agent, _last(origin))
        else:
            document = self._next(call_sid, entry, form, origin)
        if entry is not None:
            self._calls.after_answered(entry)
        if self._placing is not None and form.get("CallStatus") in _OVER:
            # The callback that says the same may be late, or lost (twilio.md §4.3): whichever comes
            # first settles a call that we placed.
            await self._placing.following.on_status(call_sid, form["CallStatus"], "", "")
        return _xml(document)

    def _next(self, call_sid: str, entry: CallEntry, form: Form, origin: str) -> str:
        """What comes next for a caller whom we know, and who is on the line."""
        calls, outcome, left = self._calls, form.get("DialCallStatus"), form.get("left")
        if left is not None and outcome is not None:
            if left == str(entry.leaves):
                calls.errand_done(call_sid, entry, _OUTCOMES.get(outcome, "failed"))
            if entry.ending is not None and _OUTCOMES.get(outcome) == "reached":
                # The two have talked: who was not told so by the call's end has no more to hear.
                return calls.farewells.hang_up(call_sid)
        elif entry.ending is None:
            stream = form.get("stream", "0")
            if entry.away is not None and stream == str(entry.leaves - 1):
                calls.hand_over(call_sid, entry)
            elif entry.away is None and stream == str(entry.leaves):
                calls.tell(call_sid, inputs.LegLost("caller", "Twilio left the stream"))
        if entry.ending is not None:
            return self._farewell(call_sid, entry, origin)
        return self._while_live(entry, origin)

    def _while_live(self, entry: CallEntry, origin: str) -> str:
        """What Twilio is to do about a caller whose call goes on: the same however often asked."""
        away = entry.away
        if away is None or away.is_returning:
            return self._stream(entry, origin)
        after = f"{origin}/twilio/after?left={entry.leaves}"
        match away.errand:
            case SendDigits(digits):
                return self._stream(entry, origin, keys=digits)
            case Meet(conference=conference):
                return twiml.wait_in(conference, after)
            case dial:
                timeout_s, caller_id = dial.timeout_s, dial.caller_id
                return twiml.dial(dial.to, after, timeout_s=timeout_s, caller_id=caller_id)

    def _after_farewell(self, outcome: str | None, agent: Agent | None) -> str:
        """What comes after a farewell that has dialled or recorded; nothing is dialled again."""
        if outcome is None or agent is None or _OUTCOMES.get(outcome) == "reached":
            return twiml.hang_up()
        return responses.apology(agent)

    async def _status(self, form: Form, origin: str) -> Response:
        status = form.get("CallStatus", "")
        if PERSON in form:
            self._calls.transfers.status(form[PERSON], form["CallSid"], status)
            return Response(status_code=204)
        news: bool | None = None
        if self._placing is not None:
            sip = form.get("SipResponseCode", "")
            news = await self._placing.following.on_status(
                form["CallSid"], status, form.get("placing", ""), f"SIP {sip}" if sip else ""
            )
        if status in _OVER:
            if news is not False:
                self._calls.tell(form["CallSid"], inputs.CallOver())
            seconds = form.get("CallDuration", "0")
            if seconds.isascii() and seconds.isdigit() and len(seconds) < 7:
                self._calls.billed(form["CallSid"], status, int(seconds))
        return Response(status_code=204)

    async def _answered_by(self, form: Form, origin: str) -> Response:
        if self._placing is not None:
            verdict = form.get("AnsweredBy", "")
            await self._placing.following.on_answered_by(
                form["CallSid"], verdict, form.get("placing", "")
            )
        return Response(status_code=204)

    async def _stream_status(self, form: Form, origin: str) -> Response:
        if form.get("StreamEvent") == "stream-error":
            code, words = stream_errors.explain(form.get("StreamError", ""))
            entry = self._calls.find(form["CallSid"])
            # 31921 also comes when we have closed the stream on purpose (twilio.md §1.9).
            if code == "31921" and entry is not None and entry.ending is not None:
                pass
            elif entry is not None and entry.session is not None:
                entry.session.note(StreamTrouble(code, words))
            else:
                sid = {"call_sid": form["CallSid"]}
                _log.warning("stream error %s: %s", code, words, extra=sid)
        return Response(status_code=204)

    def _farewell(self, call_sid: str, entry: CallEntry, origin: str) -> str:
        farewells, ending = self._calls.farewells, entry.ending
        if ending is None:
            return farewells.hang_up(call_sid)
        return farewells.after_ending(call_sid, entry.agent, ending, _last(origin))

    def _agent_of(self, entry: CallEntry | None, form: Form) -> Agent | None:
        if entry is not None:
            return entry.agent
        outbound = form.get("Direction", "").startswith("outbound")
        ours = form.get("From" if outbound else "To")
        agent = self._config.agent_for(ours)
        return self._filled(agent, form) if agent is not None else None

    def _filled(self, agent: Agent, form: Form) -> Agent:
        """An agent as it speaks to a call that has not come in: nothing was looked up for it."""
        return agent.filled(self._calls.variables(form["CallSid"], agent, *_numbers(form)))

    # --- the operator's ------------------------------------------------------------------------

    async def _healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _readyz(self, request: Request) -> Response:
        calls = self._calls
        state = "draining" if calls.draining else "full" if calls.full else "ready"
        body: dict[str, Any] = {
            "state": state,
            "live": calls.live,
            "capacity": self._config.server.capacity,
        }
        if self._record is not None:
            body["records"] = self._record.state
        failing = self._failing()
        if failing:
            body["failing"] = failing
        if "dead" in failing.values():  # only a restart mends that
            body["state"] = state = "broken"
        return JSONResponse(body, 200 if state == "ready" else 503)

    # --- who may ask ---------------------------------------------------------------------------

    def _signed(
        self, endpoint: Endpoint, names: tuple[str, ...]
    ) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint, asked about signed forms alone, of which it is given the fields `names`."""

        async def checked(request: Request) -> Response:
            target = request.scope["raw_path"].decode("latin-1").partition("?")[0]
            query = request.scope["query_string"].decode("latin-1")
            url = (
                self._doors.origin(request.headers) + target
            )  # what is told: a query may be secret
            target += f"?{query}" if query else ""
            fields, believed = None, False
            if self._doors.may_believe(request.headers):
                try:
                    fields = await form_checks.read(request)
                    believed = self._doors.webhook(request.headers, target, fields)
                except form_checks.BadFormError as bad:
                    return PlainTextResponse(f"{bad.why}\n", bad.status)
                except UnknownKeyError as error:
                    self._metrics.refused("webhook", "an unknown signing key")
                    _say_unknown_key(url, error)
                    return PlainTextResponse("The signature names an unknown key.\n", 403)
            if fields is None or not believed:
                self._metrics.refused("webhook", "a wrong signature")
                self._say_unsigned(url)
                return PlainTextResponse("The signature is missing or wrong.\n", 403)
            try:
                form = read(target, fields, names)
            except MisreadFieldError as error:
                self._metrics.refused("webhook", "a misread field")
                _refused_log.warning("E-SEC-04 400 for %s: %s.", url[:URL_MAX], error)
                return PlainTextResponse(f"Not a request of Twilio's: {error}.\n", 400)
            if self._config.twilio.account_sid not in (None, form["AccountSid"]):
                self._metrics.refused("webhook", "a foreign account")
                return PlainTextResponse("This is not our account.\n", 403)
            about = _QUERY.fullmatch(query)
            if about is not None:
                name, value = (part for part in about.groups() if part is not None)
                form[name] = value
            elif _OURS.match(query) is not None:
                self._metrics.refused("webhook", "a misread field")
                return PlainTextResponse("Not a request of Twilio's: a query is cut.\n", 400)
            return await endpoint(form, self._doors.origin(request.headers))

        return checked

    def _contained(self, endpoint: Endpoint) -> Endpoint:
        """Answer a fault in the endpoint by saying sorry: else Twilio reads out an error."""

        async def contained(form: Form, origin: str) -> Response:
            try:
                return await endpoint(form, origin)
            except Exception as error:  # noqa: BLE001 - it ends the call that it is about
                call_sid = form["CallSid"]
                _log.exception("a fault in a webhook", extra={"call_sid": call_sid})
                self._calls.tell(call_sid, inputs.CallBroke(type(error).__name__))
                entry = self._calls.find(call_sid)
                agent = entry.agent if entry is not None else self._config.agent_for(None)
                document = twiml.hang_up() if agent is None else responses.apology(agent)
                return _xml(document)

        return contained

    def _timed(
        self, path: str, endpoint: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        now = self._lobby.clock.now

        async def timed(request: Request) -> Response:
            began, status = now(), 500
            try:
                response = await endpoint(request)
                status = response.status_code
            finally:
                self._metrics.answered(path, status, now() - began)
            return response

        return timed

    def _operators_only(
        self, endpoint: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            if host_name(request.headers) not in self._config.server.operator_hosts:
                return PlainTextResponse("Not found.\n", 404)
            return await endpoint(request)

        return checked

    def _say_unsigned(self, url: str) -> None:
        if self._config.server.unsigned:
            _refused_log.warning(
                "E-SEC-02 403 for %s: --unsigned answers this machine's own alone.", url[:URL_MAX]
            )
        else:
            _refused_log.warning(
                "E-SEC-01 403: signature missing or wrong for %s. Exactly that URL was checked;"
                " Twilio may have called another host. Set --public-url, and TWILIO_AUTH_TOKEN.",
                url[:URL_MAX],
            )


def _say_unknown_key(url: str, error: UnknownKeyError) -> None:
    _refused_log.warning(
        "E-SEC-03 403 for %s: signed with a shared key, but %s. Set TWILIO_SIGNING_SECRETS.",
        url[:URL_MAX],
        error,
    )


def _numbers(form: Form) -> tuple[str, str]:
    """Who calls, and which number was called; empty where Twilio does not tell."""
    return form.get("From", ""), form.get("To", "")


def _xml(document: str) -> Response:
    return Response(document, media_type="text/xml")


def _last(origin: str) -> str:
    """Where Twilio asks what comes after a farewell: nothing but its end, whatever is known."""
    return origin + "/twilio/after?last=1"


def _is_recording(form: Form) -> bool:
    return "RecordingUrl" in form or "RecordingSid" in form


def _wss(origin: str) -> str:
    """An https origin as a stream's URL and signature have it."""
    return "wss" + origin.removeprefix("https")


def host_name(headers: Mapping[str, str]) -> str:
    """The name that a request is for, without a port and in small letters."""
    host = headers.get("host", "").lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _is_local(headers: Mapping[str, str]) -> bool:
    """Addressed to this machine by name, and neither handed on by a proxy nor a web page's."""
    if any(name in headers for name in _NOT_TWILIOS):
        return False
    name = host_name(headers)
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
