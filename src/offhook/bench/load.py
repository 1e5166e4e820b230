"""The load: simulated callers and an agent sink, in one process on a core of its own.

Frame k of call i leaves at t0 + phase_i + 20 ms · k, whether the ones before it arrived or not; the
phases are spread over the 20 ms in steps of one, which is as fine as loops keep time. A process
that falls behind sends everything it owes, and its lateness is measured and told.
"""

import asyncio
import ssl
import sys
import time
from binascii import a2b_base64, b2a_base64
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from random import Random
from typing import Any, Final

import msgspec

from offhook.audio import FRAME_BYTES
from offhook.bench import child
from offhook.bench.frames import BODY, BODY_64, HEAD, HEAD_64, SAMPLE, FrameFaults, Order
from offhook.deepgram import messages as deepgram
from offhook.net import websocket
from offhook.twilio import messages as media
from offhook.twilio.signature import HEADER, sign

MAX_MESSAGE: Final = 1024 * 1024
CONNECT_S: Final = 10.0
OPENING_AT_ONCE: Final = 20

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


# --- Messages from the runner and to it --------------------------------------------------------


class PlaceCalls(msgspec.Struct, frozen=True, tag=True):
    """Place calls `first` to `first` + `calls` - 1, and go on with all of them."""

    port: int
    calls: int
    first: int
    token: str

    def __repr__(self) -> str:
        return f"Open({self.calls} calls)"


class Churn(msgspec.Struct, frozen=True, tag=True):
    """Place `calls` short calls, `at_once` at a time, each until `frames` of its agent came."""

    port: int
    calls: int
    at_once: int
    frames: int
    token: str

    def __repr__(self) -> str:
        return f"Churn({self.calls} calls)"


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Begin to measure."""


class Finish(msgspec.Struct, frozen=True, tag=True):
    """Report the measurements."""


class EndCalls(msgspec.Struct, frozen=True, tag=True):
    """End every call."""


class Measured(msgspec.Struct):
    """Measurements of a process of the load between Begin and Finish. Times are lists of ns.

    Faults and calls that broke count from the first frame on.
    """

    up: list[int] = []
    """Added delay of the sampled frames, caller to agent."""
    up_last: list[int] = []
    """Added delay of the last frame in each message, caller to agent: without time in batches."""
    down: list[int] = []
    barge_in: list[int] = []
    """Times from UserStartedSpeaking out of the sink to `clear` at the caller's end."""
    late: list[int] = []
    """Lateness of the sampled frames against the load's schedule."""
    sent_up: int = 0
    received_up: int = 0
    sent_down: int = 0
    received_down: int = 0
    lost: int = 0
    disordered: int = 0
    doubled: int = 0
    damaged: int = 0
    uncleared: int = 0
    """Number of barge-ins that no `clear` followed."""
    broken_calls: int = 0
    cpu_ns: int = 0
    elapsed_ns: int = 0


# --- The schedule ------------------------------------------------------------------------------

Step = Callable[[int], None]
"""Function that sends the frame that is due at a time, in ns."""


class Wheel:
    """Scheduler that calls each step once a turn, at the step's own millisecond."""

    def __init__(self, turn_ms: int) -> None:
        self._slots: list[list[Step]] = [[] for _ in range(turn_ms)]
        self._slot = 0
        self._due = time.perf_counter_ns()
        self._tick()

    def add(self, slot: int, step: Step) -> None:
        """Call a step from now on, until it is removed."""
        self._slots[slot % len(self._slots)].append(step)

    def remove(self, slot: int, step: Step) -> None:
        """Stop calling a step. A list that is being iterated stays as it is."""
        at = slot % len(self._slots)
        self._slots[at] = [other for other in self._slots[at] if other != step]

    def _tick(self) -> None:
        asyncio.get_running_loop().call_later(0.001, self._tick)
        now = time.perf_counter_ns()
        while self._due <= now:
            for step in self._slots[self._slot]:
                step(self._due)
            self._slot = (self._slot + 1) % len(self._slots)
            self._due += 1_000_000


# --- The two ends of a call --------------------------------------------------------------------

