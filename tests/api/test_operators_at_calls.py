"""People at a call over real sockets: one that reads nothing, and a recording of one who spoke."""

import asyncio
import json
import socket
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from tests.api.desk import TOKEN, Desk, desk
from tests.page import ConsolePage
from tests.waiting import until
from tests.whole_server import ASK, GREET, HOURS, QUICK, RawStream, voice

from offhook.audio import FRAME_BYTES, SILENCE
from offhook.recordings import wav
from offhook.testing.scenarios.scenario import ScenarioStep

LOUD = b"\x2a" * FRAME_BYTES
"""A frame of the operator's that nothing else on the line resembles."""

PIECE = 8000
PIECES_MAX = 5000
"""Pieces of audio, of a second each, by which every buffer of a page that reads nothing is full."""

WAIT = ScenarioStep(wait=600)


class DeafPage:
    """A page that opens a socket and reads nothing of it until it is told to."""

    async def open(self, d: Desk, path: str) -> None:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", d.port))
        self.reader, self.writer = await asyncio.open_connection(sock=raw, limit=16 * 1024)
        head = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{d.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        )
        self.writer.write(head.encode())
        assert (await self.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")

    async def message(self) -> dict[str, Any]:
        """Read the next message, a frame without a mask (RFC 6455 §5.2)."""
        size = (await self.reader.readexactly(2))[1]
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        message: dict[str, Any] = json.loads(await self.reader.readexactly(size))
        return message


def page_of(d: Desk) -> ConsolePage:
    return ConsolePage(d.url, d.whole.http, {"Authorization": f"Bearer {TOKEN}"})


async def stream_of(page: ConsolePage, call_sid: str, what: str) -> str:
    answer = await page.post(f"/api/v1/calls/{call_sid}/{what}")
    assert answer.is_success, answer.text
    return str(answer.json()["stream"])


def number_of(message: dict[str, Any]) -> int | None:
    """Return the number of a piece of the agent's audio, which `pumped` has put into it."""
    if message["event"] != "media" or message["track"] != "agent":
        return None
    audio = b64decode(message["payload"])
    return int.from_bytes(audio[:4], "big") if len(audio) == PIECE else None


async def test_a_page_that_reads_nothing_loses_the_oldest_audio_and_delays_nobody(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, script=QUICK) as d:
        page = page_of(d)
        call = await page.dial(await page.open_phone(), GREET, WAIT)
        deaf, other = (
            DeafPage(),
            await page.socket(await stream_of(page, call.call_sid, "listening")),
        )
        await deaf.open(d, await stream_of(page, call.call_sid, "listening"))
        entry = d.whole.server.calls.registry.live[call.call_sid]
        assert entry.session is not None
        operators = entry.session.operators
        await until(lambda: len(operators._streams) == 2 and call.caller.done >= 1)

        sent = 0

        async def pump() -> None:
            """Send pieces, each once the other page has the one before."""
            nonlocal sent
            sent += 1
            operators.hear_agent(sent.to_bytes(4, "big") + bytes(PIECE - 4))
            while number_of_last(other) != sent:  # noqa: ASYNC110 - it takes a few turns of the loop
                await asyncio.sleep(0)

        while d.api.streams.dropped == 0:
            assert sent < PIECES_MAX, "nothing was dropped"
            await pump()
        first = sent
        for _ in range(20):
            await pump()

        numbers = [n for n in map(number_of, map(json.loads, other.received)) if n is not None]
        assert numbers == [*range(1, sent + 1)], "the other page has all of it"
        assert not call.ended.is_set()

        got: list[int] = []
        while not got or got[-1] < sent:
            number = number_of(await deaf.message())
            got += [] if number is None else [number]
        assert got == sorted(set(got)), "what is left is in its order"
        lost = set(range(1, sent + 1)) - set(got)
        assert lost, "some is dropped"
        assert max(lost) < sent, "and the newest is there"
        assert min(lost) < first + 20
        deaf.writer.close()


def number_of_last(page: RawStream) -> int | None:
    """Return the number of the last piece of the agent's audio that a page has."""
    for message in reversed(page.received):
        number = number_of(json.loads(message))
        if number is not None:
            return number
    return None


async def test_a_recording_has_the_operators_voice_between_the_agents_and_both_sides_apart(
    tmp_path: Path,
) -> None:
    recorded: dict[str, Any] = {"recording": True, "announcement": {"say": "This is recorded."}}
    async with desk(tmp_path, script=QUICK, **recorded) as d:
        page = page_of(d)
        call = await page.dial(await page.open_phone(), GREET, ASK, GREET, WAIT)
        await until(lambda: call.caller.done >= 3)
        operator = await page.socket(await stream_of(page, call.call_sid, "take-over"))
        message = json.dumps({"event": "media", "payload": b64encode(LOUD).decode()}).encode()
        for _ in range(50):
            operator.channel.send_text(message)
            await asyncio.sleep(0.02)  # as a microphone does
        operator.channel.close()
        await until(lambda: operator.closed.done())
        call.stream.hang_up()
        await d.whole.until_ended()
        await d.until_stored()
        record = (await d.ask(f"/api/v1/calls/{call.call_sid}")).json()
        caller, agent = wav.read_stereo(tmp_path / "recordings" / record["call"]["recording"])
    assert voice(HOURS)[160:-160] in caller
    assert LOUD not in caller
    spoke = agent.index(LOUD)
    greeting = voice("Hello! How can I help you today?").strip(SILENCE)
    assert agent.index(greeting[: 10 * FRAME_BYTES]) < spoke
    assert agent.count(LOUD) >= 25, "what the operator said in a second, as the caller heard it"
    told = [each["words"] for each in record["timeline"] if each["kind"] == "event"]
    assert any("handed the caller back" in words for words in told), told
