"""The agent of the load: a sink for the caller's audio, which speaks Deepgram's protocol."""

import sys
import time
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Final

from offhook.audio import FRAME_BYTES
from offhook.bench.frames import BODY, HEAD, SAMPLE, Order
from offhook.bench.load import sockets
from offhook.bench.load.schedule import TIMED_ENDS
from offhook.deepgram import messages as deepgram

if TYPE_CHECKING:
    from offhook.bench.load.process import Load

CUT_SHARE: Final = 0.3
"""Share of the utterances in which the caller barges in."""
LATE_FRAMES: Final = 3
"""Frames of an utterance that Deepgram still sends after UserStartedSpeaking."""
PAUSE: Final = 25
THINKING: Final = 10
"""Frames of silence between an utterance and the caller's turn, and before the answer to it."""
IDLE_TURN: Final = 10
"""Frames, at the pace of idle calls, between two turns: fewer than the 30 s of silence that Offhook
asks about."""

SETTLED: Final = 25
"""Frames of a caller whose delay is not taken: the first wait until the agent's leg is there."""

_WELCOME: Final = deepgram.write(deepgram.Welcome("loopback"))
_APPLIED: Final = deepgram.write(deepgram.SettingsApplied())
_STARTED: Final = deepgram.write(deepgram.UserStartedSpeaking())
_DONE: Final = deepgram.write(deepgram.AgentAudioDone())
_ASKED: Final = deepgram.write(deepgram.ConversationText("user", "And when do you open?"))
_SAYS: Final = deepgram.write(
    deepgram.ConversationText("assistant", "We open at nine, and we close at half past five.")
)
_FRAME_SIZE: Final = 8 + FRAME_BYTES
_FRAME_BEGIN: Final = b"\x82\xfe"
"""Size and beginning of a frame of audio from a client: binary, masked, of 126 bytes or more."""
_AUDIO: Final = sockets.frame(sockets.BINARY, FRAME_BYTES, masks=False)