_CONNECTED: Final = media.write(media.Connected())
_MEDIA: Final = (
    b'{"event":"media","sequenceNumber":"%%d","media":{"track":"inbound","chunk":"%%d",'
    b'"timestamp":"%%d","payload":"%%b' + BODY_64 + b'"},"streamSid":"%b"}'
)


class LoadCaller:
    """A simulated caller with Twilio's side of its stream: a websocket.Receiver."""

    def __init__(self, name: str, load: "Load", slot: int, enough: int = 1) -> None:
        self.answered = asyncio.Event()
        """Set when `enough` frames of the agent came, or the call is over."""
        self.closed = asyncio.Event()
        self._call_sid = f"CA{name:0>32}"
        self._stream_sid = f"MZ{name:0>32}"
        self._load = load
        self._slot = slot
        self._enough = enough
        self._socket: websocket.Channel
        self._order = Order(load.faults)
        self._template = _MEDIA % self._stream_sid.encode()
        self._sent = 0
        self._cleared_at = 0
        self._media_size = 0
        self._payload_at = 0
        # Counts of frames: received from the agent, played of these, and before each mark.
        self._received = 0
        self._played = 0
        self._marks: deque[tuple[int, str]] = deque()
        self._leaving = False

    def on_open(self, socket: websocket.Channel) -> None:
        """Begin the stream, and send a frame each 20 ms from now on."""
        self._socket = socket
        start = media.StartDetails("AC" + "0" * 32, self._call_sid, self._stream_sid, ["inbound"])
        socket.send_text(_CONNECTED)
        socket.send_text(media.write(media.Start(self._stream_sid, start)))
        self._load.wheel.add(self._slot, self._step)

    def hang_up(self) -> None:
        """End the stream as Twilio does."""
        self._leave()
        self._socket.send_text(media.write(media.Stop(self._stream_sid)))
        self._socket.close()

    def on_text(self, text: bytes) -> None:
        """Take a message, nearly always a frame of the agent, whose size is always the same."""
        if len(text) != self._media_size:
            self._on_other(text)
            return
        body_at = self._payload_at + HEAD_64
        if text[body_at : body_at + len(BODY_64)] != BODY_64:
            self._load.faults.damaged += 1
            return
        self._hear(*HEAD.unpack(a2b_base64(text[self._payload_at : body_at])))

    def on_binary(self, data: bytes) -> None:
        """Count a fault: Twilio takes no binary messages."""
        self._load.faults.damaged += 1

    def on_writable(self, writable: bool) -> None:
        """Ignore a bridge that does not read: it makes the load late, which is measured."""

    def on_close(self, closed: websocket.Closed) -> None:
        """Note that the stream is gone."""
        if not self._leaving:
            self._load.measured.broken_calls += 1
        self._leave()
        self.answered.set()
        self.closed.set()

    def _leave(self) -> None:
        self._leaving = True
        self._load.wheel.remove(self._slot, self._step)

    def _step(self, due: int) -> None:
        if self._played < self._received:
            self._played += 1
        while self._marks and self._marks[0][0] <= self._played:
            self._echo()
        now = time.perf_counter_ns()
        number = self._sent
        head = b2a_base64(HEAD.pack(0, number, now, self._cleared_at), newline=False)
        self._socket.send_text(self._template % (number + 2, number + 1, 20 * number, head))
        self._sent = number + 1
        measured = self._load.measured
        measured.sent_up += 1
        if number % SAMPLE == 0:
            measured.late.append(now - due)

    def _echo(self) -> None:
        _, name = self._marks.popleft()
        self._socket.send_text(media.write(media.Mark(self._stream_sid, media.MarkName(name))))

    def _on_other(self, text: bytes) -> None:
        message = media.read_ours(text)
        match message:
            case media.SetMark():
                self._marks.append((self._received, message.mark.name))
            case media.Clear():
                self._cleared_at = time.perf_counter_ns()
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
                    self._media_size = len(text)
                    self._payload_at = text.index(b'"', text.index(b'"payload"') + 9) + 1

    def _hear(self, utterance: int, number: int, sent_at: int, size_before: int) -> None:
        self._order.check(utterance, number, size_before)
        self._received += 1
        measured = self._load.measured
        measured.received_down += 1
        if number % SAMPLE == 0:
            measured.down.append(time.perf_counter_ns() - sent_at)
        if self._received == self._enough:
            self.answered.set()


