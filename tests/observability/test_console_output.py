"""The conversation on a terminal: every event, and text that would like to command it."""

import io
import unicodedata
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text
from tests.events.test_describe import example

from offhook.events import types as events
from offhook.events.types import CallEvent, Event
from offhook.observability.console_output import Conversation, hanging

CALL_SID = "CA0123456789abcdef0123456789abcdef"


def printed(event: Event, *, terminal: bool = False, call_sid: str = CALL_SID) -> str:
    """What the terminal gets."""
    file = io.StringIO()
    console = Console(
        file=file,
        force_terminal=terminal,
        color_system="truecolor" if terminal else None,
        width=60,
        _environ={},
    )
    Conversation(console)(CallEvent(call_sid, 61_234, event))
    return file.getvalue()


SHOWN: list[tuple[Event, str]] = [
    (events.CallStarted(), "call    the caller is on the line"),
    (
        events.AgentConnected("request", 412),
        "call    the agent is on the line, 412 ms after it was dialled",
    ),
    (events.CallerSaid("Is there a table?"), "caller  Is there a table?"),
    (events.AgentSaid("Yes.", "Yes.", 900, interrupted=False), "agent   Yes."),
    (
        events.AgentSaid("", "Yes.", 0, interrupted=False),
        "agent   (not spoken: Yes.)",
    ),
    (
        events.AgentSaid("Let me", "Let me see.", 840, interrupted=True),
        "agent   Let me (interrupted after 840 ms)",
    ),
    (
        events.FunctionCalled("1", "book", '{"people": 2}'),
        'tool    book({"people": 2})',
    ),
    (
        events.FunctionAnswered("1", "book", "answered", "booked", 20),
        "tool    book, 20 ms: booked",
    ),
    (
        events.FunctionAnswered("1", "book", "too_late", "stopped", 10000),
        "tool    book, 10000 ms: too late: stopped",
    ),
    (
        events.FunctionDropped("1", "book", "cancelled"),
        "tool    book was called off",
    ),
    (
        events.FunctionFinishedLate("1", "book", "answered", "booked", 12000),
        "tool    book has ended after 12000 ms, too late for the agent to know: booked",
    ),
    (
        events.DialRefused("text", "country", "+18095551234"),
        "trouble text to +18095551234 refused: country",
    ),
    (
        events.MessageTaken("Ada", "555 0143", "Call back."),
        "tool    message of Ada, 555 0143: Call back.",
    ),
    (events.DoNotCall("+12025550142"), "tool    +12025550142 is never to be rung again"),
    (
        events.InterpreterHeld("book", "tools.py:7", 900),
        "trouble book held the interpreter for 900 ms, at tools.py:7",
    ),
    (
        events.AgentWarned("SLOW_THINK_REQUEST", "It takes time.", fatal=False),
        "trouble Deepgram: SLOW_THINK_REQUEST It takes time.",
    ),
    (
        events.AudioDropped("agent", 120, "full"),
        "trouble 120 ms of audio to the agent were dropped",
    ),
    (
        events.ProtocolViolation("caller", "a binary message"),
        "trouble the caller's socket sent a binary message",
    ),
    (events.KeysEntered("42"), "caller  keys entered: 42"),
    (events.SecretEntered(16, True), "call    16 digits were entered in secret"),
    (
        events.SecretEntered(0, False),
        "call    0 digits were entered in secret, and they are not complete",
    ),
    (events.AgentTold("(The line is busy.)"), "call    the agent is told: (The line is busy.)"),
    (
        events.CallerLeft("transfer", "front_desk"),
        "call    the caller is transferred to front_desk",
    ),
    (events.CallerLeft("digits", ""), "call    keys are pressed"),
    (
        events.TransferFailed("front_desk", "no-answer"),
        "trouble the transfer to front_desk failed: no answer",
    ),
    (
        events.Dialled("transfer", "front_desk", "+12025550143"),
        "call    front_desk: +12025550143 is rung",
    ),
    (events.Dialled("fallback", "", "+12025550143"), "call    fallback: +12025550143 is rung"),
    (events.StreamBroke("cut off"), "call    the caller's stream broke off: cut off"),
    (events.CallerBack(), "call    the caller is back on the line"),
    (
        events.CallReleased("handed_over"),
        "call    this process has given the call up: another one goes on with it",
    ),
    (events.AgentSwitched("billing"), "call    the agent is now billing"),
    (
        events.OperatorActed("Ann", "hand-back", "done", "it is done"),
        "call    Ann, hand-back: it is done",
    ),
    (events.ListeningBegan("Ann"), "call    Ann listens"),
    (events.ListeningEnded("Ann", 900), "call    Ann has listened for 0.9 s"),
    (events.OperatorTookOver("Ann"), "call    Ann speaks with the caller"),
    (
        events.OperatorHandedBack("Ann", "They pay.", 900, "asked"),
        "call    Ann has handed the caller back after 0.9 s: asked (They pay.)",
    ),
    (events.AgentMuted(True), "call    the agent is muted"),
    (events.AgentMuted(False), "call    the agent is heard again"),
    (events.StreamTrouble("31901", "It timed out."), "trouble Twilio: 31901 It timed out."),
    (events.RecordingStarted("CA1.wav"), "call    it is recorded into CA1.wav"),
    (events.RecordingPaused(), "call    the recording is paused"),
    (events.RecordingResumed(), "call    the recording goes on"),
    (
        events.RecordingFailed("disk full"),
        "trouble from here on the call is not recorded: disk full",
    ),
    (
        events.CallEnded("caller", "caller_hung_up", "the caller hung up", "", 61_234),
        "call    ended, caller_hung_up, by caller: the caller hung up",
    ),
    (
        events.CallEnded("deepgram", "agent_lost", "the agent was lost", "code 1011", 61_234),
        "call    ended, agent_lost, by deepgram: the agent was lost (code 1011)",
    ),
    (
        events.AgentRolledOver(7, 20),
        "call    another session took over from the agent's, 7 ms after it was dialled",
    ),
    (
        events.CallerFrustrated(2, escalated=True),
        "call    the caller seems frustrated, time 2, as often as it may be",
    ),
    (
        events.SpareAgentFailed("refused", "CODE"),
        "trouble no other session could take over: refused, CODE",
    ),
    (
        events.LookedUp("too_late", "no answer within 1000 ms", 1000),
        "trouble lookup: too late, no answer within 1000 ms",
    ),
]

