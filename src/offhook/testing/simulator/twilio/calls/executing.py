"""Execution of TwiML on a leg: requesting a document, executing it, and following its URLs.

Source: twilio.md §2. Sounds are not fetched, recorded or spoken; they take simulated time and are
noted in the report.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from offhook.testing.simulator.twilio import verbs, webhooks
from offhook.testing.simulator.twilio.call_report import TwimlDocument
from offhook.testing.simulator.twilio.calls import dialling
from offhook.testing.simulator.twilio.calls.leg import Leg, new_sid
from offhook.testing.simulator.twilio.calls.media_stream import stream
from offhook.testing.simulator.twilio.ending import Ending
from offhook.testing.simulator.twilio.stream import EndedBy
from offhook.testing.simulator.twilio.verbs import Verb, method
from offhook.testing.simulator.twilio.webhooks import Request, WebhookError, joined

MAX_DOCUMENTS: Final = 100
"""TwiML documents that one call may have, so that a document that redirects to itself ends."""

SAY_S: Final = 0.06
"""Simulated seconds that speaking one character of a <Say> takes."""

PLAY_S: Final = 2.0
"""Simulated seconds that one repetition of a <Play> takes."""

RECORD_S: Final = 5.0
"""Simulated seconds that a <Record> takes."""

KEYS_S: Final = 1.0
"""Simulated seconds after a <Gather>'s words at which a person has pressed their keys."""

SCHEMA_WARNING: Final = 12200


async def follow(leg: Leg, request: Request, fallback_url: str | None = None) -> Ending:
    """Request a document, execute it, and follow its URLs to the end of the call.

    The fallback replaces a URL that gives no TwiML, once (§4.1).
    """
    for _ in range(MAX_DOCUMENTS):
        try:
            document = await _document(leg, request)
        except WebhookError as failed:
            leg.note(failed.code, str(failed))
            if fallback_url is None:
                return "application_error"
            why = {"ErrorCode": str(failed.code), "ErrorUrl": request.url.partition("#")[0]}
            request, fallback_url = Request(fallback_url, "POST", why), None
            continue
        outcome = await _execute(leg, document, request.url)
        if not isinstance(outcome, Request):
            return outcome
        request = outcome
    leg.note(webhooks.HTTP_FAILURE, f"{MAX_DOCUMENTS} documents, and the last leads to another")
    return "application_error"


async def inline(leg: Leg, twiml: str) -> Ending:
    """Execute the TwiML of a REST request, and follow its URLs to the end of the call."""
    base = leg.network.host.url
    document, warnings = verbs.read(twiml.encode(), "text/xml")
    for warning in warnings:
        leg.note(SCHEMA_WARNING, warning)
    leg.report.documents.append(TwimlDocument("", 200, twiml))
    outcome = await _execute(leg, document, base)
    return await follow(leg, outcome) if isinstance(outcome, Request) else outcome


async def _document(leg: Leg, request: Request) -> list[Verb]:
    url = request.url.partition("#")[0]
    hosted = leg.network.bins.get(url)
    status, kind, body = (
        await _answer(leg, request) if hosted is None else (200, "text/xml", hosted.encode())
    )
    leg.report.documents.append(TwimlDocument(url, status, body.decode("utf-8", "replace")))
    if status != 200:
        raise WebhookError(webhooks.HTTP_FAILURE, f"{url} answered {status}")
    try:
        document, warnings = verbs.read(body, kind)
    except verbs.MalformedTwimlError as bad:
        raise WebhookError(bad.code, f"{url}: {bad}") from None
    for warning in warnings:
        leg.note(SCHEMA_WARNING, warning)
    return document


async def _answer(leg: Leg, request: Request) -> tuple[int, str | None, bytes]:
    """Return status, content type and body of the server's answer. Raises WebhookError."""
    request = Request(request.url, request.method, {**leg.form, **request.parameters})
    response = await leg.ask(request)
    if leg.network.callbacks.documents_twice:
        first, response = response, await leg.ask(request)
        if first.content != response.content or first.status_code != response.status_code:
            leg.note(webhooks.HTTP_FAILURE, f"{request.url} gave two answers to one request")
    return response.status_code, response.headers.get("content-type"), response.content


