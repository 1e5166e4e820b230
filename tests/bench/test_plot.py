"""The plot: well-formed, with every point where it belongs."""

from xml.etree import ElementTree

import msgspec
from tests.bench.samples import GOOD

from offhook.bench.figures import Level, Spread
from offhook.bench.plot import HEIGHT, WIDTH, plot

SVG = "{http://www.w3.org/2000/svg}"


def at(calls: int, cpu: float, delay: float, bridge: str = "offhook") -> Level:
    spread = Spread(delay / 2, delay, delay, 9)
    return msgspec.structs.replace(
        GOOD, bridge=bridge, calls=calls, cpu_us=cpu, up_last=spread, down=spread
    )


def lines(levels: list[Level]) -> list[list[tuple[float, float]]]:
    root = ElementTree.fromstring(plot(levels))
    return [
        [(float(x), float(y)) for x, _, y in (p.partition(",") for p in line.split())]
        for line in (found.attrib["points"] for found in root.iter(f"{SVG}polyline"))
    ]


def test_two_panels_and_a_line_for_each_bridge() -> None:
    found = lines([at(50, 4000, 0.4), at(100, 3000, 0.5), at(50, 8000, 1, "<seed>")])
    assert [len(line) for line in found] == [2, 2, 1, 1]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for line in found for x, y in line)


def test_more_calls_are_to_the_right_and_more_delay_is_higher() -> None:
    delay, cpu = lines([at(200, 2000, 15), at(50, 4000, 0.4)])
    assert delay[0][0] < delay[1][0]
    assert delay[0][1] > delay[1][1]
    assert cpu[0][1] < cpu[1][1]


def test_of_several_runs_the_middle_one_is_drawn() -> None:
    several = [at(50, cpu, 1) for cpu in (9000.0, 4000.0, 5000.0)]
    middle, dearest = at(50, 5000, 1), at(100, 9000, 1)
    assert lines([*several, dearest])[1][0] == lines([middle, dearest])[1][0]


def test_a_delay_beyond_the_scale_stays_in_the_panel() -> None:
    (delay, _) = lines([at(50, 4000, 100_000)])
    assert 0 <= delay[0][1] <= HEIGHT


def test_nothing_measured() -> None:
    assert lines([]) == []
