"""Both sides in one process: a fault of the operator's side ends no call, is seen, and mended."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.api.desk import Desk, desk
from tests.waiting import until

from offhook.clock import LoopClock
from offhook.concurrency import server_tasks
from offhook.config import load
from offhook.serving.operator_server import OperatorServer
from offhook.serving.record_keeping import RecordKeeping
from offhook.testing.scenarios import own_server
from offhook.testing.scenarios.deadlines import OverdueError, within

CONFIG = Path("examples/acting/offhook.yaml")


class InjectedError(Exception):
    """A fault of the operator's side."""


def broken(*_: object) -> Any:
    raise InjectedError


async def failing(d: Desk) -> dict[str, str]:
    answer = await d.ask("/readyz")
    assert answer.status_code == 200, "calls go on"
    found: dict[str, str] = answer.json().get("failing", {})
    return found


async def test_the_operators_server_is_started_again_and_readiness_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_tasks, "RESTART_S", (0.01,))
    async with desk(tmp_path) as d:
        assert await failing(d) == {}
        with monkeypatch.context() as while_broken:
            while_broken.setattr(RecordKeeping, "threads", property(broken))
            await until(lambda: d.side.failing)
            assert await failing(d) == {"operator's server": "failing"}
            assert b"offhook_parts_failing 1.0" in await d.whole.server.metrics.text()
        await until(d.side.server.started.is_set)
        assert (await d.ask("/api/v1/calls")).status_code == 200


async def test_faults_of_the_processs_own_threads_are_counted(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        server = d.side.server
        before = server._count_faults()
        server._own_threads = [SimpleNamespace(name="printer", state="ok", faults=2)]
        assert server._count_faults() == before + 2


async def test_a_server_that_waits_for_its_next_start_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_tasks, "RESTART_S", (3600.0,))
    async with desk(tmp_path) as d:
        monkeypatch.setattr(RecordKeeping, "threads", property(broken))
        await until(lambda: d.side.failing)
        monkeypatch.undo()


async def test_a_fault_while_it_stops_does_not_start_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_tasks, "RESTART_S", (0.01,))
    async with asyncio.timeout(60), desk(tmp_path) as d:
        assert await failing(d) == {}
        monkeypatch.setattr(RecordKeeping, "end_live", broken)
    assert "ended by a fault, and is not started again" in caplog.text


async def test_a_server_whose_operators_side_does_not_start_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OperatorServer, "_watch_threads", broken)
    config = load(CONFIG, {"DEEPGRAM_API_KEY": "any"})
    with pytest.raises(ExceptionGroup) as caught:
        async with own_server.run(
            config, LoopClock(asyncio.get_running_loop()), operator_listen="127.0.0.1:0"
        ):
            raise AssertionError("it has not started")
    assert caught.group_contains(InjectedError)


async def test_a_server_whose_operators_side_waits_for_ever_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    never = asyncio.Event()
    monkeypatch.setattr(OperatorServer, "_until_following", lambda self: never.wait())
    monkeypatch.setattr(own_server, "OPEN_S", 20.0)
    config = load(CONFIG, {"DEEPGRAM_API_KEY": "any"})
    with pytest.raises(ExceptionGroup) as caught:
        async with own_server.run(
            config, LoopClock(asyncio.get_running_loop()), operator_listen="127.0.0.1:0"
        ):
            raise AssertionError("it has not started")
    assert caught.group_contains(OverdueError, match="Starting the operator's server took longer")


async def test_a_server_whose_operators_side_never_stops_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = "Stopping the operator's server"
    monkeypatch.setattr(
        own_server, "within", lambda s, what: within(0.5 if what == step else s, what)
    )
    config = load(CONFIG, {"DEEPGRAM_API_KEY": "any"})
    with pytest.raises(OverdueError, match=step):
        async with own_server.run(
            config, LoopClock(asyncio.get_running_loop()), operator_listen="127.0.0.1:0"
        ):
            monkeypatch.setattr(OperatorServer, "stop", lambda self: None)
