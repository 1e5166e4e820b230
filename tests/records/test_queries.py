"""What the record answers, on SQLite and on PostgreSQL."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete
from tests.cases import check_each
from tests.records.filling import BEGAN_MS, CALLED, CALLER, Filler, began, ended, sid_of

from offhook.errors import UserError
from offhook.events import types as events
from offhook.records import call_record, queries, tables
from offhook.records.filters import CallFilter
from offhook.records.models import (
    CallRecord,
    FunctionRecord,
    MessageRecord,
    Percentiles,
    TurnRecord,
    UtteranceRecord,
)
from offhook.records.pages import PagePosition, cursor_of

OTHER = "+442079460123"


def found(engine: Engine, limit: int = 50, **asked: Any) -> list[str]:
    """The CallSids of every page."""
    sids: list[str] = []
    cursor = None
    with engine.connect() as connection:
        while True:
            page = queries.find(connection, CallFilter(**asked), limit, cursor)
            assert len(page.calls) <= limit
            sids += [call.sid for call in page.calls]
            cursor = page.next_cursor
            if cursor is None:
                return sids


def shown(engine: Engine, sid: str) -> CallRecord:
    with engine.connect() as connection:
        record = call_record.show(connection, sid)
    assert record is not None
    return record


@pytest.fixture
def house(engine: Engine) -> dict[str, str]:
    """Calls of which each can be told from the others."""
    filler = Filler(engine)
    at = {name: BEGAN_MS + 60_000 * index for index, name in enumerate(CALLS)}
    for number, (name, happened) in enumerate(CALLS.items()):
        filler.call(sid_of(number), happened, at[name])
    return {name: sid_of(number) for number, name in enumerate(CALLS)}


def said(text: str) -> list[tuple[int, events.Event]]:
    return [
        (0, began()),
        (100, events.CallStarted()),
        (3000, events.CallerSaid(text, 2000)),
        (4000, ended(4000)),
    ]


CALLS: dict[str, list[tuple[int, events.Event]]] = {
    "plain": said("Hello there"),
    "other agent": [(0, began(agent="sales")), (9000, ended(9000))],
    "from other": [(0, began(from_=OTHER)), (1, ended(1))],
    "to other": [(0, began(to=OTHER, direction="outbound", by="api")), (1, ended(1))],
    "live": [(0, began())],
    "lost": [(0, began()), (500, ended(500, "agent_lost", "agent"))],
    "percent": said("It is 50%_off \\ today"),
    "umlaut": said("Wie sind die ÖFFNUNGSZEITEN [heute]?"),
    "kana": said("営業時間を教えてください"),
    "cut": [
        (0, began()),
        (2000, events.AgentSaid("We are", "We are open from nine", 700, True, 900)),
        (2500, ended(2500)),
    ],
}


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, set(CALLS)),
    ({"agent": "sales"}, {"other agent"}),
    ({"agent": "Sales"}, set()),
    ({"number": OTHER}, {"from other", "to other"}),
    ({"number": CALLER}, set(CALLS) - {"from other"}),
    ({"number": CALLED}, set(CALLS) - {"to other"}),
    ({"number": "+1999"}, set()),
    ({"direction": "outbound"}, {"to other"}),
    ({"live": True}, {"live"}),
    ({"live": False}, set(CALLS) - {"live"}),
    ({"slug": "agent_lost"}, {"lost"}),
    ({"fault": "agent"}, {"lost"}),
    ({"min_ms": 4000}, {"plain", "other agent", "percent", "umlaut", "kana"}),
    ({"min_ms": 9001}, set()),
    (
        {"since_ms": BEGAN_MS + 60_000, "until_ms": BEGAN_MS + 180_000},
        {"other agent", "from other"},
    ),
    ({"text": "HELLO"}, {"plain"}),
    ({"text": "50%_off"}, {"percent"}),
    ({"text": "5_%"}, set()),
    ({"text": "\\"}, {"percent"}),
    ({"text": "öffnungszeiten"}, {"umlaut"}),
    ({"text": "Öffnungszeiten [H"}, {"umlaut"}),
    ({"text": "ö*"}, set()),
    ({"text": "öf.n"}, set()),
    ({"text": "時間"}, {"kana"}),
    ({"text": "we ARE"}, {"cut"}),
    ({"text": "from nine"}, set()),  # nobody heard it
    ({"text": "Hello", "agent": "sales"}, set()),
    ({"text": "hello", "number": CALLER, "live": False}, {"plain"}),
    ({"number": CALLER, "fault": "agent"}, {"lost"}),
]


def test_filters(engine: Engine, house: dict[str, str]) -> None:
    def check(asked: dict[str, Any], meant: set[str]) -> None:
        newest_first = [house[name] for name in reversed(CALLS) if name in meant]
        assert found(engine, **asked) == newest_first
        assert found(engine, limit=1, **asked) == newest_first
        with engine.connect() as connection:
            assert queries.totals(connection, CallFilter(**asked)).calls == len(meant)
            by_agent = queries.sums(connection, CallFilter(**asked), "agent")
        assert sum(one.totals.calls for one in by_agent) == len(meant)

    check_each(check, FILTERS)


def test_a_text_search_looks_through_all_calls_in_pages(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may be short, or empty, and has a cursor all the same until all was looked through."""
    monkeypatch.setattr(queries, "SCAN_CALLS", (1, 2))
    filler = Filler(engine)
    for number in range(10):
        filler.call(sid_of(number), said("yes" if number in (0, 4, 9) else "no"), BEGAN_MS + number)
    assert found(engine, text="yes") == [sid_of(number) for number in (9, 4, 0)]
    assert found(engine, limit=1, text="no") == [sid_of(n) for n in (8, 7, 6, 5, 3, 2, 1)]
    assert found(engine, text="maybe") == []


