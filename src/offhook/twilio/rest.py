"""Twilio's REST API: calls placed, redirected and ended, texts sent, numbers configured.

Source: twilio.md §5. A request is repeated only where that does no harm: creating a call or a text
is repeated only when it is certain that the request was not carried out, because Twilio has no
idempotency key (§5.1).

Numbers, texts and TwiML are never logged, and no repr here shows them.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

import httpx2
import msgspec

from offhook.text.clean import whole
from offhook.twilio import call_status
from offhook.twilio import errors as refusals
from offhook.twilio.errors import CallMovedError, TwilioRefusedError, TwilioUnreachableError
from offhook.twilio.rest_account import RestAccount
from offhook.twilio.twiml import TWIML_MAX

_log: Final = logging.getLogger("offhook.twilio")

VERSION: Final = "2010-04-01"

BODY_MAX: Final = 1024 * 1024
"""Bytes of an answer; a longer one is refused. A page of a hundred numbers has a fifth of it."""

AT_ONCE: Final = 10
"""Requests in flight. Twilio counts concurrent ones, and answers too many with 429 (§5.2)."""

CONNECT_S: Final = 5.0
ANSWER_S: Final = 15.0
"""Seconds that a connection, and one request in all, may take."""

ATTEMPTS: Final = 5
BACKOFF_S: Final = 0.25
BACKOFF_MAX_S: Final = 4.0
RETRY_AFTER_MAX_S: Final = 30.0
"""Seconds of a wait, at most; a request that must wait longer is given up. A request is repeated
after a random part of 0.5, 1, 2 and 4 s, on top of the time that Twilio asks for."""

PAGE: Final = 100
PAGES_MAX: Final = 100

_NEVER_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)

_Form: TypeAlias = Mapping[str, str | Sequence[str] | None]

Permit: TypeAlias = Callable[[str], Awaitable[bool]]
"""Function that returns whether this process may act on the call with a CallSid, once it knows.

An empty CallSid stands for a call that is yet to be placed, and for what concerns no call.
"""


@dataclass(frozen=True, slots=True)
class MachineDetection:
    """Asynchronous answering-machine detection: the verdict is posted to `callback` (§5.3).

    `Enable` tells at the first sign of a machine, `DetectMessageEnd` when its greeting is over.
    `timeout_s` 3 to 59, `speech_threshold_ms` 1000 to 6000, `speech_end_threshold_ms` 500 to 5000,
    `silence_timeout_ms` 2000 to 10000.
    """

    mode: Literal["Enable", "DetectMessageEnd"]
    callback: str
    timeout_s: int = 30
    speech_threshold_ms: int = 2400
    speech_end_threshold_ms: int = 1200
    silence_timeout_ms: int = 5000


class _Resource(msgspec.Struct, frozen=True, kw_only=True):
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, 'sid', '')}>"


class RestCall(_Resource, frozen=True, kw_only=True):
    """A call as Twilio reports it. A fetched status may lag behind callbacks (§5.2)."""

    sid: str
    status: str
    """Status: queued, initiated, ringing, in-progress, completed, busy, failed, no-answer or
    canceled."""
    to: str = ""
    from_: str = msgspec.field(name="from", default="")
    direction: str = ""
    answered_by: str | None = None
    parent_call_sid: str | None = None
    duration: str | None = None
    date_created: str | None = None

    @property
    def created_s(self) -> float | None:
        """The time of creation by Twilio's wall clock, in seconds since 1970."""
        return date_s(self.date_created)

    @property
    def duration_s(self) -> int | None:
        """The seconds for which the call was answered; None while it is not over."""
        known = self.duration
        return int(known) if known and known.isdecimal() and len(known) < 10 else None


class RestMessage(_Resource, frozen=True, kw_only=True):
    """A text message that Twilio accepted."""

    sid: str
    status: str
    num_segments: str = "1"
    """The number of segments, each of which is billed."""


class RestNumber(_Resource, frozen=True, kw_only=True):
    """A number of the account, with the URLs that its calls go to.

    With a `voice_application_sid` or a `trunk_sid` Twilio ignores the URLs (§5.7).
    """

    sid: str
    phone_number: str
    friendly_name: str | None = None
    voice_url: str | None = None
    voice_method: str | None = None
    status_callback: str | None = None
    status_callback_method: str | None = None
    voice_application_sid: str | None = None
    trunk_sid: str | None = None


