"""Plot of delay and CPU against calls, as SVG."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from offhook.bench.figures import LIMIT_MS, Level

WIDTH: Final = 880
HEIGHT: Final = 340
_LEFT: Final = 56
_TOP: Final = 40
_PANEL: Final = (330, 230)
_GAP: Final = 104
_COLOURS: Final = ("#d9480f", "#1c7ed6", "#2f9e44", "#9c36b5", "#868e96")
"""Colours of the lines, legible on white and on black."""

_STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#444}.axis{stroke:#999;fill:none}"
    ".grid{stroke:#999;opacity:.3}.limit{stroke:#e03131;stroke-dasharray:4 4}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}}"
)

_DELAY_RANGE: Final = (0.1, 1000.0)

Point = tuple[float, float]


def plot(levels: Sequence[Level]) -> str:
    """Return an SVG of p99 delay (logarithmic) and CPU per call-second, a line for each bridge."""
    stay = [level for level in levels if level.kind == "calls"]
    plain = [level for level in stay if not level.tls] or stay
    names = list(dict.fromkeys(level.bridge for level in plain))
    most = max((level.calls for level in plain), default=1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>Delay and CPU against calls</title>",
        f"<style>{_STYLE}</style>",
    ]
    delays = {name: _delays(plain, name) for name in names}
    costs = {name: _costs(plain, name) for name in names}
    dearest = max((y for line in costs.values() for _, y in line), default=1.0)
    top = _round_up(dearest)
    low, high = _DELAY_RANGE

    def up_log(value: float) -> float:
        return math.log(min(max(value, low), high) / low) / math.log(high / low)

    decades = [0.1, 1.0, 10.0, 100.0, 1000.0]
    parts += _panel(0, "added delay, p99, ms", most, [(up_log(d), f"{d:g}") for d in decades])
    limit = _y(up_log(LIMIT_MS))
    parts.append(f'<line class="limit" x1="{_x(0, 0)}" x2="{_x(0, 1)}" y1="{limit}" y2="{limit}"/>')
    ticks = [(share, f"{top * share:.0f}") for share in (0, 0.25, 0.5, 0.75, 1)]
    parts += _panel(1, "CPU, µs per call-second", most, ticks)
    for index, name in enumerate(names):
        colour = _COLOURS[index % len(_COLOURS)]
        parts += _line(0, [(x / most, up_log(y)) for x, y in delays[name]], colour)
        parts += _line(1, [(x / most, y / top) for x, y in costs[name]], colour)
        x = _LEFT + 200 * index
        parts.append(f'<circle cx="{x}" cy="{HEIGHT - 12}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 10}" y="{HEIGHT - 8}">{escape(name)}</text>')
    parts.append("</svg>\n")
    return "\n".join(parts)


def _delays(levels: Sequence[Level], name: str) -> list[Point]:
    return _by_calls(
        [
            (level.calls, max(level.up_last.p99, level.down.p99))
            for level in levels
            if level.bridge == name and level.up_last is not None and level.down is not None
        ]
    )


def _costs(levels: Sequence[Level], name: str) -> list[Point]:
    return _by_calls([(level.calls, level.cpu_us) for level in levels if level.bridge == name])


def _by_calls(points: Sequence[Point]) -> list[Point]:
    """Return points in order of calls, the middle one where there are several."""
    found: dict[float, list[float]] = {}
    for x, y in points:
        found.setdefault(x, []).append(y)
    return [(x, sorted(found[x])[len(found[x]) // 2]) for x in sorted(found)]


def _round_up(value: float) -> float:
    step = 10.0 ** math.floor(math.log10(max(value, 1)))
    return math.ceil(value / step) * step


def _x(panel: int, share: float) -> float:
    return round(_LEFT + panel * (_PANEL[0] + _GAP) + share * _PANEL[0], 1)


def _y(share: float) -> float:
    return round(_TOP + (1 - share) * _PANEL[1], 1)


def _panel(panel: int, title: str, most: int, ticks: Sequence[tuple[float, str]]) -> list[str]:
    left, right = _x(panel, 0), _x(panel, 1)
    parts = [
        f'<text x="{left}" y="{_TOP - 16}" font-weight="bold">{title}</text>',
        f'<path class="axis" d="M{left} {_y(1)}V{_y(0)}H{right}"/>',
        f'<text x="{right}" y="{_y(0) + 34}" text-anchor="end">calls on one core</text>',
    ]
    for share, label in ticks:
        y = _y(share)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{label}</text>')
    for share in (0, 0.5, 1):
        x = _x(panel, share)
        parts.append(
            f'<text x="{x}" y="{_y(0) + 18}" text-anchor="middle">{round(most * share)}</text>'
        )
    return parts


def _line(panel: int, points: Sequence[Point], colour: str) -> list[str]:
    at = [(_x(panel, x), _y(y)) for x, y in points]
    joined = " ".join(f"{x},{y}" for x, y in at)
    return [
        f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in at),
    ]