def test_a_bad_cursor_is_said(engine: Engine) -> None:
    for cursor in ("", "x", "*", cursor_of(PagePosition(1, "CA"))[:-2], "é"):
        with engine.connect() as connection, pytest.raises(UserError, match="E-ASK-02"):
            queries.find(connection, CallFilter(), 10, cursor)


def test_a_cursor_from_anywhere_is_a_place(engine: Engine) -> None:
    filler = Filler(engine)
    sids = [filler.short(number) for number in range(3)]
    with engine.connect() as connection:
        cursor = cursor_of(PagePosition(BEGAN_MS + 1500, "anything"))
        page = queries.find(connection, CallFilter(), 10, cursor)
    assert [call.sid for call in page.calls] == [sids[1], sids[0]]


@pytest.mark.parametrize("asked", [{}, {"number": CALLER}, {"text": "word"}])
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), limit=st.integers(1, 7))
def test_pages_hold_each_call_once_while_calls_begin(
    engine: Engine, asked: dict[str, Any], seed: int, limit: int
) -> None:
    """Several begin in the same millisecond, and more while pages are read."""
    chance = random.Random(seed)
    with engine.begin() as connection:
        connection.execute(delete(tables.calls))
        connection.execute(delete(tables.applied))
    filler = Filler(engine)
    unused = iter(chance.sample(range(10_000), 60))

    def begin(at_ms: int) -> str:
        sid = sid_of(next(unused))
        filler.call(sid, [(0, began()), (5, events.CallerSaid("a word", 1))], at_ms)
        return sid

    there = {begin(BEGAN_MS + chance.randrange(5)) for _ in range(chance.randrange(20))}
    seen: list[str] = []
    cursor = None
    now_ms = BEGAN_MS + 10
    with engine.connect() as connection:
        while True:
            page = queries.find(connection, CallFilter(**asked), limit, cursor)
            connection.rollback()  # the next page sees what was written meanwhile
            seen += [call.sid for call in page.calls]
            for _ in range(chance.randrange(3)):
                now_ms += chance.randrange(2)
                begin(now_ms)
            cursor = page.next_cursor
            if cursor is None:
                break
    assert len(seen) == len(set(seen))
    assert set(seen) == there


# --- Sums ----------------------------------------------------------------------------------------


