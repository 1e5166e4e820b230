"""Reports of the figures for people, in a terminal and in docs/performance.md."""

from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from offhook.bench.bars import TUTORIAL, Bar
from offhook.bench.capacity_search import Ceiling
from offhook.bench.figures import Level, Spread
from offhook.bench.runner import OFFHOOK
from offhook.bench.suite import BenchReport
from offhook.errors import UserError
from offhook.observability.console_output import WARNING

BEGIN: Final = "<!-- measured by make bench: begin -->"
END: Final = "<!-- measured by make bench: end -->"


def show(report: BenchReport, console: Console) -> None:
    """Print the report."""
    console.print(_heading(report))
    for header, rows in _tables(report):
        table = Table(pad_edge=False, box=None, header_style="bold")
        for index, name in enumerate(header):
            table.add_column(name, justify="right" if index else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print()
    for remark in report.remarks:
        console.print(f"[{WARNING}]{remark}[/]")


def markdown(report: BenchReport) -> str:
    """Return the report as Markdown, for a page."""
    parts = [_heading(report)]
    for header, rows in _tables(report):
        lines = [header, ["---"] * len(header), *rows]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    parts += report.remarks
    return "\n" + "\n\n".join(parts) + "\n"


def sentence(report: BenchReport) -> str:
    """Return what a benchmark comes to, in words, for a page that quotes it."""
    costs = {level.bridge: level.cpu_us for level in report.at_start}
    beside = {level.bridge: level.beside_us for level in report.at_start}
    calls = report.plan.calls
    parts = []
    if (most := report.ceilings.get(OFFHOOK)) is not None:
        parts.append(f"one core carries {_most(most)} calls, their record kept")
        if (other := report.ceilings.get(TUTORIAL)) is not None:
            parts.append(f"the tutorial's design {_most(other)}")
    if TUTORIAL in costs:
        share = costs[OFFHOOK] / costs[TUTORIAL]
        parts.append(f"at {calls} calls it takes {share:.0%} of the tutorial's CPU")
    if beside.get(OFFHOOK):
        other_core = calls * beside[OFFHOOK] / 1e6
        parts.append(
            f"at {calls} calls the operator process takes {other_core:.1%} of another core"
        )
    return "; ".join(parts)


def rewrite(page: str, text: str, *, begin: str = BEGIN, end: str = END) -> str:
    """Return a page with this text instead of that between its two markers.

    Raises UserError E-BENCH-04 when it has no such place.
    """
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise UserError(
            "E-BENCH-04",
            "The page has no place for the figures.",
            f"Put these two lines where they belong: {begin} {end}",
        )
    indent = before.rpartition("\n")[2]
    return f"{before}{begin}\n{text}\n{indent}{end}{after}"


def _heading(report: BenchReport) -> str:
    where = report.machine
    return (
        f"{where.date}, Offhook {where.offhook}, {where.processor}, {where.cores} cores,"
        f" {where.system}, Python {where.python}; load average before: {where.load_average:g}"
        f"{'; TLS to the agent' if report.plan.tls else ''}."
    )


def _tables(report: BenchReport) -> list[tuple[list[str], list[list[str]]]]:
    levels = report.at_start
    most = ["calls per core", *(_most(report.ceilings.get(one.bridge)) for one in levels)]
    bars = [bar_cells(bar) for bar in report.bars]
    tables = [
        (["", "measured", "bar", "stretch", ""], bars),
        (
            [f"at {report.plan.calls} calls", *(one.bridge for one in levels)],
            [most, *_rows(levels)],
        ),
    ]
    if report.runs:
        tables.append((["Offhook", *report.runs], _rows(list(report.runs.values()))))
    return [(header, rows) for header, rows in tables if rows]


def _rows(levels: Sequence[Level]) -> list[list[str]]:
    """Return the rows in which at least one level has something to tell."""
    rows = [(what, [take(one) for one in levels]) for what, take in _ROWS]
    return [
        [what, *map(_number, values)]
        for what, values in rows
        if any(value is not None for value in values)
    ]


def _part(spread: Spread | None, share: str) -> float | None:
    return None if spread is None else getattr(spread, share)


_ROWS: Final[Sequence[tuple[str, Callable[[Level], float | None]]]] = (
    ("calls", lambda level: level.calls),
    ("CPU of the call process, µs per call-second", lambda level: level.cpu_us),
    ("CPU beside it, µs per call-second", lambda level: level.beside_us or None),
    ("CPU of a whole call, ms", lambda level: level.call_ms),
    ("memory at rest, MB", lambda level: level.rest_mb),
    ("memory that first calls add, MB", lambda level: level.first_call_mb),
    ("memory per call, kB", lambda level: level.rss_kb),
    ("start to the first answered upgrade, s", lambda level: level.start_s),
    ("added delay caller → agent, p50, ms", lambda level: _part(level.up, "p50")),
    ("p99", lambda level: _part(level.up, "p99")),
    ("p99 without its own batches", lambda level: _part(level.up_last, "p99")),
    ("added delay agent → caller, p50, ms", lambda level: _part(level.down, "p50")),
    ("p99", lambda level: _part(level.down, "p99")),
    ("UserStartedSpeaking to clear, p50, ms", lambda level: _part(level.barge_in, "p50")),
    ("p99", lambda level: _part(level.barge_in, "p99")),
    ("a search, p50, ms", lambda level: _part(level.searches, "p50")),
    ("p99", lambda level: _part(level.searches, "p99")),
    ("frames checked", lambda level: level.frames_received),
    ("lost, out of order, doubled or damaged", lambda level: level.lost + level.misplaced),
    ("the load's own lateness, p99, ms", lambda level: level.load_late_p99_ms),
    ("share of its core", lambda level: level.load_busy),
    ("cores that other programs used", lambda level: level.others_busy),
)


def _most(most: Ceiling | None) -> str:
    if most is None:
        return "-"
    return f"at least {most.calls}" if most.at_least else str(most.calls)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def bar_cells(bar: Bar) -> list[str]:
    """Return the cells of a bar's row: what, measured, bar, stretch, verdict."""
    sign, bound = ("≤", bar.most) if bar.most is not None else ("≥", bar.least)
    stretch = "" if bar.stretch is None else f"{sign} {bar.stretch:g}"
    verdict = f"{_verdict(bar)}; {bar.note}" if bar.note else _verdict(bar)
    return [bar.what, _number(bar.value), f"{sign} {bound:g}", stretch, verdict]


def _verdict(bar: Bar) -> str:
    if bar.met is None:
        return f"not judged: {bar.unjudged}" if bar.unjudged else "not measured"
    return "stretch met" if bar.stretch_met else "met" if bar.met else "not met"
