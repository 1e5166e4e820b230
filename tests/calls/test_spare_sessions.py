"""A place of a spare leg is returned once, and only if it was taken."""

import asyncio

import pytest

from offhook.calls.spare_sessions import SpareSessions

SID = "CA" + "1" * 32


class Budget:
    """A budget whose answer a test gives."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.returned: list[str] = []

    async def take(self, call_sid: str) -> bool:
        assert call_sid == SID
        return await self.answer


@pytest.mark.parametrize(("is_taken", "returned"), [(True, [SID]), (False, [])])
@pytest.mark.parametrize("is_early", [False, True])
async def test_a_place_is_returned_once_if_it_was_taken(
    is_taken: bool, returned: list[str], is_early: bool
) -> None:
    budget = Budget()
    sessions = SpareSessions(budget.take, budget.returned.append)
    async with asyncio.TaskGroup() as group:
        taking = group.create_task(sessions.take(SID))
        await asyncio.sleep(0)
        if is_early:  # the leg took the place of a lost one, or is gone
            sessions.settle(SID)
        budget.answer.set_result(is_taken)
    assert taking.result() is is_taken
    for _ in range(2):
        sessions.settle(SID)
    assert budget.returned == returned


async def test_a_dial_that_is_cancelled_leaves_nothing() -> None:
    budget = Budget()
    sessions = SpareSessions(budget.take, budget.returned.append)
    async with asyncio.TaskGroup() as group:
        taking = group.create_task(sessions.take(SID))
        await asyncio.sleep(0)
        taking.cancel()
    sessions.settle(SID)
    assert budget.returned == []
