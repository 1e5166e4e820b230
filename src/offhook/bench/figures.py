"""Figures from the raw measurements."""

from collections.abc import Sequence
from statistics import median
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from offhook.bench.load.messages import Measured
from offhook.bench.usage import ProcessUsage

LATE_MS: Final = 5.0
BUSY: Final = 0.9
"""Share of a core, beside LATE_MS, above which the load and not the bridge limits a figure."""

OTHERS_BUSY: Final = 0.2
"""Share of a core used by other programs, beside which a delay says little."""

LIMIT_MS: Final = 20.0
"""Milliseconds of added delay, p99 each way, below which a bridge carries its calls."""


class Spread(msgspec.Struct, frozen=True):
    """Percentiles of a number of samples, in ms."""

    p50: float
    p99: float
    max: float
    samples: int


Kind: TypeAlias = Literal["calls", "recorded", "searched", "churn"]
"""Load of a run: lasting calls; lasting calls, recorded; lasting calls beside searches of the
record; short calls that begin all the time."""


class Level(msgspec.Struct, frozen=True):
    """A run: a bridge under a number of calls for some seconds."""

    bridge: str
    kind: Kind
    calls: int
    tls: bool
    seconds: float
    cpu_us: float
    """CPU time of the process that carries calls in µs, user and system, for a second of a call."""
    beside_us: float
    """CPU time of the bridge's other processes in µs, for a second of a call."""
    rest_mb: float | None
    """Memory of the process that carries calls in MB, before any call; None: not known."""
    first_call_mb: float | None
    """Memory in MB that the first calls add, and that stays."""
    rss_kb: float | None
    """Memory in kB for each call, above that after the first calls."""
    start_s: float | None
    """Seconds from the start of a server to its first answered upgrade."""
    call_ms: float | None
    """CPU time in ms of a short call, all of it, in the process that carries calls."""
    searches: Spread | None
    failed_searches: int
    up: Spread | None
    """Added delay, caller to agent; None when nothing came."""
    up_last: Spread | None
    """Added delay, caller to agent, without the time in which a bridge fills its batches."""
    down: Spread | None
    barge_in: Spread | None
    frames_sent: int
    frames_received: int
    lost: int
    disordered: int
    doubled: int
    damaged: int
    uncleared: int
    broken_calls: int
    load_late_p99_ms: float
    load_busy: float
    """Share of a core that the busiest process of the load used."""
    load_slips: int
    """Number of times that the load left frames out, being late by a quarter of a second."""
    others_busy: float
    """Cores that programs used which have no part in the run: what disturbed it."""

    @property
    def bound_by_load(self) -> bool:
        """True if the load could not keep its schedule: figures do not describe the bridge then."""
        late = self.load_late_p99_ms > LATE_MS or self.load_slips > 0
        return late or self.load_busy > BUSY

    @property
    def disturbed(self) -> bool:
        """True if others took a part of the cores, or the load was late with CPU to spare."""
        return self.beside_others or (self.bound_by_load and self.load_busy <= BUSY)

    @property
    def beside_others(self) -> bool:
        """True if other programs used more than OTHERS_BUSY of a core."""
        return self.others_busy > OTHERS_BUSY

    @property
    def clean(self) -> bool:
        """True if every frame came once, in order, and every barge-in was answered."""
        return not (self.lost + self.misplaced + self.uncleared + self.broken_calls)

    @property
    def misplaced(self) -> int:
        """Number of frames out of order, doubled or damaged."""
        return self.disordered + self.doubled + self.damaged

    @property
    def carried(self) -> bool:
        """True if the bridge carried these calls: clean, and in time without its own batches."""
        ways = (self.up_last, self.down)
        return self.clean and all(way is not None and way.p99 < LIMIT_MS for way in ways)

    @property
    def delay_p50(self) -> float | None:
        """Added delay in ms at the median, of the slower way."""
        return None if self.up is None or self.down is None else max(self.up.p50, self.down.p50)

    @property
    def delay_p99(self) -> float | None:
        """Added delay in ms at p99, of the slower way."""
        return None if self.up is None or self.down is None else max(self.up.p99, self.down.p99)


