"""What the log says about calls: a subscriber. One line an event, each with the CallSid.

Never what was said, a pressed key or a phone number: those are in no event that is logged here.
"""

import logging
from typing import Final

from offhook.events import (
    AgentConnected,
    AgentWarned,
    AudioDropped,
    CallEnded,
    CallStarted,
    Event,
    Fault,
    FunctionAnswered,
    FunctionDropped,
    Happening,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    StreamTrouble,
)

_log: Final = logging.getLogger("offhook.call")

DESCRIPTION_MAX: Final = 200
"""Characters of a vendor's own words."""


def log_calls(happening: Happening) -> None:
    """Log one event, if the log is to know of it."""
    told = _tell(happening.event)
    if told is not None:
        level, words = told
        _log.log(level, "%s +%d ms: %s", happening.call_sid, happening.at_ms, words)


def _tell(event: Event) -> tuple[int, str] | None:
    match event:
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
        case AgentWarned():
            level = logging.ERROR if event.fatal else logging.WARNING
            return level, f"Deepgram: {event.code} {event.description[:DESCRIPTION_MAX]!r}"
        case FunctionAnswered():
            level = logging.INFO if event.outcome == "answered" else logging.WARNING
            words = event.outcome.replace("_", " ")
            return level, f"function {event.name!r}: {words} after {event.after_ms} ms"
        case FunctionDropped():
            return logging.INFO, f"function {event.name!r} was not answered: {event.why}"
        case Fault():
            return logging.WARNING, f"the {event.leg}'s leg broke its protocol: {event.what}"
        case AudioDropped(why="full"):
            return logging.WARNING, f"{event.ms} ms of audio to the {event.leg} were dropped"
        case RecordingStarted():
            return logging.INFO, f"recorded into {event.name}"
        case RecordingPaused():
            return logging.INFO, "the recording is paused"
        case RecordingResumed():
            return logging.INFO, "the recording goes on"
        case StreamTrouble():
            return logging.WARNING, f"stream error {event.code}: {event.words}"
        case _:
            return None