_WELCOME: Final = deepgram.write(deepgram.Welcome("loopback"))
_APPLIED: Final = deepgram.write(deepgram.SettingsApplied())
_STARTED: Final = deepgram.write(deepgram.UserStartedSpeaking())
_DONE: Final = deepgram.write(deepgram.AgentAudioDone())
_ASKED: Final = deepgram.write(deepgram.ConversationText("user", "And when do you open?"))
_SAYS: Final = deepgram.write(
    deepgram.ConversationText("assistant", "We open at nine, and we close at half past five.")
)


class AgentSink:
    """A session of the sink, which speaks Deepgram's protocol: a websocket.Receiver."""

    def __init__(self, load: "Load", slot: int) -> None:
        self._load = load
        self._slot = slot
        self._socket: websocket.Channel
        self._order = Order(load.faults)
        self._life: Iterator[None]
        self._due = 0
        self._interrupted_at = 0
        self._settled = False

    def on_open(self, socket: websocket.Channel) -> None:
        """Send Welcome: the server speaks first."""
        self._socket = socket
        socket.send_text(_WELCOME)

    def on_text(self, text: bytes) -> None:
        """Answer Settings once; nothing after it needs an answer."""
        if not self._settled:
            self._settled = True
            self._socket.send_text(_APPLIED)
            self._life = self._idle() if self._load.idle else self._converse()
            self._load.wheel.add(self._slot, self._step)

    def on_binary(self, data: bytes) -> None:
        """Take the caller's audio: one frame, or several from a bridge that batches."""
        measured = self._load.measured
        number = sent_at = 0
        for at in range(0, len(data), FRAME_BYTES):
            if data[at + HEAD.size : at + FRAME_BYTES] != BODY:
                self._load.faults.damaged += 1
                continue
            _, number, sent_at, cleared_at = HEAD.unpack_from(data, at)
            self._order.check(0, number, 0)
            measured.received_up += 1
            if self._interrupted_at and cleared_at > self._interrupted_at:
                measured.barge_in.append(cleared_at - self._interrupted_at)
                self._interrupted_at = 0
        if number % SAMPLE == 0 or len(data) > FRAME_BYTES:
            now = time.perf_counter_ns()
            measured.up_last.append(now - sent_at)
            for at in range(0, len(data), FRAME_BYTES):
                measured.up.append(now - HEAD.unpack_from(data, at)[2])

    def on_writable(self, writable: bool) -> None:
        """Ignore a bridge that does not read: it makes the load late, which is measured."""

    def on_close(self, closed: websocket.Closed) -> None:
        """Note that the bridge hung up."""
        if self._settled:
            self._load.wheel.remove(self._slot, self._step)

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
                self._interrupted_at = time.perf_counter_ns()
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
        now = time.perf_counter_ns()
        self._socket.send_binary(HEAD.pack(utterance, number, now, size_before) + BODY)
        measured = self._load.measured
        measured.sent_down += 1
        if number % SAMPLE == 0:
            measured.late.append(now - self._due)


# --- The process -------------------------------------------------------------------------------


