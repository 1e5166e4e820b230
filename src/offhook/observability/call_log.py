"""The log of calls: a subscriber that writes one line an event, each with the CallSid.

Without `logs.texts` the log holds no words of the call, no pressed key and no phone number.
On a terminal on which the conversation is shown, the log has only the other events.
"""

import dataclasses
import logging
from typing import Any, Final, get_args

from offhook.events import types as events
from offhook.events.describe import describe
from offhook.events.types import OPAQUE, PRIVATE, CallEvent, Event
from offhook.observability.console_output import inert, tell

_log: Final = logging.getLogger("offhook.call")

WORDS_MAX: Final = 400
"""Characters of a line without texts: a vendor's own words may be long."""

_LEVELS: Final[dict[type[Event], int]] = {
    **dict.fromkeys(
        (
            events.CallBegan,
            events.LookedUp,
            events.CallStarted,
            events.CallReleased,
            events.AgentConnected,
            events.AgentRolledOver,
            events.CallEnded,
            events.CallBilled,
            events.FunctionAnswered,
            events.FunctionDropped,
            events.SecretEntered,
            events.Dialled,
            events.TransferFailed,
            events.MessageTaken,
            events.DoNotCall,
            events.OperatorActed,
            events.ListeningBegan,
            events.ListeningEnded,
            events.OperatorTookOver,
            events.OperatorHandedBack,
            events.RecordingStarted,
            events.RecordingPaused,
            events.RecordingResumed,
        ),
        logging.INFO,
    ),
    **dict.fromkeys(
        (
            events.FunctionFinishedLate,
            events.DialRefused,
            events.InterpreterHeld,
            events.AgentWarned,
            events.SpareAgentFailed,
            events.ProtocolViolation,
            events.AudioDropped,
            events.RecordingFailed,
            events.StreamTrouble,
        ),
        logging.WARNING,
    ),
}
"""Events that are logged."""

_QUOTED: Final[dict[type[Event], str]] = {
    events.CallerSaid: "caller: ",
    events.AgentSaid: "agent: ",
    events.KeyPressed: "",
    events.KeysEntered: "",
    events.FunctionCalled: "function ",
}
"""Events that are logged only with texts, and how their lines begin."""


class CallLog:
    """Logs events that concern the operator; with `texts` also what is said.

    With `beside_conversation` it leaves out what a Conversation prints, to the same terminal.

    A record has `call_sid`, `at_ms` and, as `fields`, those of the event: without the private ones
    unless `texts`.
    """

    def __init__(self, *, texts: bool, beside_conversation: bool = False) -> None:
        self._texts = texts
        self._beside_conversation = beside_conversation
        self._names: Final = {
            kind: [
                field.name
                for field in dataclasses.fields(kind)
                if field.name not in OPAQUE and (texts or field.name not in PRIVATE)
            ]
            for kind in get_args(Event)
        }
        """Names of the fields that are logged, by type of event."""

    def __call__(self, call_event: CallEvent) -> None:
        """Log an event, unless its type is not logged."""
        event = call_event.event
        level = _level(event, texts=self._texts)
        if level is None or not _log.isEnabledFor(level):
            return
        if self._beside_conversation and tell(event) is not None:
            return
        words = _QUOTED.get(type(event), "") + inert(describe(event, texts=self._texts))
        if not self._texts:
            words = words[:WORDS_MAX]
        fields: dict[str, Any] = {"happened": type(event).__name__}
        for name in self._names[type(event)]:
            fields[name] = getattr(event, name)
        extra = {"call_sid": call_event.call_sid, "at_ms": call_event.at_ms, "fields": fields}
        _log.log(level, "%s", words, extra=extra)


def _level(event: Event, *, texts: bool) -> int | None:
    """Return the level of an event; None: it is not logged."""
    match event:
        case events.AudioDropped(why="late" | "muted"):
            return None
        case events.AgentWarned(fatal=True):
            return logging.ERROR
        case events.LookedUp() if event.why:
            return logging.WARNING
        case events.CallEnded() if event.fault not in ("nobody", "caller"):
            return logging.WARNING
        case events.FunctionAnswered() if event.outcome != "answered":
            return logging.WARNING
    if texts and type(event) in _QUOTED:
        return logging.INFO
    return _LEVELS.get(type(event))