class RestAccountState(_Resource, frozen=True, kw_only=True):
    """An account as Twilio reports it: `active`, `suspended` or `closed`; `Trial` or `Full`."""

    sid: str
    status: str
    type: str = ""

    @property
    def is_trial(self) -> bool:
        """True for an account that has not been upgraded."""
        return self.type == "Trial"


class DialingCountry(_Resource, frozen=True, kw_only=True):
    """Geographic permissions of an account for one country."""

    iso_code: str
    low_risk_numbers_enabled: bool


_T = TypeVar("_T", RestCall, RestMessage, RestNumber)


class _Calls(msgspec.Struct, frozen=True):
    calls: list[RestCall]


class _Numbers(msgspec.Struct, frozen=True):
    incoming_phone_numbers: list[RestNumber]
    next_page_uri: str | None = None


class TwilioRest:
    """The REST API of an account, over a client that its owner closes.

    Every method raises TwilioRefusedError for an answer that is not a success, and
    TwilioUnreachableError for no answer or an unusable one, and nothing else. TwiML that is too
    long for Twilio is refused with 413 before it is sent. Where `permit` returns False, a request
    that changes something is refused with CallMovedError. A method waits where Twilio asks it to
    (429), up to half a minute in all.
    """

    def __init__(
        self,
        account: RestAccount,
        http: httpx2.AsyncClient,
        *,
        attempts: int = ATTEMPTS,
        permit: Permit | None = None,
    ) -> None:
        self.account: Final = account
        self._http = http
        self._attempts = attempts
        self._permit = permit
        self._auth = httpx2.BasicAuth(account.user, account.password)
        self._origin = account.origin
        # Twilio serves the permissions at another host; an origin of one's own serves both.
        self._voice_origin = account.origin.replace("://api.", "://voice.", 1)
        self._account = f"/{VERSION}/Accounts/{account.sid}"
        self._free = asyncio.Semaphore(AT_ONCE)
        self.date_s: float | None = None
        """Twilio's time at its last answer, in seconds since 1970; None: unknown."""

    # --- calls ---

    async def create_call(
        self,
        *,
        to: str,
        from_: str,
        twiml: str | None = None,
        url: str | None = None,
        status_callback: str | None = None,
        timeout_s: int = 30,
        time_limit_s: int | None = None,
        machine_detection: MachineDetection | None = None,
        call_reason: str | None = None,
        send_digits: str | None = None,
        for_call: str = "",
    ) -> RestCall:
        """Ring `to`, and run `twiml`, or what `url` answers, when the call is answered.

        The call rings for `timeout_s` (Twilio may add 5 s), and lasts `time_limit_s` at most. The
        status callback comes at every step. `send_digits` are played first, and rule out machine
        detection. `for_call` is the CallSid of the caller for whom somebody is called. The request
        is never repeated once it may have been sent.
        """
        form: dict[str, str | Sequence[str] | None] = {
            "To": to,
            "From": from_,
            **_instructions(twiml, url),
            "Timeout": str(timeout_s),
            "TimeLimit": _number(time_limit_s),
            "CallReason": call_reason,
            "SendDigits": send_digits,
        }
        if status_callback is not None:
            form["StatusCallback"] = status_callback
            form["StatusCallbackEvent"] = call_status.EVENTS
        if machine_detection is not None:
            form |= {
                "MachineDetection": machine_detection.mode,
                "AsyncAmd": "true",
                "AsyncAmdStatusCallback": machine_detection.callback,
                "MachineDetectionTimeout": str(machine_detection.timeout_s),
                "MachineDetectionSpeechThreshold": str(machine_detection.speech_threshold_ms),
                "MachineDetectionSpeechEndThreshold": str(
                    machine_detection.speech_end_threshold_ms
                ),
                "MachineDetectionSilenceTimeout": str(machine_detection.silence_timeout_ms),
            }
        return await self._post("/Calls", form, RestCall, repeatable=False, about=for_call)

    async def update_call(
        self, sid: str, *, twiml: str | None = None, url: str | None = None
    ) -> RestCall:
        """Replace the TwiML of a live call: its stream stops, and the new TwiML runs (§5.4).

        A call that is over is refused with 21220 or 20404.
        """
        path = f"/Calls/{quote(sid, safe='')}"
        form = _instructions(twiml, url)
        return await self._post(path, form, RestCall, repeatable=True, about=sid)

    async def hang_up(self, sid: str) -> None:
        """End a call in any state. Harmless for a call that is over already."""
        path = f"/Calls/{quote(sid, safe='')}"
        try:
            form = {"Status": "completed"}
            await self._post(path, form, RestCall, repeatable=True, about=sid)
        except TwilioRefusedError as refused:
            if refused.code not in (20404, 21220) and refused.status != 404:
                raise

    async def fetch_call(self, sid: str) -> RestCall:
        """Return a call as Twilio reports it."""
        return _read(await self._get(f"{self._account}/Calls/{quote(sid, safe='')}.json"), RestCall)

    async def calls_to(self, *, to: str, from_: str) -> list[RestCall]:
        """Return calls from one number to another, the newest first: a page of them at most."""
        query = urlencode({"To": to, "From": from_, "PageSize": str(PAGE)})
        return _read(await self._get(f"{self._account}/Calls.json?{query}"), _Calls).calls

    # --- texts and numbers ---

    async def send_message(
        self,
        *,
        to: str,
        from_: str,
        body: str,
        status_callback: str | None = None,
        for_call: str = "",
    ) -> RestMessage:
        """Send a text of at most 1600 characters. Never repeated once it may have been sent.

        `for_call` is the CallSid of the call in which it is sent.
        """
        form = {"To": to, "From": from_, "Body": body, "StatusCallback": status_callback}
        return await self._post("/Messages", form, RestMessage, repeatable=False, about=for_call)

    async def numbers(self, phone_number: str | None = None) -> list[RestNumber]:
        """Return the account's numbers, or only `phone_number` (E.164), if the account has it."""
        query = {"PageSize": str(PAGE)}
        if phone_number is not None:
            query["PhoneNumber"] = phone_number
        found: list[RestNumber] = []
        path: str | None = f"{self._account}/IncomingPhoneNumbers.json?{urlencode(query)}"
        for _ in range(PAGES_MAX):
            if path is None:
                break
            page = _read(await self._get(path), _Numbers)
            found += page.incoming_phone_numbers
            path = page.next_page_uri
            if path is not None and not path.startswith(f"/{VERSION}/"):
                raise TwilioUnreachableError("the next page's URL is not Twilio's", sent=True)
        return found

    async def fetch_number(self, sid: str) -> RestNumber:
        """Return a number of the account by its SID."""
        path = f"{self._account}/IncomingPhoneNumbers/{quote(sid, safe='')}.json"
        return _read(await self._get(path), RestNumber)

    async def update_number(
        self,
        sid: str,
        *,
        voice_url: str | None = None,
        voice_method: str | None = None,
        status_callback: str | None = None,
        status_callback_method: str | None = None,
        voice_application_sid: str | None = None,
        trunk_sid: str | None = None,
    ) -> RestNumber:
        """Change where a number's calls go; None leaves a value as it is, "" empties it."""
        form = {
            "VoiceUrl": voice_url,
            "VoiceMethod": voice_method,
            "StatusCallback": status_callback,
            "StatusCallbackMethod": status_callback_method,
            "VoiceApplicationSid": voice_application_sid,
            "TrunkSid": trunk_sid,
        }
        path = f"/IncomingPhoneNumbers/{quote(sid, safe='')}"
        return await self._post(path, form, RestNumber, repeatable=True)

    # --- the account ---

    async def fetch_account(self) -> RestAccountState:
        """Return the account. Of API keys only a main one may read it (twilio.md §5.1)."""
        return _read(await self._get(f"{self._account}.json"), RestAccountState)

    async def fetch_country(self, iso_code: str) -> DialingCountry:
        """Return whether the account may call a country, by its ISO code (twilio.md §5.8)."""
        path = f"/v1/DialingPermissions/Countries/{quote(iso_code, safe='')}"
        return _read(await self._get(path, self._voice_origin), DialingCountry)

    # --- requests ---

    async def _post(
        self, path: str, form: _Form, kind: type[_T], *, repeatable: bool, about: str = ""
    ) -> _T:
        """Make a request that changes something; `about` is the CallSid that `permit` gets."""
        given = {name: _whole(value) for name, value in form.items() if value is not None}
        url = f"{self._origin}{self._account}{path}.json"
        body = await self._request("POST", url, given, repeatable=repeatable, about=about)
        return _read(body, kind)

    async def _get(self, path: str, origin: str | None = None) -> bytes:
        url = f"{origin or self._origin}{path}"
        return await self._request("GET", url, None, repeatable=True)

    async def _request(
        self,
        method: str,
        url: str,
        form: dict[str, Any] | None,
        *,
        repeatable: bool,
        about: str = "",
    ) -> bytes:
        for attempt in range(1, self._attempts):
            retry_after = 0.0
            try:
                return await self._once(method, url, form, about)
            except TwilioUnreachableError as unreachable:
                if unreachable.sent and not repeatable:
                    raise
                what = unreachable.why
            except TwilioRefusedError as refused:
                # 429: it was not processed (§5.2). With 5xx it may have been, so that only what may
                # be done twice is repeated.
                safe = refused.status == 429 or (repeatable and refused.status >= 500)
                retry_after = refused.retry_after_s or 0.0
                if not safe or retry_after > RETRY_AFTER_MAX_S:
                    raise
                what = f"HTTP {refused.status}"
            pause = retry_after + jitter_s(attempt)
            _log.info("Twilio did not do it (%s): asked again in %.1f s", what, pause)
            await asyncio.sleep(pause)
        return await self._once(method, url, form, about)

    async def _once(self, method: str, url: str, form: dict[str, Any] | None, about: str) -> bytes:
        """Make a request, once. Raises as the class says."""
        async with self._free:
            # Last, as the waits before may have been long.
            if form is not None and self._permit is not None and not await self._permit(about):
                raise CallMovedError
            try:
                async with (
                    asyncio.timeout(ANSWER_S),
                    self._http.stream(
                        method,
                        url,
                        data=form,
                        auth=self._auth,
                        # A compressed body could be far longer than BODY_MAX.
                        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                        timeout=httpx2.Timeout(ANSWER_S, connect=CONNECT_S),
                        follow_redirects=False,
                    ) as response,
                ):
                    body = await _body(response)
            except (httpx2.TimeoutException, TimeoutError) as error:
                sent = not isinstance(error, _NEVER_SENT)
                what = "no answer in time" if sent else "no connection in time"
                raise TwilioUnreachableError(what, sent=sent) from None
            except httpx2.HTTPError as error:
                # The error's text may hold the address, which may hold a number.
                why = type(error).__name__
                raise TwilioUnreachableError(why, sent=not isinstance(error, _NEVER_SENT)) from None
            except TwilioUnreachableError:
                raise
            except Exception as error:  # noqa: BLE001 - one request must not end the call it is for
                _log.error("a fault in a request to Twilio: %s", type(error).__name__)
                raise TwilioUnreachableError(type(error).__name__, sent=True) from None
        if response.is_success:
            self.date_s = date_s(response.headers.get("date"))
            return body
        raise refusals.read(response.status_code, body, response.headers.get("retry-after"))