def spread(samples_ns: Sequence[int]) -> Spread | None:
    """Return percentiles by nearest rank; None without samples."""
    if not samples_ns:
        return None
    ranked = sorted(samples_ns)

    def at(share: float) -> float:
        return round(ranked[min(len(ranked) - 1, int(share * len(ranked)))] / 1e6, 3)

    return Spread(at(0.5), at(0.99), at(1), len(ranked))


class RunUsage(NamedTuple):
    """Use by a bridge: before any call, after the first ones, at Begin and at Finish."""

    rest: ProcessUsage
    warm: ProcessUsage
    begun: ProcessUsage
    done: ProcessUsage


class Searched(NamedTuple):
    """The searches of a run: their times in ns, and how many failed."""

    times: Sequence[int] = ()
    failed: int = 0


def _others_ns(used: RunUsage, load_ns: int) -> int:
    """Return the CPU time in ns of programs that are neither bridge nor load."""
    begun, done = used.begun, used.done
    bridge = done.cpu_ns - begun.cpu_ns + done.beside_ns - begun.beside_ns
    return max(0, done.machine_ns - begun.machine_ns - bridge - load_ns)


NO_SEARCHES: Final = Searched()


def level(
    bridge: str,
    kind: Kind,
    calls: int,
    *,
    tls: bool,
    used: RunUsage,
    measured: Sequence[Measured],
    start_s: float | None = None,
    searched: Searched = NO_SEARCHES,
) -> Level:
    """Return a run's figures."""
    begun, done = used.begun, used.done
    elapsed_ns = done.at_ns - begun.at_ns
    cpu_ns = done.cpu_ns - begun.cpu_ns
    late = spread([ns for part in measured for ns in part.late])

    def total(name: str) -> int:
        return sum(getattr(part, name) for part in measured)

    def merged(name: str) -> Spread | None:
        return spread([ns for part in measured for ns in getattr(part, name)])

    def each(cpu: int) -> float:
        return round(cpu / 1e3 / (elapsed_ns / 1e9) / calls, 1)

    ended, known = total("ended_calls"), bool(done.rss)
    return Level(
        bridge=bridge,
        kind=kind,
        calls=calls,
        tls=tls,
        seconds=round(elapsed_ns / 1e9, 2),
        cpu_us=each(cpu_ns),
        beside_us=each(done.beside_ns - begun.beside_ns),
        rest_mb=round(used.rest.rss / 1e6, 1) if known else None,
        first_call_mb=round((used.warm.rss - used.rest.rss) / 1e6, 1) if known else None,
        rss_kb=round((done.rss - used.warm.rss) / 1000 / calls, 1) if known else None,
        start_s=None if start_s is None else round(start_s, 2),
        call_ms=round(cpu_ns / 1e6 / ended, 2) if ended else None,
        searches=spread(searched.times),
        failed_searches=searched.failed,
        up=merged("up"),
        up_last=merged("up_last"),
        down=merged("down"),
        barge_in=merged("barge_in"),
        frames_sent=total("sent_up") + total("sent_down"),
        frames_received=total("received_up") + total("received_down"),
        lost=total("lost"),
        disordered=total("disordered"),
        doubled=total("doubled"),
        damaged=total("damaged"),
        uncleared=total("uncleared"),
        broken_calls=total("broken_calls"),
        load_late_p99_ms=late.p99 if late else 0.0,
        load_busy=round(max(part.cpu_ns / max(part.elapsed_ns, 1) for part in measured), 3),
        load_slips=total("slips"),
        others_busy=round(_others_ns(used, total("cpu_ns")) / elapsed_ns, 2),
    )


def typical(levels: Sequence[Level]) -> Level:
    """Return the run with the median CPU, of several that are otherwise the same."""
    middle = median([one.cpu_us for one in levels])
    return min(levels, key=lambda one: abs(one.cpu_us - middle))
