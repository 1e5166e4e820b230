"""The bars that Offhook must meet, and their values in a benchmark."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final

import msgspec

from offhook.bench.capacity_search import Ceiling
from offhook.bench.commands import CommandCost
from offhook.bench.figures import Level
from offhook.bench.measuring import CHURN_HOLD_S, CHURN_PER_S
from offhook.bench.runner import OFFHOOK

TUTORIAL: Final = "tutorial"
BARE: Final = "bare_picows"
"""Names of the baselines that the bars compare with, if they are there."""

GAIN_MIN: Final = 2.2
"""Calls per core, as a multiple of the tutorial's."""

Round = Mapping[str, Level]
"""A run of each bridge, one after another."""


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A figure, and its target. `value` is None if it was not measured in this run.

    `unjudged` says why a figure that was measured is neither met nor missed.
    """

    what: str
    value: float | None
    most: float | None = None
    least: float | None = None
    stretch: float | None = None
    note: str = ""
    unjudged: str = ""

    @property
    def met(self) -> bool | None:
        """True if the bar is met; None when there is no value, or one that is not judged."""
        return self._meets(self.most, self.least)

    @property
    def stretch_met(self) -> bool | None:
        """True if the stretch is met too; None when there is no value or no stretch."""
        if self.stretch is None:
            return None
        if self.most is None:
            return self._meets(None, self.stretch)
        return self._meets(self.stretch, None)

    def _meets(self, most: float | None, least: float | None) -> bool | None:
        if self.value is None or self.unjudged:
            return None
        return (most is None or self.value <= most) and (least is None or self.value >= least)


class Measurements(msgspec.Struct):
    """The runs of a benchmark, by what they are for."""

    few: list[Round] = []
    """Rounds of every bridge at the plan's number of calls."""
    many: list[Round] = []
    """Rounds of Offhook and bare forwarding at the plan's larger number."""
    recorded: list[Level] = []
    secured: list[Level] = []
    half: list[Level] = []
    searched: list[Level] = []
    churn: list[Level] = []
    steady: list[Level] = []
    """Levels with as many lasting calls as a churn has at a time."""
    ceilings: dict[str, Ceiling] = {}
    commands: list[CommandCost] = []

    @property
    def ours(self) -> list[Level]:
        """Every run of Offhook without TLS and recordings."""
        rounds = [r[OFFHOOK] for r in (*self.few, *self.many)]
        return [*rounds, *self.half, *self.searched, *self.steady]


def bars(runs: Measurements, calls: int, many: int) -> list[Bar]:
    """Return every bar with its value."""
    return [*_costs(runs, calls, many), *_delays(runs), *_churn(runs), *_memory(runs, many)]


def _costs(runs: Measurements, calls: int, many: int) -> list[Bar]:
    both = [(r[OFFHOOK].cpu_us + r[OFFHOOK].beside_us) / r[OFFHOOK].cpu_us for r in runs.few]
    ours, tutorial = (runs.ceilings.get(name) for name in (OFFHOOK, TUTORIAL))
    gain, notes, unjudged = None, [], ""
    if ours is not None and tutorial is not None and tutorial.calls:
        gain = ours.calls / tutorial.calls
        if ours.disturbed or tutorial.disturbed:
            unjudged = "other programs ended a search"
        # Ours may be more than was found, and the tutorial's too: the ratio is a bound then.
        elif tutorial.at_least and gain >= GAIN_MIN:
            unjudged = "the tutorial's is at least: the load ended its search"
        elif ours.at_least and gain < GAIN_MIN:
            unjudged = "Offhook's is at least: the load ended its search"
        else:
            notes += ["Offhook's is at least: the load ended its search"] * ours.at_least
            notes += ["the tutorial's is at least: the load ended its search"] * tutorial.at_least
    return [
        Bar(
            what=f"CPU at {calls} calls: the tutorial ÷ the call process",
            value=_ratio(runs.few, TUTORIAL, OFFHOOK),
            least=2.0,
            stretch=2.4,
        ),
        Bar(
            what=f"CPU at {many} calls: the call process ÷ bare forwarding",
            value=_ratio(runs.many, OFFHOOK, BARE),
            most=1.4,
            stretch=1.25,
        ),
        Bar(
            what=f"CPU at {calls} calls: both processes ÷ the call process",
            value=median(both) if both else None,
            most=1.2,
            stretch=1.1,
        ),
        Bar(
            what="calls per core: Offhook ÷ the tutorial",
            value=gain,
            least=GAIN_MIN,
            stretch=2.6,
            note="; ".join(notes),
            unjudged=unjudged,
        ),
    ]


