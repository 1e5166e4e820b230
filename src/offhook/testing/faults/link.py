"""A WebSocket between the server and a peer, and the faults that the peer seems to commit.

The peer is Deepgram, whom the server calls, or Twilio, who calls the server.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from offhook import audio
from offhook.clock import Clock
from offhook.deepgram import messages
from offhook.testing.faults import frames
from offhook.testing.faults.armed import ArmedFaults
from offhook.testing.faults.fault import Fault, FaultyEnd
from offhook.testing.faults.frames import Frame, FrameTooBigError
from offhook.testing.faults.pipe import Pipe

CLOSE_S: Final = 2.0
"""Seconds that the server has to answer a close frame, before the connection is cut."""

_SPEECH: Final = b"\x1a\x9a\x3a\xba" * (audio.FRAME_BYTES // 4)
"""A frame of mu-law sound: loud, and of no meaning."""

_FLOOD_FRAMES: Final = 50
"""Frames of audio in one message of a flood."""

_DEEPGRAM: Final = {
    "Welcome": "welcome",
    "SettingsApplied": "applied",
    "UserStartedSpeaking": "speech",
    "FunctionCallRequest": "function",
    "FunctionCallResponse": "response",
    "AgentAudioDone": "done",
}
"""Moments of Deepgram's messages (MOMENTS)."""


class _Message(msgspec.Struct):
    """Fields of a message of either vendor that tell its moment and its call."""

    type: str = ""
    event: str = ""
    role: str = ""
    request_id: str = ""
    start: dict[str, Any] = {}


_read: Final = msgspec.json.Decoder(_Message).decode


