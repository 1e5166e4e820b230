"""One run of a bridge, from its start to its figures."""

import asyncio
from dataclasses import dataclass
from typing import Final

from offhook.bench import figures, record_searches
from offhook.bench.figures import Kind, Level, RunUsage, Searched
from offhook.bench.load.messages import Measured
from offhook.bench.runner import Bench, Bridge, BridgeRun, ServeBridge
from offhook.bench.usage import ProcessUsage

WARM_CALLS: Final = 3
WARM_FRAMES: Final = 10
SETTLE_S: Final = 0.5
"""Seconds in which what the first calls used is let go."""

CHURN_PER_S: Final = 40.0
CHURN_HOLD_S: Final = 3.0
CHURN_CALLS: Final = int(CHURN_PER_S * CHURN_HOLD_S)
"""Calls that are live at a time in a churn."""


@dataclass(frozen=True)
class RunPlan:
    """Plan of a run: number of calls, seconds, and what is measured."""

    calls: int
    seconds: float
    kind: Kind = "calls"
    tls: bool = False


def churn_plan(seconds: float) -> RunPlan:
    """Return the plan of a churn: CHURN_PER_S calls begin each second, each of CHURN_HOLD_S."""
    return RunPlan(CHURN_CALLS, seconds, "churn")


async def level(bench: Bench, bridge: Bridge | ServeBridge, plan: RunPlan) -> Level:
    """Return the figures of a run, in processes of its own."""
    async with bench.running(bridge, capacity=2 * plan.calls + WARM_CALLS, tls=plan.tls) as run:
        rest = run.usage()
        async for _ in run.churn(WARM_CALLS, 1, WARM_FRAMES):
            pass
        await asyncio.sleep(SETTLE_S)
        warm = run.usage()
        if plan.kind == "churn":
            run.arrive(CHURN_PER_S, CHURN_HOLD_S)
            await asyncio.sleep(CHURN_HOLD_S)
        else:
            await run.open(plan.calls)
        await asyncio.sleep(bench.warm_up_s)
        if plan.kind == "searched":
            begun, done, measured, searched = await _searched(run, plan.seconds)
        else:
            begun, done, measured = await run.measure(plan.seconds)
            searched = figures.NO_SEARCHES
    return figures.level(
        bridge.name,
        plan.kind,
        plan.calls,
        tls=plan.tls,
        used=RunUsage(rest, warm, begun, done),
        measured=measured,
        start_s=run.start_s,
        searched=searched,
    )


async def _searched(
    run: BridgeRun, seconds: float
) -> tuple[ProcessUsage, ProcessUsage, list[Measured], Searched]:
    assert run.setup is not None  # only a server has something to search
    searching = record_searches.Searching(run.setup)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(searching.ask_all(), name="searches")
        begun, done, measured = await run.measure(seconds)
        asking.cancel()
    return begun, done, measured, searching.searched