def _delays(runs: Measurements) -> list[Bar]:
    load = f"half load ({runs.half[0].calls} calls)" if runs.half else "half load"
    while_searched = "the same, 10 searches a second over 100,000 calls"
    failed = sum(level.failed_searches for level in runs.searched)
    notes = [f"{failed} searches failed"] if failed else []
    while_searching = "; ".join([*notes, *_caveats(runs.searched)])
    at_half = "; ".join(_caveats(runs.half))
    return [
        Bar(
            what=f"added delay, p99 at {load}, ms",
            value=_middle(runs.half, lambda level: level.delay_p99),
            most=1.0,
            stretch=0.5,
            note=at_half,
        ),
        Bar(
            what=f"UserStartedSpeaking to clear, p99 at {load}, ms",
            value=_middle(runs.half, _clear),
            most=1.0,
            stretch=0.6,
        ),
        Bar(
            what=f"{while_searched}: added delay, p99, ms",
            value=_middle(runs.searched, lambda level: level.delay_p99),
            most=2.0,
            note=while_searching,
        ),
        Bar(
            what=f"{while_searched}: clear, p99, ms",
            value=_middle(runs.searched, _clear),
            most=2.0,
        ),
    ]


def _caveats(levels: Sequence[Level]) -> list[str]:
    """Return what delayed the frames of these runs, besides the bridge."""
    notes = []
    late = _middle(levels, lambda level: level.load_late_p99_ms)
    if late is not None and any(level.bound_by_load for level in levels):
        notes.append(f"the load itself was {late:.1f} ms late (p99)")
    if any(level.beside_others for level in levels):
        most = max(level.others_busy for level in levels)
        notes.append(f"other programs used up to {most:.1f} cores")
    return notes


def _churn(runs: Measurements) -> list[Bar]:
    what = f"{CHURN_PER_S:g} calls begun a second, each of {CHURN_HOLD_S:g} s"
    steady = _middle(runs.steady, lambda level: level.cpu_us)
    whole = _middle(runs.churn, lambda level: level.call_ms)
    note = ""
    if steady is not None and whole is not None:
        frames = CHURN_HOLD_S * steady / 1000
        note = f"{frames:.1f} of it for its frames, {whole - frames:.1f} for its beginning and end"
    return [
        Bar(
            what=f"{what}: added delay, p99 of all frames, ms",
            value=_middle(runs.churn, lambda level: level.delay_p99),
            most=10,
            stretch=5,
        ),
        Bar(what=f"{what}: CPU of a call, ms", value=whole, most=8, stretch=5, note=note),
    ]


def _memory(runs: Measurements, many: int) -> list[Bar]:
    costs = {cost.command: cost.cpu_s for cost in runs.commands}
    at_many = [r[OFFHOOK] for r in runs.many]
    return [
        Bar(
            what="memory of the call process at rest, after first calls, MB",
            value=_middle(runs.ours, _at_rest),
            most=60,
        ),
        Bar(
            what=f"memory per call, {many} calls, kB",
            value=_middle(at_many, lambda level: level.rss_kb),
            most=45,
            stretch=30,
        ),
        Bar(
            what=f"memory per call, {many} calls, TLS to the agent, kB",
            value=_middle(runs.secured, lambda level: level.rss_kb),
            most=105,
        ),
        Bar(
            what="start to the first answered upgrade, s",
            value=_middle(runs.ours, lambda level: level.start_s),
            most=1.5,
            stretch=1.0,
        ),
        *(
            Bar(what=f"offhook {name}, CPU seconds", value=costs.get(name), most=most)
            for name, most in (("--help", 0.3), ("check", 0.6), ("calls list", 0.8))
        ),
    ]


def _ratio(rounds: Sequence[Round], above: str, below: str) -> float | None:
    pairs = [(r[above], r[below]) for r in rounds if above in r and below in r]
    return median(a.cpu_us / b.cpu_us for a, b in pairs) if pairs else None


def _middle(levels: Sequence[Level], take: Callable[[Level], float | None]) -> float | None:
    values = [value for one in levels if (value := take(one)) is not None]
    return median(values) if values else None


def _clear(level: Level) -> float | None:
    return None if level.barge_in is None else level.barge_in.p99


def _at_rest(level: Level) -> float | None:
    if level.rest_mb is None or level.first_call_mb is None:
        return None
    return level.rest_mb + level.first_call_mb
