"""The budget of Deepgram sessions: what counts, and what a 429 does to it."""

import asyncio
import logging

import pytest
from tests.net.test_websocket import Recorder, accepting, serving

from offhook.concurrency.server_tasks import ServerTasks
from offhook.deepgram.connection import Dialler
from offhook.deepgram.leg import PendingDial
from offhook.deepgram.session_budget import GROWING_S, LOWERED_S, SessionBudget
from offhook.net import websocket
from offhook.net.websocket import Closed
from offhook.testing.virtual_clock import VirtualClock


class Rig:
    def __init__(self, most: int | None) -> None:
        self.clock = VirtualClock(1000.0)
        self.budget = SessionBudget(most, self.clock.now)
        self.open: list[websocket.Receiver] = []

    def dial(self, count: int) -> None:
        for _ in range(count):
            session = self.budget.counted(Recorder())
            session.on_open(None)  # type: ignore[arg-type]
            self.open.append(session)

    def refuse(self) -> None:
        """A dial that Deepgram refuses."""
        session = self.budget.counted(Recorder())
        self.budget.on_refused()
        session.on_dialled()

    def close(self) -> None:
        self.open.pop().on_close(Closed(1000, "", None))


async def test_a_session_counts_from_its_dial_until_its_socket_is_closed() -> None:
    rig = Rig(2)
    assert [rig.budget.has_room(promised) for promised in (1, 2)] == [True, False]
    rig.dial(1)
    dialling = rig.budget.counted(Recorder())
    assert not rig.budget.has_room(0)
    assert (rig.budget.dialled, rig.budget.open) == (2, 1)
    for _ in range(2):
        dialling.on_dialled()  # in vain
    assert rig.budget.has_room(0)
    rig.close()
    assert rig.budget.has_room(1)


async def test_without_a_number_there_is_room_until_deepgram_says_otherwise() -> None:
    rig = Rig(None)
    rig.dial(100)
    limits = [rig.budget.limit]
    assert rig.budget.has_room(1000)
    rig.refuse()
    limits.append(rig.budget.limit)
    assert limits == [None, 100]
    assert not rig.budget.has_room(0)
    rig.close()
    assert rig.budget.has_room(0)
    assert rig.budget.refusals == 1


async def test_a_lowered_budget_stays_so_a_minute_then_grows_and_is_whole_again() -> None:
    rig = Rig(120)
    rig.dial(40)
    rig.refuse()
    limits = []
    for seconds in (LOWERED_S - 1, 2, 9, GROWING_S - 10.5, 0.5):
        rig.clock.run(seconds)
        limits.append(rig.budget.limit)
    assert limits == [40, 41, 50, 99, 120]


async def test_a_budget_never_grows_beyond_its_number() -> None:
    rig = Rig(45)
    rig.dial(44)
    rig.refuse()
    rig.clock.run(LOWERED_S + 5)
    assert rig.budget.limit == 45


async def test_a_session_that_opens_beside_a_refused_one_raises_the_budget_again() -> None:
    rig = Rig(None)
    rig.dial(3)
    rig.refuse()
    rig.dial(2)
    assert rig.budget.limit == 5


async def test_one_session_stays_to_try_with() -> None:
    rig = Rig(None)
    rig.refuse()
    assert rig.budget.limit == 1


async def test_each_lowering_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(None)
    rig.dial(7)
    for _ in range(5):
        rig.refuse()
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    assert "7 sessions are open" in caplog.text


async def test_dials_over_real_sockets_are_counted() -> None:
    budget = SessionBudget(None, asyncio.get_running_loop().time)
    near, far = Recorder(), Recorder()
    refusals = 0

    def failed(_: object) -> None:
        nonlocal refusals
        refusals += 1

    def dial(tasks: ServerTasks, port: int, receiver: Recorder) -> PendingDial:
        return Dialler([f"ws://127.0.0.1:{port}/"], {}, 5, budget, tasks)(receiver, failed)

    async with (
        serving(accepting(far)) as port,
        serving(lambda _: websocket.Refusal(429, "")) as full,
        serving(lambda _: websocket.Refusal(500, "")) as broken,
    ):
        async with asyncio.TaskGroup() as group:
            tasks = ServerTasks(group)
            for each in (port, full, broken):
                dial(tasks, each, near if each == port else Recorder())
            called_off = dial(tasks, port, Recorder())
            assert budget.dialled == 4
            called_off.cancel()
        assert (budget.dialled, budget.open, budget.refusals, refusals) == (1, 1, 1, 2)
        assert near.socket is not None
        near.socket.close()
        await near.closed
        assert (budget.dialled, budget.open) == (0, 0)
