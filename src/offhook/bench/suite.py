"""The whole benchmark: its runs in their order, and the bars that they must meet."""

import datetime
import os
import platform
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from offhook.bench.figures import Level, typical
from offhook.bench.runner import Bench, Bridge, can_make_certificates
from offhook.bench.search import Ceiling, Verdict, ceiling

SEED: Final = "seed_websockets"
BARE: Final = "bare_picows"
"""Names of the baselines that the bars compare with, if they are there."""

ROUNDS: Final = 3
SEARCH_FROM: Final = 0.5
"""Start of a search, as a share of the calls that fit on a core at the cost of the first ones."""


class BenchPlan(msgspec.Struct, frozen=True):
    """Options of a benchmark. `short` takes a few minutes, as `make bench` does."""

    calls: int = 50
    seconds: float = 5.0
    search: bool = True
    tls: bool = False
    short: bool = False


class BenchMachine(msgspec.Struct, frozen=True):
    """The machine and the date (UTC) of a benchmark."""

    date: str
    system: str
    processor: str
    cores: int
    python: str
    offhook: str


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A figure, and its target in issue 3. `value` is None if it was not measured in this run."""

    what: str
    value: float | None
    most: float | None = None
    least: float | None = None
    stretch: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """True if the bar is met; None when there is no value."""
        if self.value is None:
            return None
        return (self.most is None or self.value <= self.most) and (
            self.least is None or self.value >= self.least
        )


class BenchReport(msgspec.Struct, frozen=True):
    """The results of a benchmark."""

    machine: BenchMachine
    plan: BenchPlan
    levels: list[Level]
    """Every run, in order."""
    at_start: list[Level]
    """The typical run of each bridge at `plan.calls`."""
    ceilings: dict[str, Ceiling]
    bars: list[Bar]
    remarks: list[str]


async def benchmark(
    bench: Bench,
    ours: Bridge,
    others: Sequence[Bridge],
    plan: BenchPlan,
    on_level: Callable[[Level], None],
) -> BenchReport:
    """Run the benchmark. `on_level` is called after every run."""
    levels: list[Level] = []

    async def run(bridge: Bridge, calls: int, *, tls: bool = plan.tls) -> Level:
        level = await bench.level(bridge, calls, plan.seconds, tls=tls)
        levels.append(level)
        on_level(level)
        return level

    rounds = [
        {bridge.name: await run(bridge, plan.calls) for bridge in (ours, *others)}
        for _ in range(ROUNDS)
    ]
    at_start = [typical([r[b.name] for r in rounds]) for b in (ours, *others)]

    ceilings: dict[str, Ceiling] = {}
    one: list[Level] = []
    half: list[Level] = []
    secured: list[Level] = []
    repeats = 1 if plan.short else ROUNDS
    if plan.search:
        one = [await run(ours, 1) for _ in range(repeats)]
        for bridge, level in zip((ours, *others), at_start, strict=True):
            if bridge is ours or bridge.name == SEED or not plan.short:
                ceilings[bridge.name] = await _ceiling(run, bridge, level)
        if ceilings[ours.name].calls > 1:
            half = [await run(ours, ceilings[ours.name].calls // 2) for _ in range(repeats)]
        if not plan.tls and can_make_certificates():
            secured = [await run(ours, plan.calls, tls=True) for _ in range(repeats)]

    return BenchReport(
        machine=machine(),
        plan=plan,
        levels=levels,
        at_start=at_start,
        ceilings=ceilings,
        bars=_bars(plan, rounds, one, half, secured, ceilings, ours.name),
        remarks=_remarks(bench, plan, levels, others),
    )


def runs(plan: BenchPlan, others: int) -> int:
    """Return the expected number of runs, for a progress bar."""
    count = ROUNDS * (1 + others)
    if plan.search:
        searched = min(others, 1) if plan.short else others
        count += 3 * (1 if plan.short else ROUNDS) + 7 * (1 + searched)
    return count


async def _ceiling(
    run: Callable[[Bridge, int], Awaitable[Level]], bridge: Bridge, level: Level
) -> Ceiling:
    async def attempt(calls: int) -> Verdict:
        tried = await run(bridge, calls)
        if tried.disturbed:
            tried = await run(bridge, calls)
        if tried.carried:
            return Verdict.CARRIED
        return Verdict.BOUND_BY_LOAD if tried.bound_by_load else Verdict.FAILED

    return await ceiling(attempt, int(SEARCH_FROM * 1e6 / max(level.cpu_us, 1)))


def _bars(
    plan: BenchPlan,
    rounds: Sequence[dict[str, Level]],
    one: Sequence[Level],
    half: Sequence[Level],
    secured: Sequence[Level],
    ceilings: dict[str, Ceiling],
    ours: str,
) -> list[Bar]:
    def ratio(above: str, below: str) -> float | None:
        pairs = [(r[above], r[below]) for r in rounds if above in r and below in r]
        return median(a.cpu_us / b.cpu_us for a, b in pairs) if pairs else None

    def middle(levels: Sequence[Level], take: Callable[[Level], float | None]) -> float | None:
        values = [value for one in levels if (value := take(one)) is not None]
        return median(values) if values else None

    def worse(level: Level, share: str) -> float | None:
        ways = [way for way in (level.up, level.down) if way is not None]
        return max(getattr(way, share) for way in ways) if len(ways) == 2 else None

    gain, note = None, ""
    if ours in ceilings and SEED in ceilings and ceilings[SEED].calls:
        gain = ceilings[ours].calls / ceilings[SEED].calls
        note = "at least: the load ended the search" if ceilings[ours].at_least else ""
    n, load = plan.calls, f"{half[0].calls} calls" if half else "half load"
    at_start = [r[ours] for r in rounds]
    tls_start = at_start if plan.tls else secured
    plain_start = [] if plan.tls else at_start
    return [
        Bar(
            what=f"CPU at {n} calls: the tutorial's design ÷ Offhook",
            value=ratio(SEED, ours),
            least=1.4,
            stretch=1.8,
        ),
        Bar(what=f"CPU at {n} calls: Offhook ÷ bare forwarding", value=ratio(ours, BARE), most=1.3),
        Bar(
            what="calls per core: Offhook ÷ the tutorial's design",
            value=gain,
            least=3,
            stretch=4,
            note=note,
        ),
        Bar(
            what=f"added delay, p99 at half load ({load}), ms",
            value=middle(half, lambda level: worse(level, "p99")),
            most=2,
            stretch=1,
        ),
        Bar(
            what="added delay, p50 of one call, ms",
            value=middle(one, lambda level: worse(level, "p50")),
            most=0.5,
            stretch=0.2,
        ),
        Bar(
            what=f"UserStartedSpeaking to clear, p99 at half load ({load}), ms",
            value=middle(half, lambda level: level.barge_in.p99 if level.barge_in else None),
            most=5,
            stretch=2,
        ),
        Bar(
            what="memory per call, kB",
            value=middle(plain_start, lambda level: level.rss_kb),
            most=40,
            stretch=25,
        ),
        Bar(
            what="memory per call, TLS to the agent, kB",
            value=middle(tls_start, lambda level: level.rss_kb),
            most=150,
            stretch=120,
        ),
    ]


def _remarks(
    bench: Bench, plan: BenchPlan, levels: Sequence[Level], others: Sequence[Bridge]
) -> list[str]:
    remarks = []
    if not bench.cores.pins:
        remarks.append(
            "This system pins no process to a core: the bridge moved between cores, and figures"
            " per core are rough. Memory per call is measured on Linux only."
        )
    elif bench.cores.shared:
        remarks.append("There is one core: the load took its share of it from the bridge.")
    if not others:
        remarks.append("No baselines: ratios need the folder bench/baselines of a checkout.")
    if not plan.tls and not can_make_certificates():
        remarks.append("TLS was not measured: trustme, which makes certificates, is missing.")
    bound = sum(level.bound_by_load for level in levels)
    if bound:
        remarks.append(
            f"In {bound} of {len(levels)} runs the load itself was late or had no time left:"
            " their delays are the load's as much as the bridge's."
        )
    return remarks


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
    )
