"""Callers and agents of bench/faults.py, which talk without end and count what comes back.

The agent says numbered things, so that each line can be told from all others; its audio comes in
pieces of 100 ms, as Deepgram's may. Every second session is a conversation: a line ten times a
second, of the caller and of the agent in turn. The others are one long answer of the agent's, which
never ends by itself. The audio of a session says in each of its frames whose it is, and of which
line, so that no hold tone is taken for the agent. The callers are plain streams of 20 ms, on the
load's sockets of `offhook bench`, which cost a fifth of a library's.
"""

import asyncio
import contextlib
import json
import math
import re
import secrets
import ssl
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlencode

import websockets
from bench.trial_server import PATIENCE_S, TOKEN

from offhook.bench.load import sockets
from offhook.twilio.signature import HEADER, sign

ACCOUNT = "AC" + "a" * 32
STREAM = "MZ" + "b" * 32
FRAME = b"\xff" * 160
FRAME_S = 0.02
PIECE_S = 0.1
PATTERNS = 100
"""Copies of `pattern` in a piece of an agent's audio: 800 bytes."""
PATTERN_SIZE = 8
LETTER_S = 0.06 * 1.05
"""Seconds of audio for a letter: a twentieth slower than the server expects (call/heard_text.py),
so that it never takes a word for unheard that was."""
DIGIT_LETTERS = 5
"""Letters that a digit takes, as the server expects."""
GONE_S = 15.0
"""No session of an agent may be left so many seconds after all callers have hung up."""
RETRIES = 6
"""Attempts of a request: Twilio's first one, and its five retries (twilio.md §4.2)."""
LATE_S = 0.05
"""A load that is later than that has delayed what it measures."""

_TOKEN = re.compile(r'name="token" value="([^"]+)"')
_BEGIN, _END = b"\x55\xaa", b"\xaa\x55"
_PAYLOAD = b'"payload":"'


def line_of(session: int, number: int) -> str:
    """Return the text of a line."""
    return f"call {session} says line {number}"


def pattern(session: int, line: int) -> bytes:
    """Return the bytes of which the audio of a line of the agent's consists."""
    return _BEGIN + session.to_bytes(2) + line.to_bytes(2) + _END


def whose(text: bytes) -> tuple[int, int] | None:
    """Return session and line of a message of audio to the caller; None: it is no agent's."""
    at = text.find(_PAYLOAD) + len(_PAYLOAD)
    audio = b64decode(text[at : at + 12])[:PATTERN_SIZE]
    if not (audio.startswith(_BEGIN) and audio.endswith(_END)):
        return None
    return int.from_bytes(audio[2:4]), int.from_bytes(audio[4:6])


@dataclass
class Told:
    """What a server has had from its agent: the text of each line, and when that was certain."""

    lines: list[tuple[str, float]] = field(default_factory=list)
    """Lines of the caller's."""
    said: list[tuple[str, float]] = field(default_factory=list)
    """Lines of the agent's own."""

    def before(self, moment: float) -> set[str]:
        """Return the caller's lines that arrived before a moment."""
        return {text for text, arrived_at in self.lines if arrived_at < moment}

    def said_before(self, moment: float) -> set[str]:
        """Return the agent's lines that arrived before a moment."""
        return {text for text, arrived_at in self.said if arrived_at < moment}


