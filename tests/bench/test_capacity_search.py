"""The search for the most calls, on bridges that are functions."""

import pytest

from offhook.bench.capacity_search import MOST, Verdict, ceiling


class Bridge:
    """Carries `most` calls; the load keeps up with `load`."""

    def __init__(self, most: int, load: int = 10 * MOST) -> None:
        self.most = most
        self.load = load
        self.tried: list[int] = []

    async def attempt(self, calls: int) -> Verdict:
        self.tried.append(calls)
        if calls <= min(self.most, self.load):
            return Verdict.CARRIED
        return Verdict.FAILED if calls > self.most else Verdict.BOUND_BY_LOAD


@pytest.mark.parametrize("most", [1, 2, 7, 50, 131, 600, 1999])
@pytest.mark.parametrize("start", [1, 60, 900])
async def test_the_most_is_found_to_five_percent(most: int, start: int) -> None:
    bridge = Bridge(most)
    found = await ceiling(bridge.attempt, start)
    assert most - max(1, 0.05 * most) <= found.calls <= most
    assert not found.at_least
    assert len(bridge.tried) == len(set(bridge.tried)) <= 25


async def test_a_load_that_gives_up_first_bounds_the_figure() -> None:
    found = await ceiling(Bridge(800, load=400).attempt, 100)
    assert 380 <= found.calls <= 400
    assert found.at_least


async def test_a_bridge_that_gives_up_first_does_not() -> None:
    found = await ceiling(Bridge(390, load=400).attempt, 300)
    assert 370 <= found.calls <= 390
    assert not found.at_least


async def test_nothing_at_all() -> None:
    assert (await ceiling(Bridge(0).attempt, 40)).calls == 0


async def test_it_ends_at_the_most_that_is_tried() -> None:
    bridge = Bridge(10 * MOST)
    found = await ceiling(bridge.attempt, 500)
    assert (found.calls, found.at_least) == (MOST, True)
    assert max(bridge.tried) == MOST
