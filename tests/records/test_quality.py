"""The figures of quality, against a plain recomputation from the events of every call."""

import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text
from tests.records.filling import BEGAN_MS, Filler, began, ended, sid_of

from offhook.config import Prices
from offhook.events import types as events
from offhook.events.types import Event
from offhook.records import database, erasing, queries, tables
from offhook.records.figures import FIGURES
from offhook.records.filters import CallFilter
from offhook.records.measures import CallMeasures, measured
from offhook.records.quality import Quality, QualityFigures, percentiles, quality
from offhook.records.store import RecordStore

DAY_MS = 86_400_000
Happened = list[tuple[int, Event]]


def asked(engine: Engine, by: str, **which: int | str) -> Quality:
    with engine.connect() as connection:
        return quality(connection, CallFilter(**which), by, "EUR")  # type: ignore[arg-type]


# --- a plain recomputation -----------------------------------------------------------------------


def rank(values: list[int], percent: int) -> int | None:
    """The smallest value which at least so many per cent of the values do not exceed."""
    for value in sorted(values):
        if 100 * sum(each <= value for each in values) >= percent * len(values):
            return value
    return None


ENDS: dict[type[Event], type[Event]] = {
    events.CallerLeft: events.CallerBack,
    events.OperatorTookOver: events.OperatorHandedBack,
}
"""What ends the time in which the caller is not with the agent."""


def handed_back(ms: int) -> events.OperatorHandedBack:
    return events.OperatorHandedBack("ada", "", ms, "asked")


def plain(calls: list[Happened]) -> dict[str, object]:
    """The figures of calls, each by its own pass over the events."""
    endings: Counter[str] = Counter()
    heard = meant = spoken = online = 0
    barge_ins = false = 0
    latency: dict[str, list[int]] = {}
    for call in calls:
        endings.update(e.slug for _, e in call if isinstance(e, events.CallEnded))
        for _, event in call:
            for name in ("listen", "think", "speak", "total", "first_byte", "first_played"):
                ms = getattr(event, f"{name}_ms", None)
                if ms is not None:
                    latency.setdefault(f"{name}_ms", []).append(ms)
        said = [e for _, e in call if isinstance(e, events.AgentSaid)]
        heard += sum(len(e.text) for e in said)
        meant += sum(len(e.intended) for e in said)
        began_ms = next((at for at, e in call if isinstance(e, events.CallStarted)), None)
        end_ms = next(e.duration_ms for _, e in call if isinstance(e, events.CallEnded))
        if began_ms is not None:
            is_online, is_spoken = bytearray(end_ms), bytearray(end_ms)
            is_online[began_ms:end_ms] = b"\1" * (end_ms - began_ms)
            left: dict[type[Event], int] = {}
            for at, event in call:
                if isinstance(event, events.CallerLeft | events.OperatorTookOver):
                    left.setdefault(ENDS[type(event)], at)
                if type(event) in left:
                    left_ms = left.pop(type(event))
                    is_online[left_ms:at] = bytes(at - left_ms)
                if not isinstance(event, events.CallerSaid | events.AgentSaid):
                    continue
                start = event.start_ms
                if start is not None:
                    until = start + event.heard_ms if isinstance(event, events.AgentSaid) else at
                    until = min(until, end_ms)
                    is_spoken[start:until] = b"\1" * max(0, until - start)
            for left_ms in left.values():
                is_online[left_ms:] = bytes(end_ms - left_ms)
            online += sum(is_online)
            spoken += sum(a & b for a, b in zip(is_online, is_spoken, strict=True))
        for place, (_, event) in enumerate(call):
            if isinstance(event, events.Interrupted):
                barge_ins += 1
                after = [e for _, e in call[place + 1 :]]
                stops = (
                    i
                    for i, e in enumerate(after)
                    if isinstance(e, events.Interrupted)
                    or (isinstance(e, events.AgentSaid) and not e.interrupted)
                )
                until = next(stops, len(after))
                words = any(isinstance(e, events.CallerSaid) for e in after[:until])
                false += event.cause != "turn" and not words

    def count(kind: type[Event]) -> int:
        return sum(isinstance(e, kind) for call in calls for _, e in call)

    return {
        "endings": dict(endings),
        "latency": {
            name: (len(values), rank(values, 50), rank(values, 90), rank(values, 99))
            for name, values in latency.items()
        },
        "barge_ins": barge_ins,
        "false_barge_ins": false,
        "suppressed": count(events.InterruptionSuppressed),
        "heard_ratio": round(heard / meant, 4) if meant else None,
        "silence_ratio": round((online - spoken) / online, 4) if online else None,
        "refused_dials": count(events.DialRefused),
    }