class Load:
    """The load of this process. Idle calls send and receive a frame once in `turn_ms`."""

    def __init__(self, turn_ms: int, *, idle: bool) -> None:
        self.idle = idle
        self.faults = FrameFaults()
        self.measured = Measured()
        self.wheel = Wheel(turn_ms)
        self._sessions = 0
        self._callers: list[LoadCaller] = []
        self._began: child.Usage = child.usage()

    def decide(self, upgrade: websocket.Upgrade) -> websocket.Acceptance:
        """Accept every session."""
        self._sessions += 1
        # 7 and 20 share no factor: consecutive sessions speak at well spread milliseconds.
        return websocket.Acceptance(AgentSink(self, 7 * self._sessions))

    async def open(self, command: PlaceCalls) -> None:
        """Place calls that stay."""
        names = iter(range(command.first, command.first + command.calls))

        async def place_some() -> None:
            for name in names:
                caller = LoadCaller(str(name), self, 7 * name + 3)
                if await self._place(caller, command.port, command.token):
                    self._callers.append(caller)

        await self._together(place_some, OPENING_AT_ONCE)

    async def churn(self, command: Churn) -> None:
        """Place short calls, one after another."""
        names = iter(range(command.calls))

        async def place_some() -> None:
            for name in names:
                caller = LoadCaller(str(name), self, 7 * name + 3, command.frames)
                if await self._place(caller, command.port, command.token):
                    caller.hang_up()
                    await caller.closed.wait()
                if name % 100 == 99:
                    child.tell({"placed": name + 1})

        await self._together(place_some, command.at_once)

    def begin(self) -> None:
        """Measure from now on."""
        broken, uncleared = self.measured.broken_calls, self.measured.uncleared
        self.measured = Measured(broken_calls=broken, uncleared=uncleared)
        self._began = child.usage()

    def finish(self) -> Measured:
        """Return what was measured."""
        now, measured, faults = child.usage(), self.measured, self.faults
        measured.lost, measured.disordered = faults.lost, faults.disordered
        measured.doubled, measured.damaged = faults.doubled, faults.damaged
        measured.cpu_ns = now.cpu_ns - self._began.cpu_ns
        measured.elapsed_ns = now.at_ns - self._began.at_ns
        return measured

    async def hang_up(self) -> None:
        """End every call."""
        for caller in self._callers:
            if not caller.closed.is_set():
                caller.hang_up()
        for caller in self._callers:
            await caller.closed.wait()

    async def _place(self, caller: LoadCaller, port: int, token: str) -> bool:
        """Place a call. Return whether it was answered."""
        try:
            await websocket.connect(
                f"ws://{child.HOST}:{port}/twilio",
                caller,
                headers={HEADER: sign(token, f"wss://{child.HOST}/twilio")},
                timeout=CONNECT_S,
                max_size=MAX_MESSAGE,
            )
        except (websocket.UpgradeRefusedError, websocket.UnreachableError):
            self.measured.broken_calls += 1
            return False
        try:
            async with asyncio.timeout(CONNECT_S):
                await caller.answered.wait()
        except TimeoutError:
            self.measured.broken_calls += 1
            return False
        return not caller.closed.is_set()

    @staticmethod
    async def _together(place_some: Callable[[], Coroutine[Any, Any, None]], n: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(n):
                group.create_task(place_some())


_commands: Final = msgspec.json.Decoder[PlaceCalls | Churn | Begin | Finish | EndCalls](
    PlaceCalls | Churn | Begin | Finish | EndCalls
)


class Spec(msgspec.Struct, frozen=True):
    """Arguments of a process of the load."""

    port: int
    """Port of the sink; 0 is any that is free."""
    turn_ms: int = 20
    idle: bool = False
    certificate: str | None = None
    """A PEM file with key and chain: the sink speaks TLS."""


async def obey(spec: Spec) -> None:
    """Obey the runner's messages, until it ends."""
    load = Load(spec.turn_ms, idle=spec.idle)
    tls = None
    if spec.certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(spec.certificate)
    listener = child.shared_listener(spec.port)
    server = await asyncio.get_running_loop().create_server(
        lambda: child.Upgrading(load.decide, MAX_MESSAGE), sock=listener, ssl=tls, backlog=1024
    )
    child.tell({"port": listener.getsockname()[1]})
    async for line in child.told():
        match command := _commands.decode(line):
            case PlaceCalls():
                await load.open(command)
                child.tell({"open": True})
            case Churn():
                await load.churn(command)
                child.tell({"open": False})
            case Begin():
                load.begin()
            case Finish():
                child.tell(load.finish())
            case EndCalls():
                await load.hang_up()
                child.tell({"open": False})
    server.close()


def main() -> None:
    """`python -m offhook.bench.load SPEC`: started by the runner."""
    child.run(obey(msgspec.json.decode(sys.argv[1], type=Spec)))


if __name__ == "__main__":
    main()
