"""What one audio frame costs, in counts that no noise can change. Speed is bench's matter."""

import asyncio
import gc
import os
import re
import shutil
import signal
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import cast

import pytest
from tests.whole_server import ACCOUNT, ASK, GREET, HANG_UP, QUICK, TOKEN, NoTools, caller

import offhook
from offhook.api.streams import PageStreams, StreamRelay, _ProcessLines
from offhook.call.call_settings import CallSettings
from offhook.call.handoff_actions import HandoffAction
from offhook.calls.agent_session import AgentSession
from offhook.calls.control import CallControl
from offhook.calls.session import Session
from offhook.capture.tap import NewCall
from offhook.clock import LoopClock
from offhook.deepgram import messages
from offhook.deepgram.leg import AgentLeg
from offhook.deepgram.settings import Settings
from offhook.link.channel import LinkChannel
from offhook.link.lines import LineConnection
from offhook.link.processes import ProcessStream
from offhook.net.websocket import Receiver, UnreachableError, UpgradeRefusedError
from offhook.testing.simulator.deepgram import server
from offhook.testing.simulator.deepgram.standin import StandIn
from offhook.testing.simulator.twilio.phone import place_call
from offhook.testing.virtual_clock import VirtualClock
from offhook.twilio import messages as media
from offhook.twilio.stream import CallerLeg

FRAME = b"\xff" * 160
SID = "MZ" + "0" * 32
PLAIN = CallSettings(silence_s=0)


class Counter:
    """A channel that counts what is written to it."""

    def __init__(self) -> None:
        self.receiver: Receiver
        self.writes = 0
        self.bytes = 0
        self.marks: list[str] = []

    def send_text(self, text: bytes) -> None:
        self.writes += 1
        self.bytes += len(text)
        if b'"mark"' in text:
            message = media.read_ours(text)
            assert isinstance(message, media.SetMark)
            self.marks.append(message.mark.name)

    def send_binary(self, data: bytes) -> None:
        self.writes += 1
        self.bytes += len(data)

    def close(self, code: int = 1000, reason: str = "", *, hears_out: bool = False) -> None:
        pass

    def abort(self) -> None:
        pass


class Dialled:
    def cancel(self) -> None:
        pass


class NoControl(CallControl):
    """Control of a call whose stream is never left."""

    def __init__(self) -> None:
        self.call = NewCall("CA1", "agent", by="webhook")  # type: ignore[misc]

    def leave_stream(self, action: HandoffAction, close: Callable[[], None]) -> None:
        raise AssertionError

    def end_phone_call(self, close: Callable[[], None]) -> None:
        close()

    def transfer_by_key(self, destination: str) -> None:
        raise AssertionError


class Rig:
    """A session in mid-call, and what its two legs receive from outside."""

    def __init__(self, settings: CallSettings = PLAIN) -> None:
        self.clock = VirtualClock()
        self.twilio, self.deepgram = Counter(), Counter()
        self.receivers: list[Receiver] = []
        change = Settings("").change
        agent = AgentSession(
            settings, lambda greeting, history, changes: b"{}", change, NoTools(self.clock)
        )
        session = Session(
            "CA1",
            agent,
            clock=self.clock,
            dial=self._dial,
            publish=lambda call_event: None,
            control=NoControl(),
            ended=lambda session: None,
            switch_agent=lambda name: agent,
        )
        details = media.StartDetails(account_sid="AC1", call_sid="CA1")
        session.begin(self.twilio, media.Start(stream_sid=SID, start=details))
        self.caller_leg = self.twilio.receiver
        (self.agent_leg,) = self.receivers
        self.agent_leg.on_open(self.deepgram)
        for message in (messages.Welcome(), messages.SettingsApplied()):
            self.agent_leg.on_text(messages.write(message))
        self.text = media.write(
            media.Media(stream_sid=SID, media=media.MediaDetails(payload=FRAME))
        )
        self.reset()

    def _dial(
        self,
        receiver: Receiver,
        failed: Callable[[UpgradeRefusedError | UnreachableError], None],
        place: int,
    ) -> Dialled:
        self.receivers.append(receiver)
        return Dialled()

    def reset(self) -> None:
        for channel in (self.twilio, self.deepgram):
            channel.writes = channel.bytes = 0

    def hear(self) -> None:
        self.clock.run(0.02)
        self.caller_leg.on_text(self.text)

    def speak(self) -> None:
        self.clock.run(0.02)
        self.agent_leg.on_binary(FRAME)
        while self.twilio.marks:
            name = self.twilio.marks.pop()
            echo = media.Mark(stream_sid=SID, mark=media.MarkName(name=name))
            self.caller_leg.on_text(media.write(echo))


def test_nothing_stands_between_socket_and_leg_unless_it_was_asked_for() -> None:
    rig = Rig()
    assert (type(rig.caller_leg), type(rig.agent_leg)) == (CallerLeg, AgentLeg)
    assert rig.caller_leg._channel is rig.twilio  # type: ignore[attr-defined]
    assert rig.agent_leg._channel is rig.deepgram  # type: ignore[attr-defined]