async def _execute(leg: Leg, document: Sequence[Verb], base: str) -> Ending | Request:
    """Execute a document. Return the request for the next one, or how the call ended."""
    if document and document[0].name != "Reject":
        leg.answer()
    for verb in document:
        leg.report.verbs.append(verb)
        extra: dict[str, str] | None = {}
        match verb.name:
            case "Say" | "Play" | "Pause":
                await _sound(leg, verb)
            case "Hangup":
                return "hangup_verb"
            case "Reject":
                return "rejected"
            case "Redirect":
                return _next(verb, verb.text, base, {})
            case "Connect":
                if await _connect(leg, verb, base) == "caller":
                    await _after_hang_up(leg, verb, base)
                    return "caller_hung_up"
            case "Dial":
                extra = await dialling.dial(leg, verb, base, follow)
            case "Gather":
                extra = await _gather(leg, verb)
            case _:
                assert verb.name == "Record"  # verbs.read gives no others
                with leg.hears("recording"):
                    await leg.network.passed(RECORD_S)
                extra = _recorded(leg)
        if verb.name == "Gather" and extra is None:
            continue  # no key was pressed: the next verb follows (§2.5)
        action = verb.attributes.get("action")
        if verb.name in ("Record", "Gather") and action is None:
            action = base  # its default is the document itself
        if action is not None:
            return _next(verb, action, base, extra or {})
    return "end_of_document"


def _next(verb: Verb, url: str, base: str, extra: Mapping[str, str]) -> Request:
    return Request(joined(base, url), method(verb, "method"), extra)


async def _sound(leg: Leg, verb: Verb) -> None:
    if verb.name == "Pause":
        await leg.network.passed(_number(leg, verb, "length"))
        return
    # 0 loops mean until the end, at most 1000 (§2.5).
    loops = _number(leg, verb, "loop") or 1000
    seconds = SAY_S * len(verb.text) if verb.name == "Say" else _play_seconds(verb)
    with leg.hears("say" if verb.name == "Say" else "play"):
        await leg.network.passed(seconds * loops)


async def _gather(leg: Leg, verb: Verb) -> dict[str, str] | None:
    """Speak and wait for keys. Return the parameters for `action`; None to skip it."""
    for inner in verb.nouns:
        await _sound(leg, inner)
    attributes = verb.attributes
    finish = attributes.get("finishOnKey", "#")
    keys, ended, _ = leg.pressed().partition(finish) if finish else (leg.pressed(), "", "")
    most = _number(leg, verb, "numDigits", 0)
    with leg.hears("keypad"):
        if keys or ended:
            await leg.network.passed(KEYS_S)
        if most and len(keys) >= most:
            keys = keys[:most]
        elif not ended:
            await leg.network.passed(_number(leg, verb, "timeout", 5))
    if not keys and attributes.get("actionOnEmptyResult") != "true":
        return None
    return {"Digits": keys, "FinishedOnKey": ended, "msg": "Gather End"}


def _recorded(leg: Leg) -> dict[str, str]:
    sid, account = new_sid("RE"), leg.report.account_sid
    return {
        "RecordingSid": sid,
        "RecordingUrl": f"https://api.twilio.com/2010-04-01/Accounts/{account}/Recordings/{sid}",
        "RecordingDuration": str(round(RECORD_S)),
    }


async def _connect(leg: Leg, verb: Verb, base: str) -> EndedBy | None:
    """Run a stream to its end. Return who ended it; None if it never began."""
    if len(verb.nouns) != 1:
        leg.note(SCHEMA_WARNING, f"<Connect> with {len(verb.nouns)} <Stream>")
        return None
    return await stream(leg, verb.nouns[0], base)


async def _after_hang_up(leg: Leg, verb: Verb, base: str) -> None:
    """Request `action` once more, without obeying the answer (§2.4; INFERRED)."""
    leg.status = "completed"
    action = verb.attributes.get("action")
    if action is not None:
        try:
            await _document(leg, _next(verb, action, base, {}))
        except WebhookError as failed:
            leg.note(failed.code, str(failed))


def _number(leg: Leg, verb: Verb, attribute: str, default: int = 1) -> int:
    """Return the whole number that an attribute holds."""
    if attribute not in verb.attributes:
        return default
    found = verbs.number(verb, attribute)
    if found is not None:
        return found
    leg.note(SCHEMA_WARNING, f"{attribute} of <{verb.name}> is no number")
    return default


def _play_seconds(verb: Verb) -> float:
    digits = verb.attributes.get("digits")
    return PLAY_S if digits is None else digits_seconds(digits)


def digits_seconds(digits: str) -> float:
    """Return the seconds that digits take; `w` pauses 0.5 s, `W` 1 s (§2.5)."""
    return sum({"w": 0.5, "W": 1.0}.get(digit, 0.2) for digit in digits)