def date_s(date: str | None) -> float | None:
    """Return a date in the format of mail and HTTP in seconds since 1970; None: it is invalid."""
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def jitter_s(attempt: int) -> float:
    """Return a random wait after `attempt` attempts (from 1), so that clients spread out."""
    return random.uniform(0, min(BACKOFF_MAX_S, BACKOFF_S * 2**attempt))


def _instructions(twiml: str | None, url: str | None) -> dict[str, str | Sequence[str] | None]:
    """Return a call's instructions as form fields. With both, Twilio ignores `Twiml` (§5.3)."""
    if (twiml is None) == (url is None):
        raise ValueError("either twiml or url")
    if twiml is not None and len(twiml) > TWIML_MAX:
        raise TwilioRefusedError(413, None)
    return {"Twiml": twiml, "Url": url}


async def _body(response: httpx2.Response) -> bytes:
    body = b""
    async for part in response.aiter_raw():
        body += part
        if len(body) > BODY_MAX:
            raise TwilioUnreachableError(f"its answer has more than {BODY_MAX} bytes", sent=True)
    return body


def _whole(value: str | Sequence[str]) -> str | Sequence[str]:
    return whole(value) if isinstance(value, str) else [whole(each) for each in value]


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


_R = TypeVar("_R")


def _read(body: bytes, kind: type[_R]) -> _R:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise TwilioUnreachableError("its answer is not what Twilio answers", sent=True) from None
