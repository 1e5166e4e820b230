"""The whole benchmark: its runs in their order."""

import datetime
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from offhook.bench import measuring, usage
from offhook.bench.bars import BARE, TUTORIAL, Bar, Measurements, bars
from offhook.bench.capacity_search import Ceiling, Verdict, ceiling
from offhook.bench.commands import CommandCost
from offhook.bench.figures import OTHERS_BUSY, Level, typical
from offhook.bench.measuring import RunPlan, churn_plan
from offhook.bench.runner import Bench, Bridge, ServeBridge, can_make_certificates

ROUNDS: Final = 3
REPEATS: Final = 2
"""Runs of what is not compared with another bridge."""

SEARCH_FROM: Final = 0.5
"""Start of a search, as a share of the calls that fit on a core at the cost of the first ones."""

ATTEMPTS: Final = 3
"""Runs at a number of calls, in a search, while other programs take a part of the cores."""

CHURN_SECONDS: Final = 2
"""A churn is measured so many times as long as calls that stay."""


class BenchPlan(msgspec.Struct, frozen=True):
    """Options of a benchmark. Without `search` bridges are only compared at `calls`."""

    calls: int = 50
    many: int = 200
    seconds: float = 5.0
    search: bool = True
    tls: bool = False


class BenchMachine(msgspec.Struct, frozen=True):
    """The machine and the date (UTC) of a benchmark."""

    date: str
    system: str
    processor: str
    cores: int
    python: str
    offhook: str
    load_average: float
    """Processes that were running or waiting before the benchmark, over a minute; 0: not known."""


class BenchReport(msgspec.Struct, frozen=True):
    """The results of a benchmark."""

    machine: BenchMachine
    plan: BenchPlan
    levels: list[Level]
    """Every run, in order."""
    at_start: list[Level]
    """The typical run of each bridge at `plan.calls`."""
    runs: dict[str, Level]
    """The typical other runs of Offhook, by what they are."""
    ceilings: dict[str, Ceiling]
    bars: list[Bar]
    remarks: list[str]

    @property
    def disturbed(self) -> bool:
        """True if other programs took part in what a page would quote of it."""
        searched = any(found.disturbed for found in self.ceilings.values())
        return searched or any(level.beside_others for level in self.at_start)


