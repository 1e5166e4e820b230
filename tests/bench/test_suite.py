"""The runs of a whole benchmark, and the bars made of them, without a bridge."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from tests.bench.samples import GOOD

from offhook.bench import measuring
from offhook.bench.commands import CommandCost
from offhook.bench.figures import Level, Spread
from offhook.bench.measuring import RunPlan
from offhook.bench.report import markdown
from offhook.bench.runner import Bench, Bridge, Cores, ServeBridge
from offhook.bench.suite import BenchPlan, BenchReport, Suite

MOST = {"offhook": 300, "tutorial": 120, "bare_picows": 500}
COST = {"offhook": 3000.0, "tutorial": 7500.0, "bare_picows": 2400.0}
COMMANDS = [CommandCost("--help", 0.2), CommandCost("check", 0.5), CommandCost("calls list", 0.9)]
OTHERS = [Bridge("tutorial", ()), Bridge("bare_picows", ())]


async def level(bench: Bench, bridge: Bridge | ServeBridge, plan: RunPlan) -> Level:
    """A run that carries what its bridge can."""
    slow = 50.0 if plan.calls > MOST[bridge.name] else 0.5
    spread = Spread(slow / 2, slow, slow, 100)
    return msgspec.structs.replace(
        GOOD,
        bridge=bridge.name,
        kind=plan.kind,
        calls=plan.calls,
        tls=plan.tls,
        cpu_us=COST[bridge.name],
        beside_us=300.0 if bridge.name == "offhook" else 0.0,
        up=spread,
        up_last=spread,
        down=spread,
        call_ms=12.0 if plan.kind == "churn" else None,
        searches=Spread(20, 90, 95, 50) if plan.kind == "searched" else None,
    )


Measure = Callable[[Bench, Bridge | ServeBridge, RunPlan], Awaitable[Level]]


async def report(
    monkeypatch: pytest.MonkeyPatch, plan: BenchPlan, *others: Bridge, measure: Measure = level
) -> BenchReport:
    monkeypatch.setattr(measuring, "level", measure)
    suite = Suite(Bench(Cores(), os.environ), None, others, plan, lambda _: None)
    return await suite.run(COMMANDS, Path("calls.db"))


async def test_every_bar_has_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await report(monkeypatch, BenchPlan(), *OTHERS)
    values = {bar.what: bar.value for bar in made.bars}
    unmeasured = [what for what, value in values.items() if value is None]
    assert unmeasured == []
    assert values["CPU at 50 calls: the tutorial ÷ the call process"] == 2.5
    assert values["CPU at 200 calls: the call process ÷ bare forwarding"] == 1.25
    assert values["CPU at 50 calls: both processes ÷ the call process"] == 1.1
    assert values["offhook calls list, CPU seconds"] == 0.9
    churn = next(bar for bar in made.bars if "CPU of a call" in bar.what)
    assert (churn.value, churn.note) == (
        12.0,
        "9.0 of it for its frames, 3.0 for its beginning and end",
    )


async def test_every_kind_of_run_is_made_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await report(monkeypatch, BenchPlan(), *OTHERS)
    assert {level.kind for level in made.levels} == {"calls", "recorded", "searched", "churn"}
    assert any(level.tls for level in made.levels)
    assert 285 <= made.ceilings["offhook"].calls <= 300
    text = markdown(made)
    for words in ("half load, searched", "200 calls, TLS", "50 calls, recorded", "churn"):
        assert words in text
    assert "| a search, p50, ms |" in text


async def test_without_search_bridges_are_only_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await report(monkeypatch, BenchPlan(search=False), *OTHERS)
    assert len(made.levels) == 9
    assert made.runs == {}


async def test_without_baselines_there_are_no_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await report(monkeypatch, BenchPlan())
    missing = [bar.what for bar in made.bars if bar.value is None]
    assert len(missing) == 3
    assert any("baselines" in remark for remark in made.remarks)


async def test_a_neighbour_of_the_tutorial_does_not_raise_our_figure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[int] = []

    async def disturbed(bench: Bench, bridge: Bridge | ServeBridge, plan: RunPlan) -> Level:
        """A run in which other programs keep the tutorial from what it can, above 40 calls."""
        found = await level(bench, bridge, plan)
        if bridge.name != "tutorial" or plan.calls <= 40:
            return found
        tried.append(plan.calls)
        slow = Spread(9, 50, 60, 100)
        return msgspec.structs.replace(found, down=slow, others_busy=0.6)

    made = await report(monkeypatch, BenchPlan(), *OTHERS, measure=disturbed)
    assert made.ceilings["tutorial"].disturbed
    assert made.ceilings["tutorial"].at_least
    searched = [calls for calls in tried if calls != 50]
    assert {searched.count(calls) for calls in searched} == {3}, "each is tried again"
    assert made.disturbed
    gain = next(bar for bar in made.bars if bar.what.startswith("calls per core"))
    assert gain.value is not None
    assert gain.value > 2.2
    assert gain.met is None
    assert "| not judged: other programs ended a search |" in markdown(made)


async def test_a_neighbour_that_goes_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()

    async def disturbed(bench: Bench, bridge: Bridge | ServeBridge, plan: RunPlan) -> Level:
        """A run that is disturbed the first time."""
        found = await level(bench, bridge, plan)
        if bridge.name != "tutorial" or plan.calls in {50, *seen}:
            return found
        seen.add(plan.calls)
        return msgspec.structs.replace(found, down=Spread(9, 50, 60, 100), others_busy=0.6)

    made = await report(monkeypatch, BenchPlan(), *OTHERS, measure=disturbed)
    assert 114 <= made.ceilings["tutorial"].calls <= 120
    assert not made.ceilings["tutorial"].at_least
    assert not made.disturbed