class AgentSink:
    """A session of the sink: a LoadReceiver.

    Its socket is watched until the caller's audio comes. From then on it speaks, and is read once a
    turn, half a turn after the caller's frames are due. A session that is not timed is read once in
    three turns, and takes no delays.
    """

    def __init__(self, load: "Load", slot: int, socket: sockets.LoadSocket) -> None:
        self._load = load
        self._slot = slot
        self._read_slot: int | None = None
        self._socket = socket
        self._order = Order(load.faults)
        self._timed = True
        self._life: Iterator[None]
        self._due = 0
        self._interrupted_at = 0
        self._settled = False
        socket.send_text(_WELCOME)  # the server speaks first

    def on_text(self, text: bytes) -> None:
        """Answer Settings once; nothing after it needs an answer."""
        if not self._settled:
            self._settled = True
            self._socket.send_text(_APPLIED)

    def on_binary(self, data: bytes) -> None:
        """Take the caller's audio: one frame, or several from a bridge that batches."""
        measured, order = self._load.measured, self._order
        number = sent_at = 0
        for at in range(0, len(data), FRAME_BYTES):
            if not data.startswith(BODY, at + HEAD.size):
                self._load.faults.damaged += 1
                continue
            _, number, sent_at, cleared_at = HEAD.unpack_from(data, at)
            if number == order.next and not order.utterance:  # check's own first case
                order.next = number + 1
            else:
                order.check(0, number, 0)
            measured.received_up += 1
            self._note_clear(cleared_at)
        if number % SAMPLE == 0 or len(data) > FRAME_BYTES:
            self._sample(data, number, sent_at)
        if self._read_slot is None and sent_at:
            self._socket.unwatch()
            self._timed = len(self._load.timed_sessions) < TIMED_ENDS
            if self._timed:
                self._load.timed_sessions.add(self)
            self._life = self._idle() if self._load.idle else self._converse()
            self._load.wheel.add(self._slot, self._step)
            self._read_slot = self._load.wheel.far_from(time.time_ns() - sent_at)
            self._load.wheel.add(self._read_slot, self._read, rare=not self._timed)

    def _sample(self, data: bytes, number: int, sent_at: int) -> None:
        if number >= SETTLED and self._timed:
            measured, now = self._load.measured, self._socket.arrived_ns
            measured.up_last.append(now - sent_at)
            for at in range(0, len(data), FRAME_BYTES):
                measured.up.append(now - HEAD.unpack_from(data, at)[2])

    def on_close(self) -> None:
        """Note that the bridge hung up."""
        self._load.timed_sessions.discard(self)
        if self._read_slot is not None:
            self._load.wheel.remove(self._slot, self._step)
            self._load.wheel.remove(self._read_slot, self._read)

    def _read(self, due: int) -> None:
        """Take what came: nearly always frames of the caller, whose size is always the same."""
        socket = self._socket
        data = socket.receive()
        if data is None:
            return
        frames, rest = divmod(len(data), _FRAME_SIZE)
        last = len(data) - _FRAME_SIZE
        if (
            rest
            or data[last : last + 2] != _FRAME_BEGIN
            or socket.rest
            or not socket.is_plain
            or (frames > 1 and self._timed)
        ):
            socket.take(data)
            return
        payload = sockets.unmask(data[last + 4 : last + 8], data[last + 8 :])
        if frames == 1:
            self.on_binary(payload)
        elif not self._skips(payload, frames):
            socket.take(data)

    def _skips(self, payload: bytes, frames: int) -> bool:
        """Take the last of several frames for all of them, if that many were due until it."""
        _, number, _, cleared_at = HEAD.unpack_from(payload)
        order = self._order
        if order.utterance or number != order.next + frames - 1 or payload[HEAD.size :] != BODY:
            return False
        order.next = number + 1
        self._load.measured.received_up += frames
        self._note_clear(cleared_at)
        return True

    def _note_clear(self, cleared_at: int) -> None:
        """Take the time of the caller's last `clear`."""
        if self._interrupted_at and cleared_at > self._interrupted_at:
            self._load.measured.barge_in.append(cleared_at - self._interrupted_at)
            self._interrupted_at = 0

    def _step(self, due: int) -> None:
        self._due = due
        next(self._life)

    def _converse(self) -> Iterator[None]:
        """Yield after each frame of 20 ms. Some utterances are cut by a barge-in."""
        random = Random(self._slot)
        tell = self._socket.send_text
        size_before = 0
        for utterance in range(sys.maxsize):
            tell(_SAYS)
            size = random.randrange(100, 200)
            cut = random.random() < CUT_SHARE
            for number in range(size):
                if number:
                    yield
                self._speak(utterance, number, size_before)
            if cut:
                if self._interrupted_at:
                    self._load.measured.uncleared += 1
                self._interrupted_at = time.time_ns()
                tell(_STARTED)
                for number in range(size, size + LATE_FRAMES):
                    yield
                    self._speak(utterance, number, size_before)
                tell(_DONE)
                size_before = 0
            else:
                tell(_DONE)
                size_before = size
                for _ in range(PAUSE):
                    yield
                tell(_STARTED)
            for _ in range(THINKING):
                yield
            tell(_ASKED)

    def _idle(self) -> Iterator[None]:
        """Say a word now and then, so that the caller is not asked whether they are still there."""
        self._speak(0, 0, 0)
        while True:
            for _ in range(IDLE_TURN):
                yield
            self._socket.send_text(_ASKED)

    def _speak(self, utterance: int, number: int, size_before: int) -> None:
        measured = self._load.measured
        if number % SAMPLE == 0:
            measured.late.append(time.perf_counter_ns() - self._due)
        self._socket.send(_AUDIO + HEAD.pack(utterance, number, time.time_ns(), size_before) + BODY)
        measured.sent_down += 1
