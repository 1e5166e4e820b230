"""Lines into rows, on both databases: each once, whatever comes twice, late or without its call."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, Table, event, select
from sqlalchemy.exc import IntegrityError

from offhook.call.ending import Slug
from offhook.config import Prices
from offhook.events import types as events
from offhook.events.types import Event
from offhook.journal.entries import JournalEntry
from offhook.records import call_record, moves, tables
from offhook.records.batches import without_nul
from offhook.records.models import FunctionRecord, UtteranceRecord
from offhook.records.store import RecordStore

PRICES = Prices(twilio_minute=0.01, stream_minute=0.004, deepgram_minute={"standard": 0.06})
WALL = 1_795_000_000_000


def began(**changed: Any) -> events.CallBegan:
    fields = {
        "account_sid": "AC1",
        "agent": "front-desk",
        "tier": "standard",
        "direction": "inbound",
        "by": "webhook",
        "from_": "+12025550142",
        "to": "+12025550100",
        "variables": '{"name": "Ada"}',
    }
    return events.CallBegan(**{**fields, **changed})


def ended(slug: Slug = Slug.CALLER_HUNG_UP, duration_ms: int = 90_000) -> events.CallEnded:
    return events.CallEnded(slug.fault, slug.slug, slug.words, "", duration_ms)


def lines(
    *happened: tuple[int, Event], call_sid: str = "CA1", first: int = 1
) -> list[JournalEntry]:
    return [
        JournalEntry(number, call_sid, at_ms, WALL + at_ms, event)
        for number, (at_ms, event) in enumerate(happened, first)
    ]


def apply(
    engine: Engine,
    batch: Sequence[JournalEntry],
    journal: str = "j",
    process: str = "",
    prices: Prices = PRICES,
) -> list[str]:
    with engine.begin() as connection:
        store = RecordStore(journal, prices, process_id=process)
        return store.apply(connection, batch, batch[-1].number)


def rows(engine: Engine, table: Table) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        order = list(table.primary_key.columns)
        return [dict(row._mapping) for row in connection.execute(select(table).order_by(*order))]


def call(engine: Engine, sid: str = "CA1") -> dict[str, Any]:
    return next(row for row in rows(engine, tables.calls) if row["sid"] == sid)


def functions(engine: Engine, sid: str = "CA1") -> list[FunctionRecord]:
    with engine.connect() as connection:
        entries = call_record.shown(connection, sid).timeline
    return [entry for entry in entries if isinstance(entry, FunctionRecord)]


WHOLE = lines(
    (0, began()),
    (120, events.AgentConnected("request-1", 110)),
    (200, events.CallStarted()),
    (2200, events.AgentSaid("Hello.", "Hello.", 900, False, 1100)),
    (4000, events.CallerSaid("A table?\0", 3100)),
    (4300, events.LatencyReported(100, 200, None, 300)),
    (4500, events.Answered(400, 480)),
    (4600, events.FunctionCalled("f1", "book", '{"people": 2}')),
    (4900, events.FunctionAnswered("f1", "book", "answered", '"done"', 300)),
    (5000, events.FunctionCalled("f2", "book", "{}")),
    (5100, events.FunctionDropped("f2", "book", "cancelled")),
    (5200, events.Interrupted(300)),
    (5200, events.AgentSaid("One", "One two three.", 300, True, 4900)),
    (5300, events.KeyPressed("5")),
    (5400, events.AgentWarned("SLOW", "slow", fatal=False)),
    (5500, events.ProtocolViolation("caller", "a second start")),
    (5600, events.AudioDropped("agent", 40, "full")),
    (5650, events.InterpreterHeld("book", "tools.py:7", 900)),
    (5700, events.StreamTrouble("31921", "closed")),
    (5800, events.DialRefused("text", "country", "+18095551234")),
    (5900, events.MessageTaken("Ada\0", "555 0143", "Call back.")),
    (6000, events.DoNotCall("+12025550177")),
    (6100, events.Dialled("warm-transfer", "ann", "+12025550143")),
    (6200, events.TransferFailed("ann", "declined")),
    (90_000, events.DelaysSampled((1, 2), (3, 4), (5, 6))),
    (90_000, events.AgentDisconnected(89_900)),
    (90_000, ended()),
    (90_300, events.Dialled("fallback", "", "+12025550144")),
    (90_400, events.CallBilled("completed", 91_000)),
)


@pytest.mark.parametrize("size", [1, 3, len(WHOLE)])
def test_a_whole_call_whatever_the_batches(engine: Engine, size: int) -> None:
    told = []
    for at in range(0, len(WHOLE), size):
        told += apply(engine, WHOLE[at : at + size])
    assert told == ["CA1"]
    found = call(engine)
    assert found["started_ms"] == WALL
    assert found["stream_at_ms"] == 200
    assert found["duration_ms"] == 90_000
    assert (found["fault"], found["slug"]) == ("nobody", "caller_hung_up")
    assert (found["billed_status"], found["billed_ms"]) == ("completed", 91_000)
    assert found["agent_ms"] == 89_900
    assert json.loads(found["delays"])["to_clear"] == [5, 6]
    # Two begun minutes of the call and of its stream; 89.9 s of Deepgram.
    assert found["cost_micros"] == 20_000 + 8_000 + 89_900
    said = rows(engine, tables.utterances)
    assert [(one["who"], one["text"]) for one in said] == [
        ("agent", "Hello."),
        ("caller", "A table?\ufffd"),
        ("agent", "One"),
    ]
    counted = ("turns", "interruptions", "functions", "troubles")
    assert [found[name] for name in counted] == [1, 1, 2, 7]
    stored = rows(engine, tables.events)
    assert [row["line"] for row in stored] == [line.number for line in WHOLE]
    assert [row["at_ms"] for row in stored] == [line.at_ms for line in WHOLE]
    assert [row["wall_ms"] for row in stored] == [line.wall_ms for line in WHOLE]
    for row, line in zip(stored, WHOLE, strict=True):
        kind = type(line.event)
        assert row["kind"] == kind.__name__
        assert msgspec.json.decode(row["body"], type=kind) == without_nul(line.event)
    assert '"text":"A table?\ufffd"' in stored[4]["body"]
    assert [tuple(row.values()) for row in rows(engine, tables.do_not_call)] == [
        ("+12025550177", WALL + 6000, "asked in a call", "CA1")
    ]


def test_how_far_it_is_known_is_committed_with_the_rows(engine: Engine) -> None:
    apply(engine, WHOLE[:4])
    apply(engine, WHOLE[4:9])
    with engine.connect() as connection:
        assert RecordStore("j", PRICES).applied(connection) == 9
        assert RecordStore("another", PRICES).applied(connection) == 0


def test_a_function_that_is_called_again_under_its_old_id_is_another(engine: Engine) -> None:
    called, answered = WHOLE[7].event, WHOLE[8].event
    apply(engine, lines((0, began()), (1, called), (2, answered), (3, called)))
    assert [one.outcome for one in functions(engine)] == ["answered", None]


@pytest.mark.parametrize("text", ["x" * (1 << 20), "\ud83d\ude00 \\u0000 \u2028 '\"; %s %% ? :a"])
def test_a_text_of_any_kind_comes_back_as_it_was(engine: Engine, text: str) -> None:
    text = text.encode("utf-16", "surrogatepass").decode("utf-16")
    apply(engine, lines((0, began()), (5, events.CallerSaid(text))))
    (said,) = rows(engine, tables.utterances)
    assert said["text"] == text
    kept = rows(engine, tables.events)[1]
    assert msgspec.json.decode(kept["body"], type=events.CallerSaid).text == text


def test_a_call_that_two_servers_were_asked_about_is_one(engine: Engine) -> None:
    """Twilio repeats a webhook at another node."""
    apply(engine, lines((0, began(agent="first"))), journal="a")
    repeated = lines((0, began(agent="second")), (5, events.CallerSaid("Hi.")), first=50)
    apply(engine, repeated, journal="b")
    assert [one["agent"] for one in rows(engine, tables.calls)] == ["first"]
    assert len(rows(engine, tables.utterances)) == 1


def test_lines_of_a_call_that_was_erased_are_dropped(engine: Engine) -> None:
    apply(engine, WHOLE[:5])
    with engine.begin() as connection:
        connection.execute(tables.calls.delete())
    assert rows(engine, tables.utterances) == []
    assert apply(engine, WHOLE[5:]) == []
    assert all(
        rows(engine, table) == []
        for table in tables.metadata.sorted_tables[:-1]
        if table not in (tables.applied, tables.do_not_call)
    )
    assert len(rows(engine, tables.do_not_call)) == 1, "whoever asked is not rung all the same"


@pytest.mark.parametrize("node", ["", "a"])
def test_a_call_that_was_erased_while_it_was_live_is_dropped_at_the_second_attempt(
    engine: Engine, node: str
) -> None:
    store = RecordStore("j", PRICES, node=node)
    with engine.begin() as connection:
        store.apply(connection, WHOLE[:5], 5)
    with engine.begin() as connection:
        connection.execute(tables.calls.delete())
    if not node:  # in a fleet other nodes' calls are asked for each time
        with pytest.raises(IntegrityError), engine.begin() as connection:
            store.apply(connection, WHOLE[5:], 29)
    with engine.begin() as connection:
        assert store.apply(connection, WHOLE[5:], 29) == []
        assert store.applied(connection) == 29
    assert rows(engine, tables.events) == []


def test_what_earlier_runs_left_without_an_end_gets_one(engine: Engine) -> None:
    apply(
        engine, lines((0, began()), (200, events.CallStarted()), (61_000, events.CallerSaid("x")))
    )
    apply(engine, lines((0, began()), call_sid="CA2", first=100))
    apply(engine, lines((0, began()), call_sid="CA3"), journal="of another server")
    apply(engine, lines((0, began()), call_sid="CA4", first=200), process="another process")
    store = RecordStore("j", PRICES)
    with engine.begin() as connection:
        first, second = store.end_orphaned(connection)
        assert (first.call_sid, first.at_ms, second.call_sid) == ("CA1", 61_000, "CA2")
        assert isinstance(first.event, events.CallEnded)
        assert (first.event.slug, first.event.duration_ms) == ("server_died", 61_000)
        assert store.end_orphaned(connection) == []
    found = call(engine)
    assert (found["slug"], found["duration_ms"]) == ("server_died", 61_000)
    assert found["cost_micros"] == 2 * 4_000
    assert call(engine, "CA3")["duration_ms"] is None
    assert call(engine, "CA4")["duration_ms"] is None
    with engine.begin() as connection:
        another = RecordStore("j", PRICES, process_id="another process")
        assert [end.call_sid for end in another.end_orphaned(connection)] == ["CA4"]
    assert call(engine, "CA4")["duration_ms"] == 0


@pytest.mark.parametrize(("node", "asked"), [("", 0), ("a", 2)])
def test_lines_of_live_calls_ask_the_database_nothing_without_a_fleet(
    engine: Engine, node: str, asked: int
) -> None:
    store = RecordStore("j", PRICES, node=node)
    with engine.begin() as connection:
        store.apply(connection, WHOLE[:5], 5)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    for at in range(5, 15, 5):
        with engine.begin() as connection:
            store.apply(connection, WHOLE[at : at + 5], at + 5)
    queries = [each for each in statements if each.startswith("SELECT")]
    assert len(queries) == 2 * asked, queries


@pytest.mark.parametrize(
    "last", [(ended(), events.CallBilled("completed", 1000)), (events.CallReleased("handed_over"),)]
)
def test_a_call_that_is_over_or_elsewhere_is_not_remembered(
    engine: Engine, last: Sequence[events.Event]
) -> None:
    """Else the store would grow with each call. That it asks again shows as the call is erased."""
    store = RecordStore("j", PRICES)
    told = lines((0, began()), *((100, each) for each in last))
    for line in told:
        with engine.begin() as connection:
            store.apply(connection, [line], line.number)
    with engine.begin() as connection:
        connection.execute(tables.calls.delete())
    late = lines((300, events.Answered(1, 2)), first=9)
    with engine.begin() as connection:
        assert store.apply(connection, late, 9) == []
    assert rows(engine, tables.events) == []


def test_a_call_that_another_process_took_over_is_not_remembered(engine: Engine) -> None:
    store = RecordStore("j", PRICES)
    with engine.begin() as connection:
        store.apply(connection, WHOLE[:5], 5)
        moved = lines((3000, events.CallTakenOver(500, 2, "b")), first=6)
        store.apply(connection, moved, 6)
        late = lines((2500, events.CallerSaid("Hm?", 2400)), (3500, events.Answered(1, 2)), first=7)
        store.apply(connection, late, 8)
    assert [row["line"] // moves.NUMBERS for row in rows(engine, tables.events)][-3:] == [1, 1, 1]


SPEAKING = (
    (0, began()),
    (200, events.CallStarted()),
    (300, events.AgentAnnounced(1, "Hello.")),
    (900, events.AgentSaid("Hello.", "Hello.", 500, interrupted=False, start_ms=350)),
    (1000, events.AgentAnnounced(2, "We are open from nine to five.")),
    (1100, events.AgentHeard(2, 20, 1080)),
    (1200, events.AgentAnnounced(2, "On Sundays we are closed.")),
    (3100, events.AgentHeard(2, 1600, 1080)),
)


def agents_utterances(engine: Engine) -> list[UtteranceRecord]:
    with engine.connect() as connection:
        timeline = call_record.shown(connection, "CA1").timeline
    assert all(entry.kind != "event" for entry in timeline), "progress is no entry of its own"
    return [entry for entry in timeline if isinstance(entry, UtteranceRecord)]


def test_what_is_being_said_is_in_the_record_of_a_live_call(engine: Engine) -> None:
    apply(engine, lines(*SPEAKING))
    greeting, speaking = agents_utterances(engine)
    assert not greeting.estimated
    assert speaking.intended == "We are open from nine to five. On Sundays we are closed."
    assert (speaking.text, speaking.heard_ms) == ("We are open from nine to five.", 1600)
    assert (speaking.start_ms, speaking.end_ms) == (1080, 3100)
    assert speaking.estimated
    assert not speaking.interrupted


def test_a_server_that_dies_in_the_middle_of_an_answer_leaves_what_was_heard(
    engine: Engine,
) -> None:
    apply(engine, lines(*SPEAKING))
    with engine.begin() as connection:
        assert [end.call_sid for end in RecordStore("j", PRICES).end_orphaned(connection)] == [
            "CA1"
        ]
    _, cut = agents_utterances(engine)
    assert (cut.text, cut.heard_ms) == ("We are open from nine to five.", 1600)
    assert cut.estimated
    assert cut.interrupted
    texts = [row["text"] for row in rows(engine, tables.utterances)]
    assert texts == ["Hello.", "We are open from nine to five."], "it can be searched for"
    assert call(engine)["duration_ms"] == 3100


def test_without_prices_there_is_no_cost(engine: Engine) -> None:
    apply(engine, WHOLE, prices=Prices())
    assert call(engine)["cost_micros"] is None


def test_a_call_knows_its_recording(engine: Engine) -> None:
    apply(
        engine,
        lines(
            (0, began()),
            (200, events.RecordingStarted("20261124T134326Z-CA1.wav")),
            (3000, events.RecordingPaused()),
            (5000, events.RecordingResumed()),
            (90_000, events.RecordingEnded(89_800)),
            (90_000, ended()),
        ),
    )
    found = call(engine)
    assert (found["recording"], found["recording_ms"]) == ("20261124T134326Z-CA1.wav", 89_800)
    assert found["recording_fault"] is None


def test_a_call_knows_why_its_recording_failed(engine: Engine) -> None:
    failed = events.RecordingFailed("No space left on device")
    apply(engine, lines((0, began()), (9000, failed), (90_000, ended())))
    assert call(engine)["recording_fault"] == "No space left on device"


def test_a_function_that_ended_late_is_kept_as_such_also_after_the_end(engine: Engine) -> None:
    unknown = events.FunctionAnswered("f1", "pay", "outcome_unknown", "not known", 10_000)
    apply(
        engine,
        lines(
            (0, began()),
            (100, events.FunctionCalled("f1", "pay", "{}")),
            (10_100, unknown),
            (11_000, ended()),
            (12_100, events.FunctionFinishedLate("f1", "pay", "answered", "paid", 12_000)),
        ),
    )
    (late,) = functions(engine)
    assert (late.outcome, late.content, late.after_ms) == ("done_late", "paid", 12_000)


def test_what_became_of_the_lookup_is_kept(engine: Engine) -> None:
    looked_up = events.LookedUp("too_late", "no answer within 1000 ms", 1000)
    apply(engine, lines((0, began()), (1000, looked_up), (2000, ended())))
    found = call(engine)
    assert found["lookup"] == "too_late"
    assert found["lookup_why"] == "no answer within 1000 ms"
    assert found["lookup_ms"] == 1000
    apply(engine, lines((0, began()), (9, ended()), call_sid="CA2", first=50))
    assert call(engine, "CA2")["lookup"] is None
