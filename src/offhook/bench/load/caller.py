"""A simulated caller of the load, with Twilio's side of the stream."""

import asyncio
import re
import time
from binascii import a2b_base64, b2a_base64
from collections import deque
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from offhook.audio import FRAME_BYTES
from offhook.bench.child import HOST
from offhook.bench.frames import BODY, BODY_64, HEAD, HEAD_64, SAMPLE, Order
from offhook.bench.load import sockets
from offhook.bench.load.messages import Road
from offhook.bench.load.schedule import TIMED_ENDS
from offhook.twilio import messages as media
from offhook.twilio.signature import HEADER, sign

if TYPE_CHECKING:
    from offhook.bench.load.process import Load

_ACCOUNT: Final = "AC" + "0" * 32
_CONNECTED: Final = media.write(media.Connected())
_MEDIA: Final = (
    b'{"event":"media","sequenceNumber":"%%d","media":{"track":"inbound","chunk":"%%d",'
    b'"timestamp":"%%d","payload":"%%b' + BODY_64 + b'"},"streamSid":"%b"}'
)
_FRAME_HEAD: Final = 4
"""Bytes before a message of 126 bytes or more, from a server."""
_TOKEN: Final = re.compile(r'name="token" value="([^"]+)"')


class LoadCaller:
    """A simulated caller: a LoadReceiver, one frame each 20 ms.

    Its socket is watched until `enough` frames of the agent came. From then on it is read once a
    turn, half a turn after the agent's frames are due. A caller that is not timed is read once in
    three turns, and takes no delays.
    """

    def __init__(self, name: str, load: "Load", slot: int, enough: int = 1) -> None:
        self.answered = asyncio.Event()
        """Set when `enough` frames of the agent came, or the call is over."""
        self.closed = asyncio.Event()
        self._call_sid = f"CA{name:0>32}"
        self._stream_sid = f"MZ{name:0>32}"
        self._load = load
        self._slot = slot
        self._read_slot: int | None = None
        self._enough = enough
        self._timed = True
        self._socket: sockets.LoadSocket
        self._order = Order(load.faults)
        self._template = _MEDIA % self._stream_sid.encode()
        self._sent = 0
        self._text_size = 0
        self._text_head = b""
        self._cleared_at = 0
        self._frame_size = 0
        self._payload_at = 0
        # Counts of frames: received from the agent, played of these, and before each mark.
        self._received = 0
        self._played = 0
        self._marks: deque[tuple[int, str]] = deque()
        self._leaving = False

    async def call(self, port: int, token: str, road: Road) -> None:
        """Open the stream as Twilio does. Raises RefusedError."""
        parameters = {}
        if road == "webhook":
            parameters = {"token": await self._announce(port, token)}
        signature = f"{HEADER}: {sign(token, f'wss://{HOST}/twilio')}"
        self._socket, rest = await sockets.upgrade(port, signature, self._load.tls)
        self._socket.begin(self, rest)
        start = media.StartDetails(
            _ACCOUNT, self._call_sid, self._stream_sid, ["inbound"], custom_parameters=parameters
        )
        self._socket.send_text(_CONNECTED)
        self._socket.send_text(media.write(media.Start(self._stream_sid, start)))
        self._load.wheel.add(self._slot, self._step)

    async def _announce(self, port: int, token: str) -> str:
        """Ask the voice webhook, and return the token of its stream. Raises RefusedError."""
        found = _TOKEN.search(await self._document(port, token))
        if found is None:
            raise sockets.RefusedError("the webhook opened no stream")
        return found[1]

    async def _document(self, port: int, token: str) -> str:
        """Return the answer of the voice webhook. Raises RefusedError."""
        form = {
            "CallSid": self._call_sid,
            "AccountSid": _ACCOUNT,
            "From": "+12025550123",
            "To": "+12025550100",
            "CallStatus": "ringing",
            "Direction": "inbound",
        }
        body = urlencode(form).encode()
        head = (
            f"POST /twilio/voice HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
            f"{HEADER}: {sign(token, f'https://{HOST}/twilio/voice', form.items())}"
        )
        return await sockets.request(port, head, body)

    def hang_up(self) -> None:
        """End the stream as Twilio does."""
        self._leave()
        self._socket.send_text(media.write(media.Stop(self._stream_sid)))
        self._socket.close()

    def on_binary(self, data: bytes) -> None:
        """Count a fault: Twilio takes no binary messages."""
        self._load.faults.damaged += 1

    def on_close(self) -> None:
        """Note that the stream is gone."""
        if not self._leaving:
            self._load.measured.broken_calls += 1
        self._leave()
        self.answered.set()
        self.closed.set()

    def _leave(self) -> None:
        self._leaving = True
        self._load.timed_callers.discard(self)
        self._load.wheel.remove(self._slot, self._step)
        if self._read_slot is not None:
            self._load.wheel.remove(self._read_slot, self._read)

    def _read(self, due: int) -> None:
        """Take what came: nearly always frames of the agent, whose size is always the same."""
        data = self._socket.receive()
        if data is None:
            return
        size = self._frame_size
        frames, rest = divmod(len(data), size) if size else (0, 0)
        payload_at = len(data) - size + self._payload_at
        body_at = payload_at + HEAD_64
        if (
            frames
            and not rest
            and not self._socket.rest
            and (frames == 1 or not self._timed)
            and data.startswith(BODY_64, body_at)
        ):
            last = HEAD.unpack(a2b_base64(data[payload_at:body_at]))
            if frames == 1:
                self._hear(*last)
                return
            utterance, number = last[:2]
            if utterance == self._order.utterance and number == self._order.next + frames - 1:
                self._order.next = number + 1
                self._received += frames
                self._load.measured.received_down += frames
                return
        self._socket.take(data)

    def _step(self, due: int) -> None:
        if self._played < self._received:
            self._played += 1
        if self._marks:
            while self._marks and self._marks[0][0] <= self._played:
                self._echo()
        number = self._sent
        self._sent = number + 1
        measured = self._load.measured
        measured.sent_up += 1
        if number % SAMPLE == 0:
            measured.late.append(time.perf_counter_ns() - due)
        head = b2a_base64(HEAD.pack(0, number, time.time_ns(), self._cleared_at), newline=False)
        text = self._template % (number + 2, number + 1, 20 * number, head)
        if len(text) != self._text_size:
            self._text_size = len(text)
            self._text_head = sockets.frame(sockets.TEXT, len(text), masks=True)
        self._socket.send(self._text_head + text)

    def _echo(self) -> None:
        _, name = self._marks.popleft()
        self._socket.send_text(media.write(media.Mark(self._stream_sid, media.MarkName(name))))

    def on_text(self, text: bytes) -> None:
        """Take any message."""
        message = media.read_ours(text)
        match message:
            case media.SetMark():
                self._marks.append((self._received, message.mark.name))
            case media.Clear():
                self._cleared_at = self._socket.arrived_ns
                self._played = self._received
                while self._marks:
                    self._echo()
            case media.PlayMessage():
                audio = message.media.payload
                for at in range(0, len(audio), FRAME_BYTES):
                    if audio[at + HEAD.size : at + FRAME_BYTES] == BODY:
                        self._hear(*HEAD.unpack_from(audio, at))
                    else:
                        self._load.faults.damaged += 1
                if len(audio) == FRAME_BYTES:
                    self._frame_size = _FRAME_HEAD + len(text)
                    payload_at = text.index(b'"', text.index(b'"payload"') + 9) + 1
                    self._payload_at = _FRAME_HEAD + payload_at

    def _hear(self, utterance: int, number: int, sent_at: int, size_before: int) -> None:
        order = self._order
        if number == order.next and utterance == order.utterance:  # check's own first case
            order.next = number + 1
        else:
            order.check(utterance, number, size_before)
        self._received += 1
        measured = self._load.measured
        measured.received_down += 1
        if number % SAMPLE == 0 and self._timed:
            measured.down.append(self._socket.arrived_ns - sent_at)
        if self._read_slot is None:
            self._begin_turns(sent_at)

    def _begin_turns(self, sent_at: int) -> None:
        """Stop watching the socket, once enough came."""
        if self._received == self._enough:
            self.answered.set()
        if self._received >= self._enough and not self._leaving:
            self._socket.unwatch()
            self._timed = len(self._load.timed_callers) < TIMED_ENDS
            if self._timed:
                self._load.timed_callers.add(self)
            self._read_slot = self._load.wheel.far_from(time.time_ns() - sent_at)
            self._load.wheel.add(self._read_slot, self._read, rare=not self._timed)
