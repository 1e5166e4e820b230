"""Bridges and load as processes: small runs, and only facts that no noise can bend."""

import os
import sys
from pathlib import Path

import pytest

from offhook.bench.load import Spec
from offhook.bench.runner import Bench, Bridge, Cores, baselines, offhook
from offhook.errors import UserError

BASELINES = Path(__file__).parents[2] / "bench" / "baselines"
NAMES = {"bare_picows", "seed_websockets", "websockets_20ms"}
CALLS = 5


@pytest.fixture
def bench() -> Bench:
    return Bench(Cores(), os.environ, warm_up_s=0.1)


def test_the_baselines_are_found() -> None:
    assert {bridge.name for bridge in baselines(BASELINES)} == NAMES


def test_a_folder_without_any(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="E-BENCH-02"):
        baselines(tmp_path)


@pytest.mark.parametrize("name", [*sorted(NAMES), "offhook"])
async def test_every_frame_comes_through(bench: Bench, name: str) -> None:
    bridges = {bridge.name: bridge for bridge in (offhook(None), *baselines(BASELINES))}
    level = await bench.level(bridges[name], CALLS, 2)
    assert level.clean
    assert level.frames_received > 0
    assert level.up is not None
    assert level.down is not None
    assert level.cpu_us > 0


async def test_tls_to_the_agent_is_verified(bench: Bench) -> None:
    level = await bench.level(offhook(None), CALLS, 1, tls=True)
    assert level.clean
    assert level.frames_received > 0


async def test_after_short_calls_nothing_is_left(bench: Bench) -> None:
    async with bench.running(offhook(None), capacity=20) as run:
        before = await run.usage()
        assert [placed async for placed in run.churn(100, at_once=10, frames=2)] == [100]
        _, _, measured = await run.measure(0.1)
        after = await run.usage()
    assert measured[0].broken_calls == 0
    assert after.tasks <= before.tasks


async def test_idle_calls_are_held(bench: Bench) -> None:
    load = Spec(port=0, turn_ms=100, idle=True)
    async with bench.running(offhook(None), capacity=20, load=load) as run:
        await run.open(10)
        _, _, measured = await run.measure(0.5)
        await run.hang_up()
    assert sum(part.broken_calls + part.lost for part in measured) == 0
    assert sum(part.received_up for part in measured) > 0


async def test_a_bridge_that_cannot_start(bench: Bench) -> None:
    broken = Bridge("broken", (sys.executable, "-c", "raise SystemExit('no such thing')"))
    with pytest.raises(UserError, match="E-BENCH-01") as caught:
        await bench.level(broken, 1, 1)
    assert "no such thing" in caught.value.what


async def test_a_bridge_that_loses_frames_is_found_out(bench: Bench, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf.py"
    source = (BASELINES / "bare_picows.py").read_text()
    heard = "    def on_binary(self, data: bytes) -> None:\n        caller = self.caller\n"
    assert heard in source
    dropping = (
        "        self.count = getattr(self, 'count', 0) + 1\n        if self.count % 50 == 0:\n"
    )
    deaf.write_text(source.replace(heard, f"{heard}{dropping}            return\n"))
    level = await bench.level(baselines(tmp_path)[0], CALLS, 2)
    assert level.lost > 0
    assert not level.clean
    assert not level.carried
