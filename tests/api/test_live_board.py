"""The board of live calls: snapshot and changes are all events, for any cut and any restart."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from offhook.api.live import LiveEvents
from offhook.api.live_board import CALLS_MAX, TEXT_MAX, Change, LiveBoard, Row
from offhook.events import types as events
from offhook.events.types import CallEvent, Event
from offhook.journal.entries import JournalEntry

BEGAN = events.CallBegan("AC1", "shop", "standard", "inbound", "webhook", "+1", "+2", "{}")
ENDED = events.CallEnded("none", "caller_hung_up", "the caller hung up", "", 5000)
P = "the process"


def said(text: str = "Hello.", *, interrupted: bool = False) -> events.AgentSaid:
    return events.AgentSaid(text, text, 900, interrupted, 10)


HAPPENINGS: list[Event] = [
    events.CallStarted(),
    events.AgentConnected("r", 90),
    events.AgentLost("closed", "1006"),
    events.AgentResumed(1, 900, 0),
    events.StreamBroke("it was cut"),
    events.CallerLeft("transfer", "kitchen"),
    events.CallerBack(),
    events.CallTakenOver(300),
    events.CallerSpeechBegan(),
    events.CallerSaid("What are your hours?", 100),
    events.AgentAnnounced(1, "Hello."),
    events.AgentAnnounced(2, "We are open."),
    events.AgentHeard(1, 1000, 0),
    said(),
    said(interrupted=True),
    events.Answered(300, 350),
    events.Interrupted(400),
    events.FunctionCalled("f", "order_status", "{}"),
    events.AgentMuted(on=True),
    events.AgentMuted(on=False),
    events.OperatorTookOver("Ann"),
    events.OperatorHandedBack("Ann", "They pay.", 900, "asked"),
    events.ListeningBegan("Bob"),
    events.ListeningEnded("Bob", 900),
    events.AgentSwitched("billing"),
    events.AudioDropped("caller", 40, "late"),
    events.AudioDropped("agent", 40, "full"),
    events.RecordingFailed("the disk is full"),
    events.DialRefused("call", "hours", "+49"),
    ENDED,
]


@st.composite
def entries(draw: st.DrawFn) -> list[JournalEntry]:
    """What happens in a few calls, in any order, with impossible ones."""
    which = st.tuples(st.sampled_from(["CA1", "CA2", "CA3"]), st.sampled_from(HAPPENINGS))
    drawn = draw(st.lists(which, max_size=40))
    begun = [(sid, BEGAN) for sid in ("CA1", "CA2", "CA3")]
    return [
        JournalEntry(number, sid, 10 * number, 1_000_000 + 10 * number, event)
        for number, (sid, event) in enumerate([*begun, *drawn], 1)
    ]


def test_a_mute_that_ends_while_the_agent_is_lost_does_not_connect_it() -> None:
    steps: tuple[tuple[events.Event, str], ...] = (
        (events.AgentConnected("r", 1), "connected"),
        (events.AgentMuted(on=True), "muted"),
        (events.AgentLost("closed", "1006"), "lost"),
        (events.AgentMuted(on=False), "lost"),
        (events.AgentMuted(on=True), "lost"),
        (events.AgentResumed(1, 900, 0), "muted"),
        (events.AgentMuted(on=False), "connected"),
    )
    board = folded([JournalEntry(1, "CA1", 10, 1_000_010, BEGAN)])
    for number, (event, state) in enumerate(steps, 2):
        board.take(P, JournalEntry(number, "CA1", 10 * number, 1_000_000, event))
        assert rows_of(board)["CA1"]["agent_state"] == state, event


def rows_of(board: LiveBoard) -> dict[str, Row]:
    return {row["call_sid"]: json.loads(msgspec.json.encode(row)) for row in board.rows()}


def folded(taken: Sequence[JournalEntry]) -> LiveBoard:
    board = LiveBoard()
    for entry in taken:
        board.take(P, entry)
    return board


def changed(rows: dict[str, Row], call_sid: str, change: Change) -> None:
    """Do what a client does with the change of an event."""
    if change is None:
        del rows[call_sid]
    elif change:
        rows[call_sid] = {**rows.get(call_sid, {}), **change}


def sent_after(live: LiveEvents, number: int) -> list[tuple[str, Any]]:
    """What a client gets of the events behind that one: their `data` with a change."""
    block, last = live.after(number, None)
    assert last == live.last
    lines = [line for line in block.decode().split("\n") if line.startswith("data: ")]
    data = [json.loads(line.removeprefix("data: ")) for line in lines]
    return [(each["call_sid"], each["call"]) for each in data if "call" in each]


@given(entries(), st.data())
def test_a_snapshot_and_what_follows_it_are_all_events(
    taken: list[JournalEntry], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(taken)))
    board, live = LiveBoard(), LiveEvents(run="r")
    rows: dict[str, Row] = {}
    for place, entry in enumerate(taken):
        if place == cut:
            rows = rows_of(board)
        change = board.take(P, entry)
        live(CallEvent(entry.call_sid, entry.at_ms, entry.event), change)
    if cut == len(taken):
        rows = rows_of(board)
    for call_sid, change in sent_after(live, cut):
        changed(rows, call_sid, change)
    assert rows == rows_of(board)


@given(entries(), st.data())
def test_a_board_that_was_begun_later_is_the_same(
    taken: list[JournalEntry], data: st.DataObject
) -> None:
    """A process that was started at `start`, asked at `asked`, and had its answer at `answered`."""
    start = data.draw(st.integers(0, len(taken)))
    asked = data.draw(st.integers(start, len(taken)))
    answered = data.draw(st.integers(asked, len(taken)))
    ended_by_then = {
        one.call_sid for one in taken[:answered] if isinstance(one.event, events.CallEnded)
    }
    # The database has every event up to `asked`, of calls that have no end when it answers.
    before = [one for one in taken[:asked] if one.call_sid not in ended_by_then]
    before.sort(key=lambda one: (one.call_sid, one.number))
    board = LiveBoard()
    for place, entry in enumerate(taken[start:], start):
        if place == asked:
            board.hold()
        if place == answered:
            board.seed(before)
        board.take(P, entry)
    if asked == len(taken):
        board.hold()
    if answered == len(taken):
        board.seed(before)
    assert rows_of(board) == rows_of(folded(taken))


def test_who_is_speaking() -> None:
    board = LiveBoard()
    for event, speaking in (
        (BEGAN, "nobody"),
        (events.CallStarted(), "nobody"),
        (events.AgentAnnounced(1, "Hello."), "agent"),
        (events.CallerSpeechBegan(), "agent"),  # which did not interrupt it
        (events.AgentAnnounced(2, "How are you?"), "agent"),
        (said(), "agent"),
        (events.Interrupted(300), "caller"),
        (said(interrupted=True), "caller"),
        (events.CallerSaid("Well."), "nobody"),
        (events.CallerSpeechBegan(), "caller"),
        (events.CallerSaid("And you?"), "nobody"),
        (events.AgentAnnounced(3, "Very well."), "agent"),
        (said("Very well."), "nobody"),
    ):
        board.take(P, JournalEntry(1, "CA1", 0, 0, event))
        assert board.rows()[0]["speaking"] == speaking, event
    assert board.rows()[0]["last_words"] == {"who": "agent", "text": "Very well."}


def test_who_listens_and_who_has_taken_a_call_over() -> None:
    board = LiveBoard()
    for event, listeners, taken_by in (
        (BEGAN, [], None),
        (events.ListeningBegan("Bob"), ["Bob"], None),
        (events.ListeningBegan("Bob"), ["Bob", "Bob"], None),
        (events.OperatorTookOver("Ann"), ["Bob", "Bob"], "Ann"),
        (events.ListeningEnded("Bob", 900), ["Bob"], "Ann"),
        (events.OperatorHandedBack("Ann", "", 900, "lost"), ["Bob"], None),
        (events.ListeningEnded("Bob", 900), [], None),
        (events.ListeningEnded("Bob", 900), [], None),  # whose beginning was not told here
    ):
        board.take(P, JournalEntry(1, "CA1", 0, 0, event))
        row = board.rows()[0]
        assert (row["listeners"], row["taken_by"]) == (listeners, taken_by), event


def test_trouble_stands_first_and_goes_when_it_is_over() -> None:
    board = LiveBoard()

    def happens(event: Event, sid: str = "CA2") -> object:
        board.take(P, JournalEntry(1, sid, 0, 0, event))
        return board.rows()[0]["trouble"]

    happens(BEGAN, "CA1")
    happens(BEGAN)
    assert (
        happens(events.RecordingFailed("no disk"))
        == "from here on the call is not recorded: no disk"
    )
    assert board.rows()[0]["call_sid"] == "CA2"
    assert happens(events.AgentLost("closed", "")) == (
        "the agent was lost: closed; another leg is dialled"
    )
    assert happens(events.DialRefused("call", "hours", "+4")) == "call refused: hours"
    assert happens(events.CallerSaid("Hello?")) == (
        "the agent was lost: closed; another leg is dialled"
    )
    assert happens(events.AgentResumed(1, 2, 3)) == "from here on the call is not recorded: no disk"
    assert (
        happens(events.AudioDropped("caller", 20, "late"))
        == "from here on the call is not recorded: no disk"
    )


def test_a_board_has_bounds() -> None:
    board = LiveBoard()
    for number in range(CALLS_MAX + 5):
        board.take(P, JournalEntry(number, f"CA{number}", 0, number, BEGAN))
    assert len(board) == CALLS_MAX
    assert board.take(P, JournalEntry(1, f"CA{CALLS_MAX + 1}", 0, 0, events.CallStarted())) == {}
    change = board.take(P, JournalEntry(1, "CA1", 0, 0, events.CallerSaid("x" * 100_000)))
    assert change is not None
    assert len(change["last_words"]["text"]) == TEXT_MAX


def test_a_fault_of_the_board_is_no_fault_of_the_events() -> None:
    board = folded([JournalEntry(1, "CA1", 0, 0, BEGAN)])
    broken: Any = events.AgentAnnounced("one", None)  # type: ignore[arg-type]
    assert board.take(P, JournalEntry(2, "CA1", 0, 0, broken)) == {}
