"""A worker process that a test plays: slow to start, or not there at all."""

import asyncio
import sys

import pytest
from tests.waiting import until

from offhook.errors import UserError
from offhook.testing.simulator.speech import worker_process
from offhook.testing.simulator.speech.worker_process import HEADER, READY, WorkerProcess

SLOW = f"""
import sys, time
time.sleep(1)
sys.stdout.buffer.write({HEADER.pack(0, 0, READY)!r})
sys.stdout.buffer.flush()
sys.stdin.buffer.read(1)
sys.stdout.buffer.write({HEADER.pack(7, 0, 1)!r})
sys.stdout.buffer.flush()
sys.stdin.buffer.read()
"""


class Played(WorkerProcess):
    name = "played process"
    missing = "E-EAR-99"

    def __init__(self, script: str) -> None:
        super().__init__("unused")
        self._command = (sys.executable, "-c", script)
        self.said: asyncio.Queue[int] = asyncio.Queue()
        self.failed = 0

    def on_message(self, number: int, kind: int, data: bytes) -> None:
        self.expect_nothing()
        self.said.put_nowait(number)

    def on_death(self) -> None:
        self.expect_nothing()
        self.failed += 1


async def test_the_time_for_an_answer_begins_when_it_has_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_process, "HANG_S", 0.05)
    played = Played(SLOW)
    async with asyncio.TaskGroup() as group:
        group.create_task(played.start())
        await until(lambda: played._process is not None)  # not ready for a second
        played.expect_answer()
    monkeypatch.setattr(worker_process, "HANG_S", 60.0)
    played.expect_nothing()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(played.run())
        played.expect_answer()
        assert played.send(7, 1, b"a")
        assert await played.said.get() == 7
        running.cancel()
    assert played.failed == 0
    await played.close()


async def test_one_that_was_asked_while_it_started_and_then_hangs_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_process, "HANG_S", 0.2)
    played = Played(SLOW)
    async with asyncio.TaskGroup() as group:
        group.create_task(played.start())
        await until(lambda: played._process is not None)  # not ready for a second
        played.expect_answer()  # and nothing is sent, so it says nothing
    process = played._process
    assert process is not None
    async with asyncio.timeout(60):
        assert await process.wait() != 0
    await played.close()


async def test_what_was_asked_before_a_start_that_fails_is_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    played = Played(SLOW)
    await played.start()

    async def start() -> None:
        raise UserError(Played.missing, "It does not start.", "Install it.")

    monkeypatch.setattr(played, "start", start)
    assert played._process is not None
    played._process.kill()
    await played.run()
    assert played.failed == 2, "once for its death, once for what came since"
    await played.close()