def told(figures: QualityFigures) -> dict[str, object]:
    """The same figures, as the record tells them."""
    return {
        "endings": figures.endings,
        "latency": {
            name: (each.turns, each.p50_ms, each.p90_ms, each.p99_ms)
            for name, each in figures.latency.items()
            if each.turns
        },
        **{
            name: getattr(figures, name)
            for name in (
                "barge_ins",
                "false_barge_ins",
                "suppressed",
                "heard_ratio",
                "silence_ratio",
                "refused_dials",
            )
        },
    }


# --- calls ---------------------------------------------------------------------------------------


def some_call(chance: random.Random, agent: str) -> Happened:
    """A call in which everything happens that is counted."""
    at = 40
    call: Happened = [(0, began(agent=agent))]
    if chance.random() < 0.9:
        call.append((at, events.CallStarted()))
    for _ in range(chance.randrange(9)):
        at += chance.randrange(100, 3000)
        ms = chance.randrange(200, 3000)
        call.append((at, some_event(chance, at, ms)))
        if type(call[-1][1]) in ENDS and chance.random() < 0.7:
            at += ms
            is_left = isinstance(call[-1][1], events.CallerLeft)
            call.append((at, events.CallerBack() if is_left else handed_back(ms)))
    slug = chance.choice(["caller_hung_up", "agent_lost", "server_full"])
    call.append((at + 500, ended(at + 500, slug)))
    return call