def test_totals_are_what_is_billed(engine: Engine) -> None:
    filler = Filler(engine)
    for number, (ms, tier) in enumerate([(61_000, "standard"), (20_000, "standard"), (10, "own")]):
        happened: list[tuple[int, events.Event]] = [
            (0, began(tier=tier)),
            (5, events.CallStarted()),
            (ms, events.AgentDisconnected(ms)),
            (ms, ended(ms)),
            (ms + 1, events.CallBilled("completed", ms)),
        ]
        filler.call(sid_of(number), happened, BEGAN_MS + number * 86_400_000)
    filler.call(sid_of(9), [(0, began(agent="sales"))], BEGAN_MS)
    with engine.connect() as connection:
        totals = queries.totals(connection, CallFilter())
        days = queries.sums(connection, CallFilter(), "day")
        agents = queries.sums(connection, CallFilter(), "agent")
    assert (totals.calls, totals.live, totals.duration_ms) == (4, 1, 81_010)
    assert (totals.twilio_minutes, totals.stream_minutes) == (2 + 1 + 1, 2 + 1 + 1)
    assert totals.deepgram_minutes == {"own": 0.0, "standard": 1.35}
    # 4 begun minutes of each, and 81 s of the one tier that has a price.
    assert totals.cost_micros == 4 * 10_000 + 4 * 4_000 + 81_000
    assert totals.without_cost == 1
    assert totals.endings == {"caller_hung_up": 3}
    assert [(day.key, day.totals.calls) for day in days] == [
        ("2026-10-28", 1),
        ("2026-10-27", 1),
        ("2026-10-26", 2),
    ]
    assert [(one.key, one.totals.calls) for one in agents] == [("desk", 3), ("sales", 1)]
    assert sum(day.totals.cost_micros or 0 for day in days) == totals.cost_micros


def test_no_calls_come_to_nothing(engine: Engine) -> None:
    with engine.connect() as connection:
        totals = queries.totals(connection, CallFilter())
        assert queries.sums(connection, CallFilter(), "day") == []
    assert (totals.calls, totals.cost_micros, totals.endings) == (0, None, {})


# --- One call ------------------------------------------------------------------------------------

WHOLE: list[tuple[int, events.Event]] = [
    (0, began(variables='{"name": "Ada"}')),
    (40, events.CallStarted()),
    (300, events.AgentConnected("req-1", 260)),
    (1900, events.AgentSaid("Hello!", "Hello!", 900, False, 1000)),
    (4000, events.CallerSaid("When are you open?", 3000)),
    (4050, events.FunctionCalled("f1", "hours", '{"day": "Monday"}')),
    (4100, events.FunctionAnswered("f1", "hours", "answered", '"nine"', 50)),
    (4900, events.LatencyReported(100, 300, 200, 600)),
    (4950, events.Answered(600, 950)),
    (6000, events.AudioDropped("caller", 800, "late")),
    (6001, events.AgentSaid("We are open", "We are open from nine", 1100, True, 4930)),
    (6900, events.CallerSaid("Thanks.", None)),
    (7000, events.KeyPressed("5")),
    (7100, events.MessageTaken("Ada", "", "Call back.")),
    (7300, events.Answered(300, 400)),
    (7500, events.AgentWarned("SLOW", "thinks long", False)),
    (7900, events.FunctionCalled("f2", "transfer", "{}")),
    (8000, events.DelaysSampled((50, 40, 9, 0, 0, 0, 0, 0, 1), (0,) * 9, (0,) * 7 + (1, 0))),
    (8000, events.AgentDisconnected(7700)),
    (8100, ended(8100)),
    (8900, events.CallBilled("completed", 8500)),
]


@pytest.fixture
def whole(engine: Engine) -> CallRecord:
    Filler(engine).call(sid_of(1), WHOLE, BEGAN_MS)
    return shown(engine, sid_of(1))


def test_a_call_is_summed_up(whole: CallRecord) -> None:
    call = whole.call
    assert call.started == "2026-10-26T07:33:20.000Z"
    assert (call.duration_ms, call.live) == (8100, False)
    counts = (call.turns, call.interruptions, call.functions, call.troubles)
    assert counts == (2, 1, 2, 1), "what a barge-in throws away is no trouble"
    assert call.twilio_minutes == 1
    assert call.cost_micros == 10_000 + 4_000 + 7_700
    assert whole.variables == {"name": "Ada"}
    meters = whole.meters
    assert (meters.stream_ms, meters.stream_minutes, meters.deepgram_ms) == (8060, 1, 7700)


