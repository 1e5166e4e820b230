"""Bridges and load as processes: small runs, and only facts that no noise can bend."""

import os
import sys
from pathlib import Path

import pytest
from tests.waiting import until

from offhook.bench import measuring
from offhook.bench.load.messages import Spec
from offhook.bench.measuring import RunPlan
from offhook.bench.runner import Bench, Bridge, Cores, ServeBridge, baselines
from offhook.errors import UserError

BENCH = Path(__file__).parents[2] / "bench"
BASELINES = BENCH / "baselines"
NAMES = {"bare_picows", "tutorial"}
PLAIN = Bridge("plain", (sys.executable, str(BENCH / "plain_server.py")))
CALLS = 5


@pytest.fixture
def bench() -> Bench:
    return Bench(Cores(), os.environ, warm_up_s=0.1)


def test_the_baselines_are_found() -> None:
    assert {bridge.name for bridge in baselines(BASELINES)} == NAMES


def test_a_folder_without_any(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="E-BENCH-02"):
        baselines(tmp_path)


@pytest.mark.parametrize("name", sorted(NAMES))
async def test_every_frame_comes_through_a_baseline(bench: Bench, name: str) -> None:
    bridges = {bridge.name: bridge for bridge in baselines(BASELINES)}
    level = await measuring.level(bench, bridges[name], RunPlan(CALLS, 2))
    assert level.clean
    assert level.frames_received > 0
    assert level.up is not None
    assert level.down is not None
    assert level.cpu_us > 0


@pytest.mark.long
async def test_recorded_calls_come_by_the_webhook_and_are_recorded(bench: Bench) -> None:
    async with bench.running(ServeBridge(recorded=True), capacity=20) as run:
        await run.open(2)
        await run.hang_up()
        assert run.setup is not None
        recordings = run.setup.records / "recordings"
        await until(lambda: len(list(recordings.rglob("*CA*.wav"))) == 2)


@pytest.mark.long
async def test_short_calls_begin_all_the_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "CHURN_PER_S", 10.0)  # beside the other tests
    level = await measuring.level(bench, ServeBridge(), measuring.churn_plan(2))
    assert level.broken_calls == 0
    assert level.call_ms is not None


@pytest.mark.long
async def test_every_frame_comes_through_the_server_and_tls_to_the_agent_is_verified(
    bench: Bench,
) -> None:
    level = await measuring.level(bench, ServeBridge(), RunPlan(CALLS, 2, tls=True))
    assert level.clean
    assert level.frames_received > 0
    assert level.cpu_us > 0
    assert level.start_s is not None
    assert level.rest_mb is None or level.rest_mb > 1


async def test_after_short_calls_nothing_is_left(bench: Bench) -> None:
    async with bench.running(PLAIN, capacity=20) as run:
        before = await run.told()
        assert [placed async for placed in run.churn(100, at_once=10, frames=2)] == [100]
        _, _, measured = await run.measure(0.1)
        after = await run.told()
    assert measured[0].broken_calls == 0
    assert after.tasks <= before.tasks


async def test_idle_calls_are_held(bench: Bench) -> None:
    load = Spec(port=0, turn_ms=100, idle=True)
    async with bench.running(PLAIN, capacity=20, load=load) as run:
        await run.open(10)
        _, _, measured = await run.measure(0.5)
        await run.hang_up()
    assert sum(part.broken_calls + part.lost for part in measured) == 0
    assert sum(part.received_up for part in measured) > 0


async def test_a_bridge_that_cannot_start(bench: Bench) -> None:
    broken = Bridge("broken", (sys.executable, "-c", "raise SystemExit('no such thing')"))
    with pytest.raises(UserError, match="E-BENCH-01") as caught:
        await measuring.level(bench, broken, RunPlan(1, 1))
    assert "no such thing" in caught.value.what


async def test_a_server_that_cannot_start(bench: Bench, tmp_path: Path) -> None:
    wrong = tmp_path / "offhook.yaml"
    wrong.write_text("logs: {level: never}\n")
    with pytest.raises(UserError, match="E-BENCH-01") as caught:
        await measuring.level(bench, ServeBridge(wrong), RunPlan(1, 1))
    assert "offhook did not answer" in caught.value.what


async def test_a_bridge_that_loses_frames_is_found_out(bench: Bench, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf.py"
    source = (BASELINES / "bare_picows.py").read_text()
    heard = "    def on_binary(self, data: bytes) -> None:\n        caller = self.caller\n"
    assert heard in source
    dropping = (
        "        self.count = getattr(self, 'count', 0) + 1\n        if self.count % 50 == 0:\n"
    )
    deaf.write_text(source.replace(heard, f"{heard}{dropping}            return\n"))
    level = await measuring.level(bench, baselines(tmp_path)[0], RunPlan(CALLS, 2))
    assert level.lost > 0
    assert not level.clean
    assert not level.carried