def some_event(chance: random.Random, at: int, ms: int) -> Event:
    start = chance.choice([None, max(0, at - ms)])
    is_cut = chance.random() < 0.4
    words = "Guten Tag, wir öffnen um neun."
    made: list[Event] = [
        events.Answered(ms, ms + 90),
        events.LatencyReported(chance.choice([None, ms // 7]), ms // 3, ms // 5, ms),
        events.CallerSaid("Ja.", start),
        events.AgentSaid(words[: 9 if is_cut else None], words, ms, is_cut, start),
        events.Interrupted(ms, chance.choice(["speech", "turn"])),
        events.InterruptionSuppressed("echo", ms, 40),
        events.DialRefused("text", "country", "+1"),
        events.CallerLeft("digits", ""),
        events.OperatorTookOver("ada"),
    ]
    return chance.choice(made)


def filled(
    engine: Engine, count: int, filler: Filler | None = None
) -> list[tuple[int, str, Happened]]:
    """Calls of three agents on five days; each with its beginning and its agent."""
    chance, filler, calls = random.Random(7), filler or Filler(engine), []
    for number in range(count):
        agent = chance.choice(["desk", "night", "gone"])
        began_ms = BEGAN_MS + chance.choice([0, 1, 3]) * DAY_MS + number
        call = some_call(chance, agent)
        filler.call(sid_of(number), call, began_ms)
        calls.append((began_ms, agent, call))
    return calls


def day_of(began_ms: int) -> str:
    return datetime.fromtimestamp(began_ms / 1000, UTC).date().isoformat()


def test_figures_are_those_of_the_events(engine: Engine) -> None:
    calls = filled(engine, 60)
    found = asked(engine, "agent")
    assert told(found.total) == plain([call for *_, call in calls])
    assert found.currency == "EUR"
    assert [group.key for group in found.groups] == ["desk", "gone", "night"]
    for group in found.groups:
        of_agent = [call for _, agent, call in calls if agent == group.key]
        assert told(group.figures) == plain(of_agent)
        assert group.figures.calls == len(of_agent)
    days = asked(engine, "day")
    assert len(days.groups) == 3, "days without calls are not there"
    for group in days.groups:
        of_day = [call for began_ms, _, call in calls if day_of(began_ms) == group.key]
        assert told(group.figures) == plain(of_day)
    some = asked(engine, "day", since_ms=BEGAN_MS + DAY_MS, agent="desk")
    chosen = [call for at, agent, call in calls if at >= BEGAN_MS + DAY_MS and agent == "desk"]
    assert told(some.total) == plain(chosen)


def test_each_figure_finds_the_calls_that_it_is_made_of(engine: Engine) -> None:
    filler = Filler(engine)
    calls = filled(engine, 60, filler)
    filler.call(sid_of(61), [(0, began(agent="desk"))], BEGAN_MS)  # it is live

    def found(**which: Any) -> int:
        with engine.connect() as connection:
            return len(queries.find(connection, CallFilter(**which), 500).calls)

    def compared(figures: QualityFigures, **which: Any) -> None:
        assert figures.calls_of == {name: found(figure=name, **which) for name in FIGURES}
        assert figures.calls == found(**which)
        assert figures.live == found(live=True, **which)
        assert figures.endings == {slug: found(slug=slug, **which) for slug in figures.endings}

    whole = asked(engine, "agent")
    compared(whole.total)
    of_some = [each for name, each in whole.total.calls_of.items() if name != "cost_micros"]
    assert all(0 < each < len(calls) for each in of_some)
    assert {*whole.total.latency} < {*FIGURES}
    for group in whole.groups:
        compared(group.figures, agent=group.key)
    for group in asked(engine, "day").groups:
        since_ms = round(datetime.fromisoformat(f"{group.key}T00:00Z").timestamp() * 1000)
        compared(group.figures, since_ms=since_ms, until_ms=since_ms + DAY_MS)


def test_without_calls_there_are_no_figures(engine: Engine) -> None:
    found = asked(engine, "day")
    assert (found.groups, found.total.calls) == ([], 0)
    assert found.total.heard_ratio is None
    assert found.total.latency["total_ms"].p99_ms is None


def test_one_call_and_a_live_one(engine: Engine) -> None:
    filler = Filler(engine)
    filler.call(sid_of(1), [(0, began()), (40, events.CallStarted())], BEGAN_MS)
    filler.call(sid_of(1), [(500, events.Answered(300, 360))], BEGAN_MS)
    found = asked(engine, "agent").total
    assert (found.calls, found.live, found.latency["first_byte_ms"].turns) == (1, 1, 0)
    filler.call(sid_of(1), [(1040, ended(1040))], BEGAN_MS)
    found = asked(engine, "agent").total
    assert (found.live, found.latency["first_byte_ms"].p50_ms) == (0, 300)
    assert found.silence_ratio == 1.0
    assert found.latency["listen_ms"].turns == 0


def test_what_happens_after_the_end_counts_too(engine: Engine) -> None:
    filler = Filler(engine)
    filler.call(sid_of(1), [(0, began()), (2000, ended(2000))], BEGAN_MS)
    filler.call(sid_of(1), [(2100, events.DialRefused("fallback", "country", ""))], BEGAN_MS)
    assert asked(engine, "agent").total.refused_dials == 1


def test_calls_whose_server_died_are_measured(engine: Engine) -> None:
    filler = Filler(engine)
    filler.call(sid_of(1), [(0, began()), (500, events.Answered(300, 360))], BEGAN_MS)
    store = RecordStore("0" * 32, Prices())
    with engine.begin() as connection:
        assert [each.call_sid for each in store.end_orphaned(connection)] == [sid_of(1)]
    assert asked(engine, "agent").total.latency["first_byte_ms"].turns == 1


def test_an_erased_call_leaves_no_figure(engine: Engine) -> None:
    filled(engine, 3)
    with engine.begin() as connection:
        for table, of_call in tables.of_calls():
            connection.execute(table.delete().where(of_call == sid_of(1)))
    with engine.connect() as connection:
        left = connection.execute(tables.measures.select()).all()
        assert erasing.counts(connection, [sid_of(0)])["measures"] == 1
    assert {row.call_sid for row in left} == {sid_of(0), sid_of(2)}


def test_the_migration_measures_old_calls(empty: Engine) -> None:
    database.migrate(empty, "0010")
    with empty.begin() as connection:
        for number in (1, 2):
            is_over = "2000" if number == 1 else "NULL"
            connection.execute(
                text(
                    "INSERT INTO calls (sid, account_sid, agent, direction, came_by, from_number,"
                    " to_number, variables, journal, started_ms, stream_at_ms, duration_ms,"
                    " agent_ms, tier, text_erased) VALUES (:sid, 'AC1', 'old', 'inbound',"
                    f" 'webhook', '', '', '{{}}', 'j', 1795000000000, 0, {is_over}, 0, 'standard',"
                    " FALSE)"
                ),
                {"sid": f"CA{number}"},
            )
            for line, kind, body in (
                (1, "Answered", '{"first_byte_ms": 310, "first_played_ms": 350}'),
                (2, "Interrupted", '{"heard_ms": 900}'),
                (3, "Unknown", "{}"),
            ):
                connection.execute(
                    text("INSERT INTO events VALUES (:sid, :line, 500, 0, :kind, :body)"),
                    {"sid": f"CA{number}", "line": line, "kind": kind, "body": body},
                )
    database.upgrade(empty)
    found = asked(empty, "agent").total
    assert (found.calls, found.live) == (2, 1)
    assert found.latency["first_played_ms"].p50_ms == 350
    assert (found.barge_ins, found.false_barge_ins) == (1, 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], (None, None, None)), ([7], (7, 7, 7)), (list(range(1, 101)), (50, 90, 99))],
)
def test_percentiles_are_values_that_occurred(
    values: list[int], expected: tuple[int | None, ...]
) -> None:
    found = percentiles([(value, 1) for value in values])
    assert (found.p50_ms, found.p90_ms, found.p99_ms) == expected