NOT_SHOWN: list[Event] = [
    events.AudioDropped("caller", 40, "late"),
    events.LookedUp("answered", "", 90),
    *(example(kind) for kind in get_args(Event) if kind not in {type(event) for event, _ in SHOWN}),
]
"""Events of types that are not in SHOWN, and some that are of no interest for what they say."""


@pytest.mark.parametrize(("event", "line"), SHOWN, ids=lambda v: type(v).__name__)
def test_an_event_is_one_line_with_time_and_call(event: Event, line: str) -> None:
    assert printed(event) == f"  61.23 s  cdef  {line}\n"


@pytest.mark.parametrize("event", NOT_SHOWN, ids=lambda v: type(v).__name__)
def test_what_nobody_watching_needs_is_not_shown(event: Event) -> None:
    assert printed(event) == ""


def test_beside_a_log_the_line_begins_with_the_time_of_day() -> None:
    file = io.StringIO()
    shown = Conversation(Console(file=file, width=80, _environ={}), lambda: "07:33:22")
    shown(CallEvent(CALL_SID, 61_234, events.CallerSaid("Hello.")))
    assert file.getvalue() == "07:33:22  cdef  caller  Hello.\n"


def test_who_speaks_has_a_colour() -> None:
    assert "\x1b[36mcaller  \x1b[0m" in printed(events.CallerSaid("Hello."), terminal=True)


HOSTILE = (
    "\x1b[2J\x1b[31mred\x1b]0;title\x07\x9b1A\r\x08\x7f\x00\n\t99.99 s  agent  I never said this"
    "\u2028\u202eback\u2066\u0085 [red]markup[/red] [/] [link=https://example.com]x[/link] :smile:"
)


def hostile_events(text: str) -> list[Event]:
    return [
        events.CallerSaid(text),
        events.AgentSaid(text, text, 840, interrupted=False),
        events.AgentSaid(text, text, 840, interrupted=True),
        events.AgentSaid("", text, 0, interrupted=False),
        events.FunctionCalled(text, text, text),
        events.FunctionAnswered(text, text, "failed", text, 1),
        events.FunctionDropped(text, text, "cancelled"),
        events.AgentWarned(text, text, fatal=True),
        events.ProtocolViolation("agent", text),
        events.StreamTrouble(text, text),
        events.CallEnded("deepgram", "agent_lost", "the agent was lost", text, 1),
    ]


def commands(text: str) -> set[str]:
    """What moves a cursor, breaks a line or turns the direction of what follows."""
    turning = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return {
        character
        for character in text
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in turning
    }


@pytest.mark.parametrize("event", hostile_events(HOSTILE), ids=lambda v: type(v).__name__)
def test_hostile_text_is_shown_inert(event: Event) -> None:
    line = printed(event)
    assert commands(line) == {"\n"}
    assert line.count("\n") == 1, "nobody can put a line into another's mouth"
    for shown in ("[red]markup[/red]", "[/]", "[link=https://example.com]x[/link]", ":smile:"):
        assert shown in line


def test_on_a_terminal_the_only_escapes_are_ours() -> None:
    harmless = printed(events.CallerSaid("x" * len(HOSTILE)), terminal=True)
    hostile = printed(events.CallerSaid(HOSTILE), terminal=True)
    assert hostile.count("\x1b") == harmless.count("\x1b")


def test_a_call_sid_is_no_way_in_either() -> None:
    assert commands(printed(events.CallStarted(), call_sid="CA\x1b[2J\n")) == {"\n"}


@settings(deadline=None)
@given(st.text(st.characters()))
def test_no_text_at_all_commands_the_terminal(text: str) -> None:
    for event in hostile_events(text):
        line = printed(event)
        assert commands(line) == {"\n"}
        assert line.endswith("\n")


@settings(deadline=None)
@given(st.text(st.characters(categories=["L", "M", "N", "P", "S"]), min_size=1))
def test_what_people_write_is_left_alone(text: str) -> None:
    assert printed(events.CallerSaid(text)) == f"  61.23 s  cdef  caller  {text}\n"


def row_printed(width: int, *, terminal: bool) -> list[str]:
    """The lines that a row of two columns takes."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, highlight=False)
    hanging(console, Text("agent   We are open from Monday to Friday, from nine."), 8)
    return [Text.from_ansi(line).plain for line in out.getvalue().splitlines()]


def test_a_long_line_is_broken_between_words_on_a_terminal_alone() -> None:
    whole = "agent   We are open from Monday to Friday, from nine."
    assert row_printed(30, terminal=True) == [
        "agent   We are open from",
        "        Monday to Friday, from",
        "        nine.",
    ]
    assert row_printed(80, terminal=True) == [whole]
    assert row_printed(30, terminal=False) == [whole]
