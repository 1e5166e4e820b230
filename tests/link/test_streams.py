"""Streams over the local link, over real sockets."""

import asyncio
from pathlib import Path
from typing import cast

import pytest
from tests.link.test_link import linked
from tests.waiting import GIVEN_UP_AFTER_S, settled, until

from offhook.link import streams as streams_module
from offhook.link.channel import STREAM_LINE_MAX, LinkChannel
from offhook.link.client import CallProcess
from offhook.link.server import REFUSED_STREAM
from offhook.net.websocket import Channel, Closed
from offhook.outbound.errors import TryLaterError

PAIR = pytest.mark.parametrize("pair", [False, True])


class End:
    """One end of a stream, in a test's hands: a Receiver."""

    def __init__(self) -> None:
        self.channel: Channel
        self.got: list[bytes] = []
        self.room: list[bool] = []
        self.closed: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()

    def on_open(self, socket: Channel) -> None:
        self.channel = socket

    def on_text(self, text: bytes) -> None:
        if text == b"break":
            raise RuntimeError("broken")
        self.got.append(text)

    def on_binary(self, data: bytes) -> None:
        raise AssertionError("a stream has no binary messages")

    def on_writable(self, writable: bool) -> None:
        self.room.append(writable)

    def on_close(self, closed: Closed) -> None:
        self.closed.set_result(closed)

    async def end(self) -> Closed:
        async with asyncio.timeout(GIVEN_UP_AFTER_S):
            return await self.closed


def never() -> None:
    raise AssertionError("the stream was wanted")


async def joined(r: object, process: CallProcess) -> tuple[End, End, LinkChannel]:
    """The call process's end, the operator's, and the operator's channel."""
    near, far = End(), End()
    token = r.streams.offer(near, never)  # type: ignore[attr-defined]
    channel = await process.join(token, far)
    await until(lambda: hasattr(near, "channel"))
    return near, far, channel


@PAIR
async def test_messages_pass_both_ways_as_they_are(pair: bool) -> None:
    async with linked(pair=pair) as (r, process):
        r.orders.answer = lambda _: "text"
        near, far, channel = await joined(r, process)
        lines = [b'{"event":"media","n":%d}' % n for n in range(300)]
        lines.append(b"x" * STREAM_LINE_MAX)
        for line in lines:
            channel.send_text(line)
            near.channel.send_text(line)
        await until(lambda: near.got == lines == far.got)
        assert await process.metrics() == "text", "requests have a connection of their own"
        assert not near.closed.done()
        assert not far.closed.done()


@PAIR
async def test_each_end_is_told_of_the_end_with_its_reason(pair: bool) -> None:
    async with linked(pair=pair) as (r, process):
        near, far, channel = await joined(r, process)
        near.channel.send_text(b"the last words")
        near.channel.close(1008, "the call is “over”")
        assert await far.end() == Closed(1008, "the call is “over”", None)
        assert far.got == [b"the last words"]
        assert (await near.end()).sent == 1008
        near, far, channel = await joined(r, process)
        channel.close()
        channel.close(1011, "again")
        assert await near.end() == Closed(1000, "", None)
        assert (await far.end()).sent == 1000
        near.channel.send_text(b"late")
        channel.send_text(b"late")


@pytest.mark.parametrize("hears_out", [True, False])
async def test_what_was_sent_before_the_other_end_knew_is_received_on_request(
    hears_out: bool,
) -> None:
    async with linked() as (r, process):
        near, far, channel = await joined(r, process)
        near.channel.send_text(b"on its way")
        channel.close(1000, "", hears_out=hears_out)
        await near.end()
        await far.end()
        assert far.got == ([b"on its way"] if hears_out else [])


@PAIR
@pytest.mark.parametrize("end", ["far", "near"])
async def test_the_end_is_told_to_a_side_that_writes_meanwhile(end: str, pair: bool) -> None:
    """Else a page whose caller is handed back would take the call over again."""
    async with linked(pair=pair) as (r, process):
        near, far, channel = await joined(r, process)
        sides = channel, cast("LinkChannel", near.channel)
        ending, writing = sides if end == "far" else reversed(sides)
        told, other = (near, far) if end == "far" else (far, near)
        writing.read(False)  # it is busy with something else
        ending.send_text(b"the last words")
        ending.close(1008, "over")
        for _ in range(3):
            writing.send_text(b"media")
            await settled()
        writing.read(True)
        assert await told.end() == Closed(1008, "over", None)
        assert told.got == [b"the last words"]
        assert (await other.end()).sent == 1008
        assert other.got == []