class TalkingAgent:
    """A Deepgram that talks without end."""

    def __init__(self) -> None:
        self.told = Told()
        self._sessions = 0
        self.open = 0
        self.greeted = 0
        """Sessions that were to begin with the greeting."""

    async def serve(self, socket_: websockets.ServerConnection) -> None:
        self._sessions += 1
        self.open += 1
        try:
            await self._serve(socket_, self._sessions)
        finally:
            self.open -= 1

    async def until_alone(self) -> None:
        """Wait until no session is left; one that is left after GONE_S stays."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE_S):
                while self.open:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    async def _serve(self, socket_: websockets.ServerConnection, me: int) -> None:
        try:
            await socket_.send(json.dumps({"type": "Welcome", "request_id": f"request-{me}"}))
            settings = json.loads(await socket_.recv())
            self.greeted += "greeting" in settings["agent"]
            await socket_.send('{"type": "SettingsApplied"}')
            talk = self._talk if me % 2 else self._answer
            await asyncio.gather(talk(socket_, me), self._listen(socket_))
        except websockets.ConnectionClosed:
            pass

    async def _listen(self, socket_: websockets.ServerConnection) -> None:
        async for _ in socket_:
            pass

    async def _talk(self, socket_: websockets.ServerConnection, me: int) -> None:
        """Hold a conversation: a line with each piece of audio."""
        began = time.monotonic()
        for number in range(10**9):
            await self._say(socket_, "user" if number % 2 else "assistant", line_of(me, number))
            await socket_.send(pattern(me, number - number % 2) * PATTERNS)
            await asyncio.sleep(max(0.0, began + number * PIECE_S - time.monotonic()))

    async def _answer(self, socket_: websockets.ServerConnection, me: int) -> None:
        """Give one long answer, at the pace of speech."""
        began = time.monotonic()
        pieces = 0
        for number in range(10**9):
            text = line_of(me, number)
            await self._say(socket_, "assistant", text)
            letters = sum(DIGIT_LETTERS if one.isdigit() else one.isalpha() for one in text)
            for _ in range(math.ceil(letters * LETTER_S / PIECE_S)):
                await socket_.send(pattern(me, number) * PATTERNS)
                pieces += 1
                await asyncio.sleep(max(0.0, began + pieces * PIECE_S - time.monotonic()))

    async def _say(self, socket_: websockets.ServerConnection, role: str, text: str) -> None:
        line = {"type": "ConversationText", "role": role, "content": text}
        await socket_.send(json.dumps(line))
        arrived = cast("asyncio.Future[float]", await socket_.ping())
        lines = self.told.lines if role == "user" else self.told.said
        arrived.add_done_callback(partial(_arrived, lines, text))


def _arrived(lines: list[tuple[str, float]], text: str, answered: asyncio.Future[float]) -> None:
    if not answered.cancelled() and answered.exception() is None:
        lines.append((text, time.monotonic()))


@asynccontextmanager
async def agent(certificate: Path | None = None) -> AsyncIterator[tuple[TalkingAgent, int]]:
    """An agent and its port, over TLS if there is a certificate with its key."""
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    one = TalkingAgent()
    serving = websockets.serve(one.serve, "127.0.0.1", 0, compression=None, ssl=tls)
    async with serving as server:
        yield one, server.sockets[0].getsockname()[1]


@dataclass
class ReturningCaller:
    """A stream of audio to the server's /twilio, and how long it was without an answer."""

    call_sid: str = field(default_factory=lambda: "CA" + secrets.token_hex(16))
    longest_silence_s: float = 0.0
    heard: int = 0
    """Messages of audio."""
    backs: list[float] = field(default_factory=list)
    """Seconds from each break of the stream to the agent's next words, of a new session."""
    held: int = 0
    """Messages of audio that were no agent's: tones of a line that is held."""
    broke_at: float | None = None
    latest_s: float = 0.0
    """By how much a frame of this caller was late at most: the load was."""
    _marked: list[tuple[float, int, int]] = field(default_factory=list)
    """Time of each mark, and session and line of what was played then."""
    _playing: tuple[int, int] = (0, 0)
    _session_before: int = 0
    """Session that was heard when the stream broke."""
    _heard_at: float | None = None
    _socket: sockets.LoadSocket = field(init=False)
    _closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask_voice(self, port: int) -> str | None:
        """Ask the voice webhook; return the token of the stream that it names, or None."""
        return await self._ask(port, "/twilio/voice")

    async def call(self, port: int, stop: asyncio.Event, token: str | None = None) -> None:
        """Call, and go on after each stream that breaks off, as Twilio does.

        With a `token` the voice webhook was asked before.
        """
        token = token or await self.ask_voice(port)
        number = 0
        while token is not None:
            await self._talk(port, token, stop)
            token = None
            if not stop.is_set():
                self.broke_at = self.broke_at or time.monotonic()
                query = f"?stream={number}" if number else ""
                token = await self._ask(port, f"/twilio/after{query}")
                number += 1

    async def _ask(self, port: int, path: str) -> str | None:
        """Request a document; return the token of the stream that it names, or None."""
        form = {"CallSid": self.call_sid, "AccountSid": ACCOUNT, "To": "+12025550100"}
        form["CallStatus"] = "in-progress"
        host = f"127.0.0.1:{port}"
        body = urlencode(form).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
            f"{HEADER}: {sign(TOKEN, f'https://{host}{path}', form.items())}"
        )
        for _ in range(RETRIES):
            with contextlib.suppress(sockets.RefusedError, OSError):
                async with asyncio.timeout(PATIENCE_S):
                    found = _TOKEN.search(await sockets.request(port, head, body))
                return None if found is None else found[1]
            await asyncio.sleep(0.05)  # a port without a listener refuses at once
        return None

    async def _talk(self, port: int, token: str, stop: asyncio.Event) -> None:
        signature = sign(TOKEN, "wss://127.0.0.1/twilio")
        try:
            self._socket, rest = await sockets.upgrade(port, f"{HEADER}: {signature}")
        except sockets.RefusedError:
            return
        self._closed.clear()
        self._heard_at = None
        self._socket.begin(self, rest)
        self._start(token)
        await self._speak(stop)
        self._socket.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._closed.wait()

    def _start(self, token: str) -> None:
        self._socket.send_text(b'{"event": "connected", "protocol": "Call", "version": "1.0.0"}')
        details = {
            "accountSid": ACCOUNT,
            "callSid": self.call_sid,
            "streamSid": STREAM,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": token},
        }
        start = {"event": "start", "sequenceNumber": "1", "streamSid": STREAM, "start": details}
        self._socket.send_text(json.dumps(start).encode())

    async def _speak(self, stop: asyncio.Event) -> None:
        began = time.monotonic()
        number = 0
        while not stop.is_set() and self._socket.is_open:
            self._socket.send_text(_MEDIA % (number + 2, number + 1, number * 20))
            number += 1
            due = began + number * FRAME_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.latest_s = max(self.latest_s, time.monotonic() - due)
        stopped: dict[str, object] = {
            "event": "stop",
            "streamSid": STREAM,
            "sequenceNumber": str(number + 2),
        }
        stopped["stop"] = {"accountSid": ACCOUNT, "callSid": self.call_sid}
        self._socket.send_text(json.dumps(stopped).encode())

    def played_before(self, moment: float) -> dict[int, int]:
        """Return the line of each session that was played at its last mark before a moment."""
        return {session: line for at, session, line in self._marked if at < moment}

    def opened(self) -> None:
        """Forget the opening, which is like nothing else."""
        self.latest_s = self.longest_silence_s = 0.0
        self.backs.clear()

    # --- LoadReceiver ---

    def on_text(self, text: bytes) -> None:
        if b'"mark"' in text:
            self._socket.send_text(text)
            self._marked.append((time.monotonic(), *self._playing))
        elif b'"media"' in text:
            now = time.monotonic()
            if self._heard_at is not None:
                self.longest_silence_s = max(self.longest_silence_s, now - self._heard_at)
            self._heard_at = now
            self.heard += 1
            agents = whose(text)
            if agents is None:
                self.held += 1
                return
            self._playing = agents
            if self.broke_at is None:
                self._session_before = agents[0]
            elif agents[0] > self._session_before:
                self.backs.append(now - self.broke_at)
                self.broke_at = None

    def on_binary(self, data: bytes) -> None:
        """Take what Twilio does not send."""

    def on_close(self) -> None:
        self.broke_at = self.broke_at or time.monotonic()
        self._closed.set()


_MEDIA = (
    b'{"event":"media","sequenceNumber":"%d","streamSid":"'
    + STREAM.encode()
    + b'","media":{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"'
    + b64encode(FRAME)
    + b'"}}'
)


async def heard(callers: list[ReturningCaller], messages: int) -> None:
    """Wait until each of them has heard so many messages more."""
    wanted = [(caller, caller.heard + messages) for caller in callers]
    async with asyncio.timeout(PATIENCE_S):
        while any(caller.heard < count for caller, count in wanted):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def until_back(callers: list[ReturningCaller]) -> None:
    """Wait until each has heard the agent again; who is not back after a minute is not."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60):
            while not all(caller.backs for caller in callers):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@asynccontextmanager
async def talking(port: int, count: int) -> AsyncIterator[list[ReturningCaller]]:
    """That many calls, which have talked for a moment; afterwards they hang up."""
    callers = [ReturningCaller() for _ in range(count)]
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for caller in callers:
            group.create_task(caller.call(port, stop))
        await heard(callers, 5)
        for caller in callers:
            caller.opened()
        yield callers
        stop.set()
