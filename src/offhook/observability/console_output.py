"""Live display of a conversation on a terminal: a subscriber, for `demo` and `serve --show`.

Colours are chosen for a dark and for a light background: words have the terminal's own colour, and
names beside them a colour. Yellow is not used, because it cannot be read on white.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from offhook.events import types as events
from offhook.events.describe import describe
from offhook.events.types import CallEvent, Event

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WARNING: Final = "magenta"
"""Style of what deserves attention and is not an error: it is legible on black and on white."""

ANSI_WARNING: Final = "\x1b[35m"
"""Style WARNING as an ANSI escape sequence, for output without Rich."""

STYLES: Final = {
    "caller": "cyan",
    "agent": "green",
    "tool": "magenta",
    "call": "",
    "trouble": "red",
}

_NOT_TEXT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move a terminal's cursor, change its colours or turn the text's direction."""


class Conversation:
    """Prints a line for each utterance and each problem.

    The line begins with the `time_of_day`, or without one with the seconds since the call began.
    """

    def __init__(self, console: "Console", time_of_day: Callable[[], str] | None = None) -> None:
        self._console = console
        self._time_of_day = time_of_day

    def __call__(self, call_event: CallEvent) -> None:
        """Print an event, unless it is of no interest to a person who watches."""
        told = tell(call_event.event)
        if told is None:
            return
        who, words = told
        sid = inert(call_event.call_sid[-4:])
        from rich.text import Text  # only who watches pays for it

        since = f"{call_event.at_ms / 1000:7.2f} s"
        at = since if self._time_of_day is None else self._time_of_day()
        line = Text().append(f"{at}  {sid}  ", "dim")
        line.append(f"{who:8}", STYLES[who])
        line.append(inert(words), "" if who in ("caller", "agent") else STYLES[who])
        self._console.print(line, soft_wrap=True)


def inert(text: str) -> str:
    """Return text from outside without characters that control the terminal."""
    return _NOT_TEXT.sub(" ", text)


def hanging(console: "Console", line: "Text", indent: int) -> None:
    """Print a line. On a terminal that is too narrow, break it between words, and indent the rest.

    In a file or a pipe a line stays one line.
    """
    if not console.is_terminal or line.cell_len <= console.width:
        console.print(line, soft_wrap=True)
        return
    head, tail = line[:indent], line[indent:]
    for part in tail.wrap(console, max(console.width - indent, 20)):
        part.rstrip()
        console.print(head + part, soft_wrap=True)
        head = head.blank_copy(" " * indent)


_WHO: Final[dict[type[Event], str]] = {
    events.CallerSaid: "caller",
    events.KeysEntered: "caller",
    events.AgentSaid: "agent",
    **dict.fromkeys(
        (
            events.FunctionCalled,
            events.FunctionAnswered,
            events.FunctionDropped,
            events.FunctionFinishedLate,
            events.MessageTaken,
            events.DoNotCall,
        ),
        "tool",
    ),
    **dict.fromkeys(
        (
            events.CallStarted,
            events.CallReleased,
            events.AgentConnected,
            events.AgentRolledOver,
            events.SecretEntered,
            events.AgentTold,
            events.CallerLeft,
            events.Dialled,
            events.CallerBack,
            events.StreamBroke,
            events.AgentSwitched,
            events.CallerFrustrated,
            events.AgentMuted,
            events.OperatorActed,
            events.ListeningBegan,
            events.ListeningEnded,
            events.OperatorTookOver,
            events.OperatorHandedBack,
            events.RecordingStarted,
            events.RecordingPaused,
            events.RecordingResumed,
            events.CallEnded,
        ),
        "call",
    ),
    **dict.fromkeys(
        (
            events.LookedUp,
            events.TransferFailed,
            events.DialRefused,
            events.InterpreterHeld,
            events.AgentWarned,
            events.SpareAgentFailed,
            events.AudioDropped,
            events.ProtocolViolation,
            events.RecordingFailed,
            events.StreamTrouble,
        ),
        "trouble",
    ),
}
"""Events that are shown, and whose event each is: a key of STYLES."""


def tell(event: Event) -> tuple[str, str] | None:
    """Return the speaker (a key of STYLES) and the words of an event; None: it is not shown."""
    match event:
        case (
            events.LookedUp(why="")
            | events.FunctionDropped(why="call_over")
            | events.AudioDropped(why="late" | "muted")
        ):
            return None
    who = _WHO.get(type(event))
    return None if who is None else (who, describe(event, texts=True))
