"""The log of calls: a subscriber that writes one line an event, each with the CallSid.

Never what was said, a pressed key or a phone number, unless `logs.texts` says so.
"""

import dataclasses
import logging
from typing import Any, Final

from offhook.events.types import (
    PRIVATE,
    AgentConnected,
    AgentSaid,
    AgentWarned,
    AudioDropped,
    CallBegan,
    CallBilled,
    CallEnded,
    CallerSaid,
    CallEvent,
    CallStarted,
    Dialled,
    DialRefused,
    DoNotCall,
    Event,
    FunctionAnswered,
    FunctionCalled,
    FunctionDropped,
    FunctionFinishedLate,
    InterpreterHeld,
    KeyPressed,
    KeysEntered,
    LookedUp,
    MessageTaken,
    ProtocolViolation,
    RecordingFailed,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    SecretEntered,
    StreamTrouble,
    TransferFailed,
)

_log: Final = logging.getLogger("offhook.call")

DESCRIPTION_MAX: Final = 200
"""Characters of a vendor's own words."""


class CallLog:
    """Logs each event that the log is to know of; with `texts` also what is said.

    A record has `call_sid`, `at_ms` and, as `fields`, those of the event: without the private ones
    unless `texts`.
    """

    def __init__(self, *, texts: bool) -> None:
        self._texts = texts

    def __call__(self, call_event: CallEvent) -> None:
        """Log one event, if the log is to know of it."""
        event = call_event.event
        told = _tell(event) or (_quote(event) if self._texts else None)
        if told is None:
            return
        level, words = told
        if not _log.isEnabledFor(level):
            return
        fields: dict[str, Any] = {"happened": type(event).__name__}
        for field in dataclasses.fields(event):
            if self._texts or field.name not in PRIVATE:
                fields[field.name] = getattr(event, field.name)
        extra = {"call_sid": call_event.call_sid, "at_ms": call_event.at_ms, "fields": fields}
        _log.log(level, "%s", words, extra=extra)


def _tell(event: Event) -> tuple[int, str] | None:
    match event:
        case CallBegan():
            return logging.INFO, f"began, {event.direction}, by {event.by}, agent {event.agent!r}"
        case LookedUp():
            level = logging.WARNING if event.why else logging.INFO
            words = event.outcome.replace("_", " ") + (f", {event.why}" if event.why else "")
            return level, f"lookup: {words}, after {event.after_ms} ms"
        case CallStarted():
            return logging.INFO, "the caller's leg is up"
        case AgentConnected():
            return logging.INFO, (
                f"the agent's leg is up after {event.after_ms} ms, request {event.request_id}"
            )
        case CallEnded():
            level = logging.INFO if event.fault in ("nobody", "caller") else logging.WARNING
            detail = f" ({event.detail[:DESCRIPTION_MAX]!r})" if event.detail else ""
            return level, f"ended, {event.slug}, by {event.fault}: {event.words}{detail}"
        case CallBilled():
            seconds = event.duration_ms // 1000
            return logging.INFO, f"Twilio: {event.status}, {seconds} s on the line"
        case AgentWarned():
            level = logging.ERROR if event.fatal else logging.WARNING
            return level, f"Deepgram: {event.code} {event.description[:DESCRIPTION_MAX]!r}"
        case FunctionAnswered():
            level = logging.INFO if event.outcome == "answered" else logging.WARNING
            words = event.outcome.replace("_", " ")
            return level, f"function {event.name!r}: {words} after {event.after_ms} ms"
        case FunctionDropped():
            return logging.INFO, f"function {event.name!r} was not answered: {event.why}"
        case FunctionFinishedLate():
            words = f"ended late, {event.outcome}, after {event.after_ms} ms; nobody was told"
            return logging.WARNING, f"function {event.name!r}: {words}"
        case SecretEntered():
            words = "entered" if event.complete else "not entered"
            return logging.INFO, f"digits that a function asked for were {words}: {event.count}"
        case Dialled():
            to = f" to {event.destination!r}" if event.destination else ""
            return logging.INFO, f"dialled: {event.kind}{to}"
        case TransferFailed():
            return logging.INFO, f"not put through to {event.destination!r}: {event.why}"
        case DialRefused():
            return logging.WARNING, f"{event.kind} refused: {event.why}"
        case MessageTaken():
            return logging.INFO, "a message was taken"
        case DoNotCall():
            return logging.INFO, "the other party is never to be rung again"
        case InterpreterHeld():
            held = f"held the interpreter for {event.held_ms} ms"
            return logging.WARNING, f"function {event.tool!r} {held}, at {event.where}"
        case ProtocolViolation():
            return logging.WARNING, f"the {event.leg}'s leg broke its protocol: {event.what}"
        case AudioDropped(why="full"):
            return logging.WARNING, f"{event.ms} ms of audio to the {event.leg} were dropped"
        case RecordingStarted():
            return logging.INFO, f"recorded into {event.name}"
        case RecordingPaused():
            return logging.INFO, "the recording is paused"
        case RecordingResumed():
            return logging.INFO, "the recording goes on"
        case RecordingFailed():
            return logging.WARNING, f"not recorded: {event.why}"
        case StreamTrouble():
            return logging.WARNING, f"stream error {event.code}: {event.words}"
        case _:
            return None


def _quote(event: Event) -> tuple[int, str] | None:
    """Return what is said, for a log that may hold it."""
    match event:
        case CallerSaid():
            return logging.INFO, f"caller: {event.text}"
        case AgentSaid():
            cut = f" (interrupted after {event.heard_ms} ms)" if event.interrupted else ""
            return logging.INFO, f"agent: {event.text}{cut}"
        case KeyPressed():
            return logging.INFO, f"key {event.digit}"
        case KeysEntered():
            return logging.INFO, f"keys entered: {event.digits}"
        case FunctionCalled():
            return logging.INFO, f"function {event.name!r} called with {event.arguments}"
        case _:
            return None