def test_the_timeline_is_in_order(whole: CallRecord) -> None:
    times = [entry.at_ms for entry in whole.timeline]
    assert times == sorted(times)
    kinds = [entry.kind for entry in whole.timeline]
    assert kinds.count("utterance") == 4
    assert {"agent_session", "key", "trouble", "function", "turn", "message"} < set(kinds)
    (message,) = [entry for entry in whole.timeline if isinstance(entry, MessageRecord)]
    assert message == MessageRecord(at_ms=7100, from_name="Ada", number="", text="Call back.")


def test_what_was_cut_is_marked_as_an_estimate(whole: CallRecord) -> None:
    said = [entry for entry in whole.timeline if isinstance(entry, UtteranceRecord)]
    assert [(one.text, one.interrupted, one.estimated) for one in said] == [
        ("Hello!", False, False),
        ("When are you open?", False, False),
        ("We are open", True, True),
        ("Thanks.", False, False),
    ]
    assert said[2].intended == "We are open from nine"
    assert (said[2].start_ms, said[2].end_ms, said[2].heard_ms) == (4930, 6001, 1100)
    assert said[3].at_ms == 6900, "its end, where nobody told its beginning"


def test_deepgrams_latency_stands_beside_ours(whole: CallRecord) -> None:
    turns = [entry for entry in whole.timeline if isinstance(entry, TurnRecord)]
    assert turns == [
        TurnRecord(
            at_ms=4900,
            first_byte_ms=600,
            first_played_ms=950,
            listen_ms=100,
            think_ms=300,
            speak_ms=200,
            total_ms=600,
        ),
        TurnRecord(at_ms=7300, first_byte_ms=300, first_played_ms=400),
    ]


def test_functions_have_their_outcome(whole: CallRecord) -> None:
    functions = [entry for entry in whole.timeline if isinstance(entry, FunctionRecord)]
    assert [(one.name, one.outcome, one.after_ms) for one in functions] == [
        ("hours", "answered", 50),
        ("transfer", None, None),
    ]


def test_delays_are_edges_of_buckets(whole: CallRecord) -> None:
    assert whole.delays is not None
    assert whole.delays.to_agent == Percentiles(100, 1, 5, 5)
    assert whole.delays.to_caller == Percentiles(0, None, None, None)
    assert whole.delays.to_clear == Percentiles(1, 250, 250, 250)
    assert call_record.percentiles((0,) * 8 + (3,)) == Percentiles(3, None, None, None)


def test_the_json_holds_all_of_it(whole: CallRecord) -> None:
    made = call_record.exported(whole, "EUR")
    again = msgspec.json.decode(msgspec.json.encode(made))
    assert (again["version"], again["currency"]) == (1, "EUR")
    assert msgspec.convert(again["call"], type(whole.call)) == whole.call
    assert len(again["timeline"]) == len(whole.timeline)


def test_a_live_call_has_what_there_is(engine: Engine) -> None:
    Filler(engine).call(sid_of(1), WHOLE[:5], BEGAN_MS)
    record = shown(engine, sid_of(1))
    assert record.call.live
    assert (record.call.duration_ms, record.call.slug, record.delays) == (None, None, None)
    assert record.meters.stream_ms == 4000 - 40


def test_no_call_is_none(engine: Engine) -> None:
    with engine.connect() as connection:
        assert call_record.show(connection, "CA1") is None
        assert call_record.show(connection, "CA\0") is None


def test_the_end_of_a_callsid_stands_for_it(engine: Engine) -> None:
    filler = Filler(engine)
    for sid in ("CAaaaa1234", "CAbbbb1234", "CAbbbb5678", "CA%bcde"):
        filler.call(sid, [(0, began())], BEGAN_MS)
    with engine.connect() as connection:
        assert queries.find_sid(connection, "CAbbbb1234") == "CAbbbb1234"
        assert queries.find_sid(connection, "5678") == "CAbbbb5678"
        assert queries.find_sid(connection, "%bcde") == "CA%bcde"
        for text, code in [
            ("1234", "E-ASK-05"),
            ("678", "E-ASK-04"),  # too short to stand for a call
            ("caBBBB5678", "E-ASK-04"),
            ("b_5678", "E-ASK-04"),
            ("", "E-ASK-04"),
            ("a\0bcd", "E-ASK-04"),
        ]:
            with pytest.raises(UserError, match=code):
                queries.find_sid(connection, text)
