"""The load's own WebSockets, and where its callers read."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
from tests.waiting import until

from offhook.bench.load import sockets
from offhook.bench.load.schedule import STEP_NS, Wheel


class Heard:
    """A receiver that keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.binaries: list[bytes] = []
        self.closes = 0

    def on_text(self, text: bytes) -> None:
        self.texts.append(text)

    def on_binary(self, data: bytes) -> None:
        self.binaries.append(data)

    def on_close(self) -> None:
        self.closes += 1


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        yield near, far


async def opened(near: socket.socket, *, masks: bool) -> tuple[sockets.LoadSocket, Heard]:
    heard = Heard()
    made = sockets.LoadSocket(near, masks=masks)
    made.begin(heard)
    made.unwatch()
    return made, heard


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 300_000])
@pytest.mark.parametrize("mask", [None, b"\0\0\0\0", b"\x12\x34\xa5\xff"])
async def test_messages_of_all_sizes_come_in_any_pieces(
    ends: tuple[socket.socket, socket.socket], size: int, mask: bytes | None
) -> None:
    made, heard = await opened(ends[0], masks=True)
    payload = bytes(index % 251 for index in range(size))
    whole = sockets.frame(sockets.BINARY, size, masks=mask is not None)
    whole = whole if mask is None else whole[:-4] + mask
    whole += payload if mask is None else sockets.unmask(mask, payload)
    ends[1].setblocking(False)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for part in (whole[:1], whole[1:3], whole[3:9], whole[9:] + whole):
            loop = asyncio.get_running_loop()
            sending = group.create_task(loop.sock_sendall(ends[1], part))
            while not sending.done():
                made.read()
                await asyncio.sleep(0)
        while len(heard.binaries) < 2:
            made.read()
            await asyncio.sleep(0)
    assert heard.binaries == [payload, payload]


async def test_a_ping_is_answered_and_a_close_is_told_once(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    made, heard = await opened(ends[0], masks=True)
    ends[1].sendall(b"\x89\x02hi")
    ends[1].settimeout(60)
    made.watch()
    answer = await asyncio.to_thread(ends[1].recv, 100)
    assert answer == sockets.frame(0x8A, 2, masks=True) + b"hi"
    ends[1].sendall(b"\x88\x00")
    await until(lambda: not made.is_open)
    made.read()
    assert heard.closes == 1


async def test_the_time_of_arrival_is_not_that_of_reading(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    made, heard = await opened(ends[0], masks=False)

    async def reads_later() -> bool:
        ends[1].sendall(sockets.frame(sockets.TEXT, 2, masks=True) + b"hi")
        await asyncio.sleep(0.2)  # this is what the kernel's stamp must leave out
        read_at = time.time_ns()
        made.read()
        return made.arrived_ns < read_at

    # A kernel that stamped nothing before begins to a moment after it is asked.
    async with asyncio.timeout(60):
        while not await reads_later():
            pass
    assert set(heard.texts) == {b"hi"}


async def test_a_step_is_far_from_the_moment_that_it_reads() -> None:
    wheel = Wheel(20)
    slots = 20_000_000 // STEP_NS
    assert wheel.far_from(0) % slots == slots // 2
    assert wheel.far_from(10_000_000) % slots == 0