def test_speech_of_both_and_before_the_stream_counts_once() -> None:
    stored = [
        (900, "CallerSaid", '{"text": "a", "start_ms": 0}'),
        (1500, "CallerSaid", '{"text": "a", "start_ms": null}'),
        (
            2000,
            "AgentSaid",
            '{"text":"","intended":"","heard_ms":9000,"interrupted":true,"start_ms":800}',
        ),
    ]
    found = measured(stored, 500, 2000)
    assert found == CallMeasures("", 1500, 1500, 0, 0, 0, 0, 0, 0)


CUT = '{"text": "a", "intended": "ab", "heard_ms": 9, "interrupted": true}'
WHOLE = '{"text": "ab", "intended": "ab", "heard_ms": 9, "interrupted": false}'
SAID = '{"text": "a"}'
SPOKE_OVER = '{"heard_ms": 9}'


@pytest.mark.parametrize(
    ("happened", "false"),
    [
        ([("Interrupted", SPOKE_OVER), ("AgentSaid", CUT), ("CallerSaid", SAID)], 0),
        ([("Interrupted", SPOKE_OVER), ("AgentSaid", CUT), ("AgentSaid", WHOLE)], 1),
        (
            [
                ("Interrupted", SPOKE_OVER),
                ("AgentSaid", CUT),
                ("AgentSaid", WHOLE),
                ("CallerSaid", SAID),
            ],
            1,
        ),
        ([("CallerSaid", SAID), ("Interrupted", '{"heard_ms": 9, "cause": "turn"}')], 0),
        ([("Interrupted", SPOKE_OVER), ("Interrupted", SPOKE_OVER), ("CallerSaid", SAID)], 1),
    ],
)
def test_a_barge_in_is_false_when_no_words_follow(
    happened: list[tuple[str, str]], false: int
) -> None:
    stored = [(at, *each) for at, each in enumerate(happened)]
    assert measured(stored, 0, 100).false_barge_ins == false