def test_a_frame_is_one_write_of_the_least_bytes() -> None:
    rig = Rig()
    for _ in range(100):
        rig.hear()
    assert (rig.deepgram.writes, rig.deepgram.bytes) == (100, 16_000)
    assert rig.twilio.writes == 0
    rig.reset()
    for _ in range(101):
        rig.speak()
    marks = 11  # After the first frame, then after every tenth.
    one = len('{"event":"media","streamSid":"","media":{"payload":""}}') + len(SID) + 216
    assert rig.twilio.writes == 101 + marks
    written_as_marks = rig.twilio.bytes - 101 * one
    assert 0 < written_as_marks < marks * 110
    assert rig.deepgram.writes == 0


@pytest.mark.parametrize("direction", [Rig.hear, Rig.speak])
def test_frames_leave_nothing_behind(direction: Callable[[Rig], None]) -> None:
    rig = Rig()
    for _ in range(500):
        direction(rig)
    before = sys.getallocatedblocks()
    for _ in range(5000):
        direction(rig)
    assert sys.getallocatedblocks() - before < 50


@pytest.mark.parametrize(("direction", "most"), [(Rig.hear, 1200), (Rig.speak, 2400)])
def test_a_frame_needs_little_memory_while_it_passes(
    direction: Callable[[Rig], None], most: int
) -> None:
    """Bytes at the peak, of which a frame is 160 and its JSON 350, and nothing once it has gone."""
    rig = Rig()
    for _ in range(200):
        direction(rig)
    tracemalloc.start()
    try:
        direction(rig)
        peaks = []
        for _ in range(25):
            begin = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            direction(rig)
            peaks.append(tracemalloc.get_traced_memory()[1] - begin)
    finally:
        tracemalloc.stop()
    assert sorted(peaks)[len(peaks) // 2] < most


def test_no_object_of_a_call_needs_a_dictionary_of_its_own() -> None:
    """CPython shares the names of 29 attributes between objects: a 30th costs each call 1.2 kB."""
    before = {id(each) for each in gc.get_objects()}
    rig = Rig()
    rig.speak()
    ours = [
        each
        for each in gc.get_objects()
        if id(each) not in before and type(each).__module__.startswith("offhook.")
    ]
    assert {"Session", "Call", "Playback"} <= {type(each).__name__ for each in ours}
    assert [type(each).__name__ for each in ours if len(getattr(each, "__dict__", ())) > 29] == []


def test_a_call_needs_little_memory() -> None:
    """Without its sockets, whose buffers and transports are those of the engines."""
    rigs = [Rig() for _ in range(20)]
    tracemalloc.start()
    try:
        rigs += [Rig() for _ in range(20)]
        size = tracemalloc.get_traced_memory()[0] / 20
    finally:
        tracemalloc.stop()
    assert size < 15_500


@pytest.mark.skipif(shutil.which("strace") is None, reason="counts system calls with strace")
async def test_a_frame_is_one_receive_and_one_send(tmp_path: Path) -> None:
    clock = LoopClock(asyncio.get_running_loop())
    sessions: list[StandIn] = []
    standin = await server.serve("127.0.0.1", 0, QUICK, clock, sessions.append)
    trace = tmp_path / "strace.txt"
    traced = "sendto,sendmsg,write,writev,read,recvfrom,recvmsg,epoll_wait,epoll_pwait"
    process = await asyncio.create_subprocess_exec(
        *("strace", "-f", "-s", "0", "-e", f"trace={traced}", "-o", str(trace)),
        *(sys.executable, "-m", "offhook", "serve", "--port", "0"),
        *("--deepgram-url", standin.url, "--operator-listen", "127.0.0.1:0"),
        env={**os.environ, "DEEPGRAM_API_KEY": "any", "TWILIO_AUTH_TOKEN": TOKEN},
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(240):
            await process.stderr.readuntil(b"answers at ")
            banner = await process.stderr.readline()
        url = banner.partition(b'"')[0].decode()
        report = await place_call(
            f"{url}/twilio/voice",
            caller(GREET, ASK, GREET, HANG_UP),
            clock=clock,
            auth_token=TOKEN,
            account_sid=ACCOUNT,
            from_="+12025550142",
            to="+12025550100",
        )
        os.kill(_child_of(process.pid), signal.SIGTERM)
        await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            os.kill(_child_of(process.pid), signal.SIGKILL)
            await process.wait()
        await standin.close()
    assert report.faults == []
    lines = trace.read_text().splitlines()
    # The loop's thread of the call process: the one that sends frames. Lines begin with its id.
    loop = next(line.split()[0] for line in lines if re.search(r"sendto\(.*, 168, ", line))
    lines = [line for line in lines if line.split()[0] == loop]
    # What goes to the agent for a frame: 160 bytes, a header of 4 and a mask of 4, and no other.
    forwarded = [n for n, line in enumerate(lines) if re.search(r"sendto\(.*, 168, ", line)]
    assert len(forwarded) == len(report.streams[0].sent_at)
    talk = lines[forwarded[0] : forwarded[-1]]
    assert sum("write(" in line or "sendmsg(" in line for line in talk) < 10
    # A call during which another thread made one is two lines, the second of them "resumed".
    read = re.compile(r"(read|recvfrom)(\(| resumed>).* = [1-9]")
    reads = sum(read.search(line) is not None for line in talk)
    wakes = sum("wait(" in line for line in talk)
    assert reads >= 0.5 * len(forwarded)
    # Beside the frames, the timers: of Uvicorn ten a second, of the call a few.
    assert wakes < 1.5 * reads + 100


def _child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


# --- the calls that docs/design/audio-path.md lists ---

PAGE = Path(__file__).parents[1] / "docs" / "design" / "audio-path.md"
SOURCE = Path(offhook.__file__).parent


def listed(title: str) -> list[tuple[str, str]]:
    """File and function of each row of the table under that title."""
    section = PAGE.read_text(encoding="utf-8").split(f"### {title}\n")[1].split("\n#")[0]
    return re.findall(r"^\| (\S+\.py) \| `([\w.]+)` \|$", section, re.MULTILINE)


def entered(step: Callable[[], object]) -> list[tuple[str, str]]:
    """File and function of each call of our functions within a step.

    Neither the clock nor generator expressions are counted.
    """
    calls: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(SOURCE):
            file = path.relative_to(SOURCE).as_posix()
            name = frame.f_code.co_qualname
            is_counted = not file.startswith("testing/") and file != "clock.py"
            if is_counted and not name.endswith("<genexpr>"):
                calls.append((file, name))

    sys.setprofile(note)
    try:
        step()
    finally:
        sys.setprofile(None)
    return calls


def talking(settings: CallSettings = PLAIN) -> Rig:
    """A rig that has passed frames, and whose next frame needs no mark."""
    rig = Rig(settings)
    for _ in range(15):
        rig.hear()
        rig.speak()
    rig.clock.run(0.02)
    return rig


@pytest.mark.parametrize(
    ("settings", "guarded"),
    [
        (PLAIN, ""),
        (replace(PLAIN, echo_guard=True), ", with echo_guard"),
        (replace(PLAIN, min_speech_s=0.2), ", with min_speech_ms"),
    ],
    ids=["plain", "echo_guard", "min_speech_ms"],
)
def test_a_frame_enters_the_functions_that_the_page_lists(
    settings: CallSettings, guarded: str
) -> None:
    rig = talking(settings)
    heard = entered(lambda: rig.caller_leg.on_text(rig.text))
    spoken = entered(lambda: rig.agent_leg.on_binary(FRAME))
    begins, hears, speaks = (
        ("net/websocket.py", f"Socket.{name}")
        for name in ("on_ws_frame", "send_binary", "send_text")
    )
    assert [begins, *heard, hears] == listed(f"Caller to agent{guarded}")
    assert [begins, *spoken, speaks] == listed(f"Agent to caller{guarded}")


class Pipe:
    """The transport of one end of the link: what is written there is kept."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written = data

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass


def linked(receiver: Receiver) -> tuple[LineConnection, LinkChannel, Pipe]:
    """One end of a stream over the link."""
    lines = LineConnection(lambda line: None, lambda: None)
    pipe = Pipe()
    lines.connection_made(cast("asyncio.Transport", pipe))
    return lines, LinkChannel(lines, receiver), pipe


def test_a_frame_of_a_page_enters_the_functions_that_the_page_lists() -> None:
    rig = talking()
    near, call_end, to_page = linked(rig.caller_leg)
    rig.caller_leg._channel = call_end  # type: ignore[attr-defined]
    streams = PageStreams()
    streams.clock = VirtualClock()
    page = Counter()
    relay = StreamRelay(cast("ProcessStream", None), "wait", streams)
    received = _ProcessLines(page, streams)
    far, received.link, to_call = linked(received)
    relay._page, relay._lines, relay._link = page, received, received.link

    sent = entered(lambda: relay.on_text(rig.text))
    taken = entered(lambda: near.data_received(to_call.written))
    begins, ends = (("net/websocket.py", f"Socket.{n}") for n in ("on_ws_frame", "send_text"))
    leg = taken.index(("twilio/stream.py", "CallerLeg.on_text"))
    assert [begins, *sent, *taken[:leg]] == listed("Page to call process")
    assert rig.deepgram.writes > 0

    spoken = entered(lambda: rig.agent_leg.on_binary(FRAME))
    played = spoken.index(("twilio/messages.py", "MediaWriter.play"))
    shown = entered(lambda: far.data_received(to_page.written))
    assert [*spoken[played + 1 :], *shown, ends] == listed("Call process to page")
    assert page.writes == 1


def test_clear_leaves_before_the_words_that_were_heard_are_estimated() -> None:
    rig = talking()
    began = messages.write(messages.UserStartedSpeaking())
    names = [name for _, name in entered(lambda: rig.agent_leg.on_text(began))]
    assert names.index("CallerLeg.clear") < names.index("Playback.heard")
