"""The conversation on a terminal, as it happens: a subscriber, for `demo` and `serve --show`."""

import re
from typing import Final

from rich.console import Console
from rich.text import Text

from offhook.events.types import (
    AgentConnected,
    AgentMuted,
    AgentSaid,
    AgentSwitched,
    AgentTold,
    AgentWarned,
    AudioDropped,
    CallEnded,
    CallerBack,
    CallerLeft,
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

STYLES: Final = {
    "caller": "cyan",
    "agent": "green",
    "tool": "magenta",
    "call": "dim",
    "trouble": "yellow",
}

_NOT_TEXT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What moves a terminal's cursor, changes its colours or turns the direction of its text."""


class Conversation:
    """Prints one line for what is said and what goes wrong, with seconds since the call began."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, call_event: CallEvent) -> None:
        """Print it, if a person watching would want to know."""
        told = tell(call_event.event)
        if told is None:
            return
        who, words = told
        sid = inert(call_event.call_sid[-4:])
        line = Text()
        line.append(f"{call_event.at_ms / 1000:7.2f} s  {sid}  ", "dim")
        line.append(f"{who:8}", STYLES[who])
        line.append(inert(words), "" if who in ("caller", "agent") else STYLES[who])
        self._console.print(line, soft_wrap=True)


def inert(text: str) -> str:
    """Return text from outside, in which nothing can command the terminal."""
    return _NOT_TEXT.sub(" ", text)


def tell(event: Event) -> tuple[str, str] | None:
    """Return who (a key of STYLES), and what, in words; None: a person watching need not know."""
    match event:
        case LookedUp() if event.why:
            return "trouble", f"lookup: {event.outcome.replace('_', ' ')}, {event.why}"
        case CallStarted():
            return "call", "the caller is on the line"
        case AgentConnected():
            return "call", f"the agent is on the line, {event.after_ms} ms after it was dialled"
        case CallerSaid():
            return "caller", event.text
        case AgentSaid(interrupted=False):
            return "agent", event.text or f"(not spoken: {event.intended})"
        case AgentSaid():
            return "agent", f"{event.text} — (interrupted after {event.heard_ms / 1000:.1f} s)"
        case FunctionCalled():
            return "tool", f"{event.name}({event.arguments})"
        case FunctionAnswered():
            words = "" if event.outcome == "answered" else f"{event.outcome.replace('_', ' ')}: "
            return "tool", f"{event.name}, {event.after_ms} ms: {words}{event.content}"
        case FunctionDropped(why="cancelled"):
            return "tool", f"{event.name} was called off"
        case FunctionFinishedLate():
            ended = f"has ended after {event.after_ms} ms, too late for the agent to know"
            return "tool", f"{event.name} {ended}: {event.content}"
        case KeysEntered():
            return "caller", f"[{event.digits}]"
        case SecretEntered():
            words = "" if event.complete else ", and they are not complete"
            return "call", f"{event.count} digits were entered in secret{words}"
        case AgentTold():
            return "call", f"the agent is told: {event.text}"
        case CallerLeft(errand="transfer"):
            return "call", f"the caller is put through to {event.destination}"
        case CallerLeft():
            return "call", "keys are pressed"
        case Dialled():
            return "call", f"{event.destination or event.kind}: {event.to} is rung"
        case TransferFailed():
            why = event.why.replace("-", " ")
            return "trouble", f"not put through to {event.destination}: {why}"
        case CallerBack():
            return "call", "the caller is back on the line"
        case AgentSwitched():
            return "call", f"the agent is now {event.agent}"
        case AgentMuted():
            return "call", "the agent is muted" if event.on else "the agent is heard again"
        case DialRefused():
            return "trouble", f"{event.kind} to {event.to} refused: {event.why}"
        case MessageTaken():
            number = f", {event.number}" if event.number else ""
            return "tool", f"message of {event.from_name}{number}: {event.text}"
        case DoNotCall():
            return "tool", f"{event.number} is never to be rung again"
        case InterpreterHeld():
            held = f"held the interpreter for {event.held_ms} ms"
            return "trouble", f"{event.tool} {held}, at {event.where}"
        case AgentWarned():
            return "trouble", f"Deepgram: {event.code} {event.description}"
        case AudioDropped(why="full"):
            return "trouble", f"{event.ms} ms of audio to the {event.leg} were dropped"
        case ProtocolViolation():
            return "trouble", f"the {event.leg}'s socket sent {event.what}"
        case RecordingStarted():
            return "call", f"it is recorded into {event.name}"
        case RecordingPaused():
            return "call", "the recording is paused"
        case RecordingResumed():
            return "call", "the recording goes on"
        case RecordingFailed():
            return "trouble", f"the call is not recorded: {event.why}"
        case StreamTrouble():
            return "trouble", f"Twilio: {event.code} {event.words}"
        case CallEnded():
            detail = f" ({event.detail})" if event.detail else ""
            return "call", f"over: {event.words}{detail} [{event.slug}]"
        case _:
            return None