class Link:
    """A WebSocket through the proxy. `ids` are the request ids or CallSids that were seen on it."""

    def __init__(self, end: FaultyEnd, clock: Clock, armed: ArmedFaults) -> None:
        self.end: Final = end
        self.ids: Final = set[str]()
        self._clock = clock
        self._armed = armed
        self._over = asyncio.Event()
        self._leaving = False
        self._half_open = False
        self._media = b""
        """Latest audio message of Twilio."""
        self._tasks: list[asyncio.Task[None]] = []
        self._group: asyncio.TaskGroup
        self._inbound: Pipe
        """From the peer to the server."""
        self._outbound: Pipe

    async def run(
        self,
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        peer: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Pass messages until either side ends; then end the other, and leave no task."""
        server_is_client = self.end is FaultyEnd.AGENT
        self._inbound = Pipe(self._clock, peer[0], server[1], masked=not server_is_client)
        self._outbound = Pipe(self._clock, server[0], peer[1], masked=server_is_client)
        try:
            async with asyncio.TaskGroup() as self._group:
                for pipe in (self._inbound, self._outbound):
                    self._spawn(self._pump(pipe))
                for fault in self._armed.due(self.end, ""):
                    self.commit_at(fault)
                await self._over.wait()
                for task in self._tasks:
                    task.cancel()
        finally:
            self._over.set()
            for pipe in (self._inbound, self._outbound):
                pipe.sink.close()

    @property
    def is_open(self) -> bool:
        """True until the link is over or its end has left it."""
        return not (self._over.is_set() or self._leaving)

    def commit(self, fault: Fault) -> None:
        """Commit a fault now. Does nothing when the link is over."""
        if not self.is_open:
            return
        self._armed.note(fault)
        seconds = fault.number
        count = int(seconds) if seconds < float("inf") else 0
        match fault.kind:
            case "close":
                self._leave(self._closing(int(fault.value) if fault.value else None))
            case "error":
                self._leave(self._error(fault.value) + self._closing(None))
            case "error-open":
                self._inbound.push(self._error(fault.value))
            case "warning":
                text = messages.Warning(fault.value, "The fault rig says so.")
                self._inject(frames.TEXT, messages.write(text))
            case "drop":
                self._over.set()
            case "reset":
                reset(self._inbound.sink)
                self._over.set()
            case "stall":
                self._for_a_while(self._stall, seconds)
            case "half-open":
                self._half_open = True
                self._outbound.swallows = True
                self._outbound.sink.transport.abort()
            case "mute":
                self._for_a_while(self._mute, seconds)
            case "latency":
                self._slow_down(latency_s=seconds / 1000)
            case "dribble":
                self._slow_down(rate=seconds)
            case "reorder":
                self._inbound.swaps += count
            case "garbage":
                for _ in range(count):
                    self._inject(frames.TEXT, b'{"type": "ConversationText", "role"')
            case "unknown":
                unknown = b'{"type":"SomethingNew","event":"somethingNew","content":[1,2]}'
                for _ in range(count):
                    self._inject(frames.TEXT, unknown)
            case "noise":
                self._inbound.push(bytes(0xF3 for _ in range(count)))
            case "flood":
                self._spawn(self._flood(count))
            case _:
                raise AssertionError(f"{fault.kind} is committed at an opening")

    # --- What passes ---

    async def _pump(self, pipe: Pipe) -> None:
        with contextlib.suppress(ConnectionError, FrameTooBigError, TimeoutError):
            await pipe.run(self._seen)
        if not (self._half_open and pipe is self._inbound):
            self._over.set()

    def _seen(self, pipe: Pipe, frame: Frame) -> None:
        """Note a message, and commit the faults that are due before it."""
        inbound = pipe is self._inbound
        if frame.opcode == frames.CLOSE:
            if self._leaving and not inbound:
                self._over.set()
            return
        moment = ""
        if frame.opcode == frames.BINARY:
            moment = "audio" if inbound else ""
        elif frame.opcode == frames.TEXT:
            moment = self._moment(frame, inbound=inbound)
        if moment:
            for fault in self._armed.due(self.end, moment):
                self.commit_at(fault)

    def _moment(self, frame: Frame, *, inbound: bool) -> str:
        try:
            message = _read(frame.payload)
        except msgspec.DecodeError:
            return ""
        if self.end is FaultyEnd.STREAM:
            if message.event == "media" and inbound:
                self._media = frame.payload
            elif message.event == "start":
                self.ids.add(str(message.start.get("callSid", "")))
            return message.event if inbound or message.event == "clear" else ""
        if message.request_id:
            self.ids.add(message.request_id)
        if message.type == "ConversationText":
            return "turn" if message.role == "user" else "sentence"
        return _DEEPGRAM.get(message.type, "")

    # --- What faults are made of ---

    def commit_at(self, fault: Fault) -> None:
        """Commit a fault as long after now as it says."""
        after_s = 0.0 if fault.at is None else fault.at.after_s
        if after_s:
            self._after(after_s, lambda: self.commit(fault))
        else:
            self.commit(fault)

    def _leave(self, last: bytes) -> None:
        """Send the last bytes of the end, and wait a little for the server to close."""
        self._inbound.send(last)
        self._inbound.swallows = self._outbound.swallows = True
        self._leaving = True
        self._after(CLOSE_S, self._over.set)

    def _closing(self, code: int | None) -> bytes:
        return frames.close(code, masked=self._inbound.masked)

    def _error(self, code: str) -> bytes:
        text = messages.write(messages.Error(code, "The fault rig says so."))
        return frames.make(frames.TEXT, text, masked=self._inbound.masked)

    def _inject(self, opcode: int, payload: bytes) -> None:
        self._inbound.push(frames.make(opcode, payload, masked=self._inbound.masked))

    def _stall(self, on: bool) -> None:
        for pipe in (self._inbound, self._outbound):
            pipe.stall(on)

    def _mute(self, on: bool) -> None:
        self._inbound.swallows = on

    def _for_a_while(self, switch: Callable[[bool], None], seconds: float) -> None:
        switch(True)
        if seconds < float("inf"):
            self._after(seconds, lambda: switch(False))

    def _slow_down(self, *, latency_s: float | None = None, rate: float | None = None) -> None:
        if self._inbound.slow_down(latency_s=latency_s, rate=rate):
            self._spawn(self._deliver())

    async def _deliver(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._inbound.deliver()

    async def _flood(self, seconds: int) -> None:
        if self.end is FaultyEnd.AGENT:
            text = messages.ConversationText("assistant", "One two three.")
            self._inject(frames.TEXT, messages.write(text))
            piece = frames.make(frames.BINARY, _SPEECH * _FLOOD_FRAMES, masked=False)
            count = seconds * 50 // _FLOOD_FRAMES
        else:
            piece = frames.make(frames.TEXT, self._media, masked=True)
            count = seconds * 50
        with contextlib.suppress(ConnectionError):
            for _ in range(count):
                self._inbound.send(piece)
                await self._inbound.sink.drain()
                await asyncio.sleep(0)  # what the server sends meanwhile must pass, too

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            act()

        self._spawn(wait())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(self._group.create_task(work))


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection so that its other side sees a reset (RST)."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
