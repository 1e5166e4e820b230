"""Figures from the raw measurements."""

from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec

from offhook.bench.child import Usage
from offhook.bench.load import Measured

LATE_MS: Final = 5.0
BUSY: Final = 0.9
"""Share of a core, beside LATE_MS, above which the load and not the bridge limits a figure."""

LIMIT_MS: Final = 20.0
"""Milliseconds of added delay, p99 each way, below which a bridge carries its calls."""


class Spread(msgspec.Struct, frozen=True):
    """Percentiles of a number of samples, in ms."""

    p50: float
    p99: float
    max: float
    samples: int


class Level(msgspec.Struct, frozen=True):
    """A run: a bridge under a number of calls for some seconds."""

    bridge: str
    calls: int
    tls: bool
    seconds: float
    cpu_us: float
    """CPU time of the bridge in µs, user and system, for each second of a call."""
    rss_kb: float | None
    """Memory of the bridge in kB for each call, above that before the first; None: not known."""
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

    @property
    def bound_by_load(self) -> bool:
        """True if the load could not keep its schedule: figures do not describe the bridge then."""
        return self.load_late_p99_ms > LATE_MS or self.load_busy > BUSY

    @property
    def disturbed(self) -> bool:
        """True if the load was late with CPU to spare: another program ran on its core."""
        return self.load_late_p99_ms > LATE_MS and self.load_busy <= BUSY

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


def spread(samples_ns: Sequence[int]) -> Spread | None:
    """Return percentiles by nearest rank; None without samples."""
    if not samples_ns:
        return None
    ranked = sorted(samples_ns)

    def at(share: float) -> float:
        return round(ranked[min(len(ranked) - 1, int(share * len(ranked)))] / 1e6, 3)

    return Spread(at(0.5), at(0.99), at(1), len(ranked))


def level(
    bridge: str,
    calls: int,
    *,
    tls: bool,
    usage: tuple[Usage, Usage, Usage],
    measured: Sequence[Measured],
) -> Level:
    """Return a run's figures. `usage` is the bridge's before the calls, at Begin and at Finish."""
    before, begun, done = usage
    elapsed_ns = done.at_ns - begun.at_ns
    late = spread([ns for part in measured for ns in part.late])

    def total(name: str) -> int:
        return sum(getattr(part, name) for part in measured)

    def merged(name: str) -> Spread | None:
        return spread([ns for part in measured for ns in getattr(part, name)])

    return Level(
        bridge=bridge,
        calls=calls,
        tls=tls,
        seconds=round(elapsed_ns / 1e9, 2),
        cpu_us=round((done.cpu_ns - begun.cpu_ns) / 1e3 / (elapsed_ns / 1e9) / calls, 1),
        rss_kb=round((done.rss - before.rss) / 1000 / calls, 1) if done.rss else None,
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
    )


def typical(levels: Sequence[Level]) -> Level:
    """Return the run with the median CPU, of several that are otherwise the same."""
    middle = median([one.cpu_us for one in levels])
    return min(levels, key=lambda one: abs(one.cpu_us - middle))