async def test_an_end_without_a_reason_is_told_as_such() -> None:
    async with linked() as (r, process):
        near, far, channel = await joined(r, process)
        channel.abort()
        assert await near.end() == Closed(None, "", None)
        near, far, channel = await joined(r, process)
        r.server.close()  # as when the process ends
        assert await far.end() == Closed(None, "", None)
        assert (await near.end()).received is None


async def test_a_token_is_good_for_one_stream() -> None:
    async with linked() as (r, process):
        near, _, _ = await joined(r, process)
        again = r.streams.offer(End(), never)
        await process.join(again, End())
        for token in (again, "", "x" * 1000, "unknown"):
            refused = End()
            await process.join(token, refused)
            assert (await refused.end()).received == REFUSED_STREAM
        assert not near.closed.done()


async def test_a_token_expires_and_its_owner_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "TOKEN_S", 0.05)
    unwanted: list[str] = []
    async with linked() as (r, process):
        token = r.streams.offer(End(), lambda: unwanted.append("late"))
        await until(lambda: unwanted == ["late"])
        refused = End()
        await process.join(token, refused)
        assert (await refused.end()).received == REFUSED_STREAM


async def test_offers_are_bounded_and_the_oldest_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams_module, "OFFERS_MAX", 3)
    unwanted: list[int] = []
    async with linked() as (r, _):
        for n in range(5):
            r.streams.offer(End(), lambda n=n: unwanted.append(n))  # type: ignore[misc]
        assert unwanted == [0, 1]
    assert unwanted == [0, 1, 2, 3, 4], "the end of the process is the end of its offers"


@pytest.mark.parametrize("end", ["far", "near"])
async def test_a_line_that_is_too_long_ends_that_stream_alone(end: str) -> None:
    async with linked() as (r, process):
        r.orders.answer = lambda _: "text"
        other, *_ = await joined(r, process)
        near, far, channel = await joined(r, process)
        sender, receiver = (channel, near) if end == "far" else (near.channel, far)
        sender.send_text(b"x" * (STREAM_LINE_MAX + 1))
        assert (await receiver.end()).received is None
        assert receiver.got == []
        assert not other.closed.done()
        assert await process.metrics() == "text"


async def test_a_fault_in_a_receiver_ends_that_stream_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with linked() as (r, process):
        other, *_ = await joined(r, process)
        near, far, channel = await joined(r, process)
        channel.send_text(b"break")
        assert (await far.end()).received == 1011
        assert near.got == []
        assert not other.closed.done()
    assert "a fault in the receiver of a stream's messages" in caplog.text


async def test_a_peer_that_reads_nothing_is_told_of_and_its_buffer_is_bounded() -> None:
    async with linked() as (r, process):
        near, far, channel = await joined(r, process)
        channel.read(False)
        line = b"x" * 4000
        sent = 0
        while near.room != [False]:
            near.channel.send_text(line)
            sent += 1
            await settled()
            assert sent < 2000, "nobody says that it is full"
        channel.read(True)
        await until(lambda: len(far.got) == sent)
        assert near.room[-1] is True
        channel.read(False)
        for _ in range(2000):  # one that does not stop is cut off
            near.channel.send_text(line)
        await near.end()
        channel.abort()  # who does not read is not told


async def test_garbage_instead_of_a_token_is_no_stream(tmp_path: Path) -> None:
    async with linked() as (r, process):
        for line in (b'{"stream":5}\n', b'{"stream":"a","number":1}\n', b"!\n"):
            _, writer = await asyncio.open_unix_connection(r.path)
            writer.write(line)
            await writer.drain()
            writer.close()
        r.orders.answer = lambda _: "text"
        assert await process.metrics() == "text"


async def test_a_stream_of_a_process_that_is_gone_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(TryLaterError, match="E-LINK-01"):
        await CallProcess.at(str(tmp_path / "gone")).join("token", End())