class Suite:
    """The runs of a benchmark. `on_level` is called after each."""

    def __init__(
        self,
        bench: Bench,
        config: Path | None,
        others: Sequence[Bridge],
        plan: BenchPlan,
        on_level: Callable[[Level], None],
    ) -> None:
        self._bench = bench
        self._ours = ServeBridge(config)
        self._others = others
        self._plan = plan
        self._on_level = on_level
        self._levels: list[Level] = []
        self._runs = Measurements()

    async def run(self, costs: list[CommandCost], database: Path | None) -> BenchReport:
        """Return the results. `database` has the calls that are searched; None: none are."""
        plan, runs, ours = self._plan, self._runs, self._ours
        machine_before = machine()
        runs.commands = costs
        runs.few = [
            {one.name: await self._level(one, self._calls(plan.calls)) for one in self._bridges}
            for _ in range(ROUNDS)
        ]
        if plan.search:
            await self._beside_others()
            await self._alone(ours, database)
        return BenchReport(
            machine=machine_before,
            plan=plan,
            levels=self._levels,
            at_start=[typical([r[one.name] for r in runs.few]) for one in self._bridges],
            runs=self._typical_runs(),
            ceilings=runs.ceilings,
            bars=bars(runs, plan.calls, plan.many),
            remarks=self._remarks(),
        )

    @property
    def _bridges(self) -> list[Bridge | ServeBridge]:
        return [self._ours, *self._others]

    def _calls(self, calls: int) -> RunPlan:
        return RunPlan(calls, self._plan.seconds, tls=self._plan.tls)

    async def _level(self, bridge: Bridge | ServeBridge, plan: RunPlan) -> Level:
        level = await measuring.level(self._bench, bridge, plan)
        self._levels.append(level)
        self._on_level(level)
        return level

    async def _beside_others(self) -> None:
        """Compare with bare forwarding at many calls, and with the tutorial at the most."""
        runs, plan = self._runs, self._plan
        compared = [one for one in self._bridges if one is self._ours or one.name == BARE]
        runs.many = [
            {one.name: await self._level(one, self._calls(plan.many)) for one in compared}
            for _ in range(REPEATS)
        ]
        for bridge in self._bridges:
            if bridge is self._ours or bridge.name == TUTORIAL:
                cost = typical([r[bridge.name] for r in runs.few]).cpu_us
                runs.ceilings[bridge.name] = await self._ceiling(bridge, cost)

    async def _alone(self, ours: ServeBridge, database: Path | None) -> None:
        """Measure Offhook at half load, searched, in a churn, recorded and with TLS."""
        runs, plan = self._runs, self._plan
        half = runs.ceilings[ours.name].calls // 2
        if half:
            runs.half = [await self._level(ours, self._calls(half)) for _ in range(REPEATS)]
        if half and database is not None:
            searched = ServeBridge(ours.config, database=database)
            search_plan = RunPlan(half, plan.seconds, "searched", plan.tls)
            runs.searched = [await self._level(searched, search_plan) for _ in range(REPEATS)]
        churn = churn_plan(CHURN_SECONDS * plan.seconds)
        runs.churn = [await self._level(ours, churn) for _ in range(REPEATS)]
        runs.steady = [await self._level(ours, self._calls(churn.calls))]
        if ours.config is None:
            recorded = ServeBridge(recorded=True)
            recorded_plan = RunPlan(plan.calls, plan.seconds, "recorded", plan.tls)
            runs.recorded = [await self._level(recorded, recorded_plan)]
        if not plan.tls and can_make_certificates():
            runs.secured = [await self._level(ours, RunPlan(plan.many, plan.seconds, tls=True))]

    async def _ceiling(self, bridge: Bridge | ServeBridge, cpu_us: float) -> Ceiling:
        async def attempt(calls: int) -> Verdict:
            verdict = Verdict.FAILED
            for _ in range(ATTEMPTS):
                tried = await self._level(bridge, self._calls(calls))
                if tried.carried:
                    return Verdict.CARRIED
                verdict = _why_not(tried)
                if not tried.disturbed:
                    break
            return verdict

        return await ceiling(attempt, int(SEARCH_FROM * 1e6 / max(cpu_us, 1)))

    def _typical_runs(self) -> dict[str, Level]:
        plan, runs = self._plan, self._runs
        named = {
            f"{plan.many} calls": [r[self._ours.name] for r in runs.many],
            f"{plan.many} calls, TLS": runs.secured,
            f"{plan.calls} calls, recorded": runs.recorded,
            "half load": runs.half,
            "half load, searched": runs.searched,
            "churn": runs.churn,
        }
        return {name: typical(levels) for name, levels in named.items() if levels}

    def _remarks(self) -> list[str]:
        remarks, levels = [], self._levels
        if not usage.PINS:
            remarks.append(
                "This system pins no process to a core: the bridge moved between cores, and figures"
                " per core are rough."
            )
        elif self._bench.cores.shared:
            remarks.append("There is one core: the load took its share of it from the bridge.")
        if not self._others:
            remarks.append("No baselines: ratios need the folder bench/baselines of a checkout.")
        if self._plan.search and not self._plan.tls and not can_make_certificates():
            remarks.append("TLS was not measured: trustme, which makes certificates, is missing.")
        if self._plan.search and self._ours.config is not None:
            remarks.append("Recorded calls are only measured without --config.")
        disturbed = sum(level.beside_others for level in levels)
        if disturbed:
            remarks.append(
                f"In {disturbed} of {len(levels)} runs other programs used more than"
                f" {OTHERS_BUSY:.0%} of a core: repeat the benchmark on a quiet machine."
            )
        bound = sum(level.bound_by_load for level in levels)
        if bound:
            remarks.append(
                f"In {bound} of {len(levels)} runs the load itself was late or had no time left:"
                " their delays are the load's as much as the bridge's."
            )
        return remarks


def _why_not(tried: Level) -> Verdict:
    """Return what kept a run from carrying its calls."""
    if tried.beside_others:
        return Verdict.DISTURBED
    return Verdict.BOUND_BY_LOAD if tried.bound_by_load else Verdict.FAILED


def expected(plan: BenchPlan, others: int) -> int:
    """Return the expected number of runs, for a progress bar."""
    count = ROUNDS * (1 + others)
    return count if not plan.search else count + 2 * REPEATS + 4 * REPEATS + 2 + 7 * min(others, 2)


def machine() -> BenchMachine:
    """Describe the machine that runs this."""
    from offhook import __version__

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return BenchMachine(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        system=f"{platform.system()} {platform.release()}",
        processor=names[0] if names else platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        python=sys.version.split()[0],
        offhook=__version__,
        load_average=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else 0.0,
    )
