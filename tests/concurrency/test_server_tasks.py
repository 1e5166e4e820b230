"""Tasks of the server: what fails in one ends nothing but its own call."""

import asyncio
import logging
from typing import Any

import pytest

from offhook.call_context import of_call
from offhook.concurrency import server_tasks
from offhook.concurrency.server_tasks import ServerTasks


async def failing(error: BaseException) -> int:
    raise error


async def five() -> int:
    return 5


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a word that was said"),
        SystemExit(3),
        KeyboardInterrupt(),
        BaseExceptionGroup("several", [SystemExit(1)]),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_task_raises_ends_no_other(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[str, str]] = []
    async with asyncio.TaskGroup() as group:
        owner = ServerTasks(group, lambda call_sid, what: told.append((call_sid, what)))
        results = [await owner.start("line", failing(error), call_sid="CA1")]
        assert results == [None]
        assert await owner.start("line", five(), call_sid="CA2") == 5
    assert told == [("CA1", type(error).__name__)]
    assert owner.faults == 1
    [record] = caplog.records
    assert (record.getMessage(), vars(record)["call_sid"]) == ("a fault in the task 'line'", "CA1")


async def test_a_task_belongs_to_the_call_for_which_it_was_started() -> None:
    told: list[str] = []
    async with asyncio.TaskGroup() as group:
        owner = ServerTasks(group, lambda call_sid, what: told.append(call_sid))
        with of_call("CA3"):
            _ = owner.start("dial", failing(ValueError()))
        _ = owner.start("nobody's", failing(ValueError()))
    assert told == ["CA3"]


async def test_a_call_goes_on_after_a_fault_of_what_it_does_not_need(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []
    async with asyncio.TaskGroup() as group:
        owner = ServerTasks(group, lambda call_sid, what: told.append(call_sid))
        _ = owner.start("tell", failing(ValueError()), call_sid="CA1", ends_call=False)
        with of_call("CA3"):
            _ = owner.start("tell", failing(ValueError()), ends_call=False)
    assert told == []
    assert owner.faults == 2
    assert [vars(record)["call_sid"] for record in caplog.records] == ["CA1", "CA3"]


async def test_nor_does_it_matter_that_the_call_cannot_be_told() -> None:
    def broken(call_sid: str, what: str) -> None:
        raise RuntimeError

    async with asyncio.TaskGroup() as group:
        owner = ServerTasks(group, broken)
        await owner.start("line", failing(ValueError()), call_sid="CA1")
        assert await owner.start("line", five()) == 5
    assert owner.faults == 2


async def test_to_cancel_a_task_is_no_fault_not_even_before_its_first_step() -> None:
    async with asyncio.TaskGroup() as group:
        owner = ServerTasks(group)
        before = owner.start("line", asyncio.sleep(1000))
        before.cancel()
        begun = owner.start("line", asyncio.sleep(1000))
        await asyncio.sleep(0)
        begun.cancel()
        await asyncio.wait((before, begun))
    assert before.cancelled()
    assert begun.cancelled()
    assert owner.faults == 0


async def test_kept_work_begins_anew_and_says_that_it_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_tasks, "RESTART_S", (0.0,))
    tries = 0

    async def third_time_lucky() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError

    async with asyncio.TaskGroup() as group:
        owner = ServerTasks(group)
        await owner.keep("watch", third_time_lucky)
        assert tries == 3
        assert owner.faults == 2
        assert owner.failing == ("watch",)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


async def test_kept_work_is_not_failing_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_tasks, "RESTART_S", (0.0,))
    monkeypatch.setattr(server_tasks, "CALM_S", 0.0)
    results: list[Any] = [OSError(), None]

    async def once_bad() -> None:
        result = results.pop(0)
        if result is not None:
            raise result

    async with asyncio.TaskGroup() as group:
        owner = ServerTasks(group)
        await owner.keep("watch", once_bad)
        while owner.failing:  # noqa: ASYNC110 - a timer of no time is due
            await asyncio.sleep(0)


async def test_kept_work_that_is_to_stop_is_not_restarted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_tasks, "RESTART_S", (0.0,))
    stopping = asyncio.Event()
    tries = 0

    async def bad_when_stopped() -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            stopping.set()
        raise OSError

    async with asyncio.TaskGroup() as group:
        owner = ServerTasks(group)
        await owner.keep("watch", bad_when_stopped, until=stopping)
        await owner.keep("watch", bad_when_stopped, until=stopping)
    assert tries == 2
    assert owner.faults == 2
    assert "watch ended by a fault, and is not started again" in caplog.text


async def test_kept_work_that_waits_for_its_restart_stops_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_tasks, "RESTART_S", (3600.0,))
    stopping = asyncio.Event()

    async def bad() -> None:
        raise OSError

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        owner = ServerTasks(group)
        kept = owner.keep("watch", bad, until=stopping)
        while not owner.faults:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        stopping.set()
        await kept


async def test_kept_work_ends_when_it_is_cancelled() -> None:
    async with asyncio.TaskGroup() as group:
        owner = ServerTasks(group)
        kept = owner.keep("watch", lambda: asyncio.sleep(1000))
        await asyncio.sleep(0)
        kept.cancel()
    assert kept.cancelled()
    assert owner.faults == 0
