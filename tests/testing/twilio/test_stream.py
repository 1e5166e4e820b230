"""Twilio's end of a media stream, on a clock that jumps: times are exact."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.memory_sockets import connect_in_memory

from offhook import audio
from offhook.net.websocket import Channel, Closed
from offhook.testing.simulator.twilio import stream
from offhook.testing.simulator.twilio.stream import Burst, Echo, LineControls, SimulatedStream
from offhook.testing.virtual_clock import VirtualClock
from offhook.twilio.messages import MediaWriter

SID = "MZ" + "0" * 32
TONE = b"\x10" * audio.FRAME_BYTES
LATENCY = 0.001


def near(expected: Any) -> Any:
    """Equal to within a hundredth of a sample."""
    return pytest.approx(expected, rel=0, abs=1e-6)


class HeldUpClock(VirtualClock):
    """A clock of a process that did nothing until `held_until`."""

    held_until = 0.0

    def now(self) -> float:
        return max(super().now(), self.held_until)


class Talker:
    """Says frame number k as 160 bytes of k, and keeps what it heard."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.times: list[float] = []
        self.act: Callable[[LineControls, int], None] = lambda line, frame: None

    def next_frame(self, line: LineControls, heard: bytes, now: float) -> bytes:
        self.heard.append(heard)
        self.times.append(now)
        self.act(line, len(self.heard))
        return bytes([len(self.heard) % 256]) * audio.FRAME_BYTES


class Server:
    """The other end: keeps messages with the times at which they came."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.channel: Channel
        self.writer = MediaWriter(SID)
        self.messages: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.binary: list[bytes] = []
        self.closed: Closed | None = None

    def on_open(self, socket: Channel) -> None:
        self.channel = socket

    def on_text(self, text: bytes) -> None:
        self.messages.append(json.loads(text) if text != b"garbage" else {"event": "garbage"})
        self.times.append(self.clock.now())

    def on_binary(self, data: bytes) -> None:
        self.binary.append(data)

    def on_writable(self, writable: bool) -> None: ...

    def on_close(self, closed: Closed) -> None:
        self.closed = closed

    def of(self, event: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["event"] == event]

    def play(self, audio_: bytes) -> None:
        self.channel.send_text(self.writer.play(audio_))

    def mark(self, name: str) -> None:
        self.channel.send_text(self.writer.mark(name))

    def clear(self) -> None:
        self.channel.send_text(self.writer.clear)


class Rehearsal:
    """A stream joined to a server, begun at 100 s."""

    def __init__(self) -> None:
        self.clock = HeldUpClock(100.0)
        self.talker = Talker()
        self.server = Server(self.clock)
        self.reports: list[tuple[str, int | None]] = []
        self.ends = 0
        self.stream = SimulatedStream(
            self.talker,
            self.clock,
            account_sid="AC1",
            call_sid="CA1",
            stream_sid=SID,
            parameters={"token": "k3v"},
            report=lambda event, code, text: self.reports.append((event, code)),
            on_end=self.ended,
        )
        connect_in_memory(self.clock, self.stream, self.server, LATENCY)

    def ended(self) -> None:
        self.ends += 1

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Have the server do something that reaches the stream at that time."""
        self.clock.call_at(when - LATENCY, action)

    @property
    def errors(self) -> list[int | None]:
        return [code for event, code in self.reports if event == "stream-error"]


@pytest.fixture
def call() -> Rehearsal:
    return Rehearsal()


def test_it_introduces_the_call_as_twilio_does(call: Rehearsal) -> None:
    call.clock.run(0.01)
    assert call.server.messages == [
        {"event": "connected", "protocol": "Call", "version": "1.0.0"},
        {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": SID,
            "start": {
                "accountSid": "AC1",
                "callSid": "CA1",
                "streamSid": SID,
                "tracks": ["inbound"],
                "customParameters": {"token": "k3v"},
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            },
        },
    ]
    assert call.reports == [("stream-started", None)]


def test_frames_leave_every_20_ms_and_do_not_drift(call: Rehearsal) -> None:
    call.clock.run(60.005)
    frames = call.server.of("media")
    assert len(frames) == 3000
    assert call.stream.sent_at == near([100 + 0.02 * k for k in range(1, 3001)])
    assert frames[2] == {
        "event": "media",
        "sequenceNumber": "4",
        "streamSid": SID,
        "media": {
            "track": "inbound",
            "chunk": "3",
            "timestamp": "60",
            "payload": base64.b64encode(b"\x03" * 160).decode(),
        },
    }
    assert call.stream.spoken[320:480] == b"\x03" * 160


def test_a_process_that_was_late_catches_up_in_whole_frames(call: Rehearsal) -> None:
    call.clock.run(0.105)
    call.clock.held_until = 100.17
    call.clock.run(0.1)
    assert call.stream.sent_at == near(
        [100.02, 100.04, 100.06, 100.08, 100.1, 100.17, 100.17, 100.17, 100.18, 100.2]
    )
    assert call.talker.times == near([100 + 0.02 * k for k in range(11)])


def test_what_is_sent_is_heard_at_8_bytes_a_millisecond(call: Rehearsal) -> None:
    call.at(100.050, lambda: call.server.play(TONE * 5))
    call.clock.run(0.2)
    heard = bytes(call.stream.heard)
    assert len(heard) == 1600
    assert heard == audio.silence(50) + TONE * 5 + audio.silence(50)
    assert call.stream.bursts == [Burst(near(100.05), near(100.15), None)]
    # The caller hears it in frames, each just after it was played.
    assert call.talker.heard[3] == audio.silence(10) + TONE[:80]
    assert call.talker.heard[4:8] == [TONE] * 4
    assert call.talker.heard[8] == TONE[:80] + audio.silence(10)


def test_audio_that_arrives_while_some_is_playing_follows_without_a_gap(call: Rehearsal) -> None:
    call.at(100.020, lambda: call.server.play(TONE))
    call.at(100.040, lambda: call.server.play(TONE))  # in the very moment the first is finished
    call.at(100.080, lambda: call.server.play(TONE))  # too late: a gap of 20 ms
    call.clock.run(0.2)
    assert [(b.began, b.ended) for b in call.stream.bursts] == [
        (near(100.02), near(100.06)),
        (near(100.08), near(100.10)),
    ]


def test_marks_come_back_when_playback_passes_them(call: Rehearsal) -> None:
    def speak() -> None:
        call.server.mark("idle")
        call.server.play(b"\x10" * 100)
        call.server.mark("a")
        call.server.mark("b")
        call.server.play(TONE * 2)
        call.server.mark("c")

    call.at(100.050, speak)
    call.clock.run(0.2)
    assert call.stream.echoes == [
        Echo(near(100.05), "idle", played=True),
        Echo(near(100.0625), "a", played=True),
        Echo(near(100.0625), "b", played=True),
        Echo(near(100.1025), "c", played=True),
    ]
    echoes = call.server.of("mark")
    assert [m["mark"] for m in echoes] == [{"name": n} for n in ("idle", "a", "b", "c")]
    assert echoes[0]["streamSid"] == SID
    numbers = [int(m["sequenceNumber"]) for m in call.server.messages[1:]]
    assert numbers == list(range(1, len(numbers) + 1))


def test_clear_empties_the_buffer_and_returns_every_mark(call: Rehearsal) -> None:
    def speak() -> None:
        call.server.play(TONE * 10)
        call.server.mark("early")
        call.server.play(TONE * 10)
        call.server.mark("late")

    call.at(100.0, speak)
    call.at(100.1, call.server.clear)
    call.at(100.1, lambda: call.server.play(b"\x20" * 80))
    call.at(100.3, call.server.clear)
    call.clock.run(0.4)
    began = LATENCY  # nothing arrives sooner
    assert call.stream.heard.count(b"\x10") == round((0.1 - began) * 8000)
    assert call.stream.heard.count(b"\x20") == 80
    assert [burst.cut_by for burst in call.stream.bursts] == ["clear", None]
    assert call.stream.bursts[0].ended == near(100.1)
    assert call.stream.echoes == [
        Echo(near(100.1), "early", played=False),
        Echo(near(100.1), "late", played=False),
    ]
    assert call.stream.cleared_at == near([100.1, 100.3])


def test_more_than_ten_minutes_are_discarded_and_reported_once(call: Rehearsal) -> None:
    minute = b"\x10" * (60 * 8000)

    def flood() -> None:
        for _ in range(12):
            call.server.play(minute)

    call.at(100.02, flood)
    call.clock.run(0.02)
    assert call.errors == [stream.AGENT_AUDIO_DROPPED]
    call.clock.run(700)
    assert call.stream.heard.count(b"\x10") == stream.BUFFER_BYTES


@pytest.mark.parametrize(
    "message",
    [
        b"{",
        b"\xff",
        b'{"event":"stop","streamSid":"%s"}' % SID.encode(),
        b'{"event":"clear"}',
        b'{"event":"clear","streamSid":"MZother"}',
        b'{"event":"media","streamSid":"%s","media":{"payload":"EBAQ"},"track":"x"}' % SID.encode(),
        b'{"event":"media","streamSid":"%s","media":{"payload":"EBAQ","chunk":"1"}}' % SID.encode(),
        b'{"event":"media","streamSid":"%s","media":{"payload":"?"}}' % SID.encode(),
        b'{"event":"mark","streamSid":"%s"}' % SID.encode(),
    ],
)
def test_an_invalid_message_is_ignored_and_reported_once(call: Rehearsal, message: bytes) -> None:
    call.at(100.01, lambda: call.server.channel.send_text(message))
    call.at(100.01, lambda: call.server.channel.send_text(message))
    call.at(100.01, lambda: call.server.play(TONE))
    call.clock.run(0.1)
    assert call.errors == [stream.INVALID]
    assert call.stream.heard.count(b"\x10") == 160
    assert call.stream.echoes == []
    assert call.stream.cleared_at == []


def test_a_binary_frame_is_ignored_and_reported_once(call: Rehearsal) -> None:
    call.at(100.01, lambda: call.server.channel.send_binary(TONE))
    call.at(100.01, lambda: call.server.channel.send_binary(TONE))
    call.clock.run(0.1)
    assert call.errors == [stream.UNDECODABLE]
    assert not call.stream.bursts


def test_a_server_that_reads_too_slowly_loses_caller_audio(call: Rehearsal) -> None:
    call.clock.run(0.105)
    call.stream.on_writable(False)
    call.clock.run(0.1)
    call.stream.on_writable(True)
    call.clock.run(0.105)
    assert call.stream.dropped == 5
    assert call.errors == [stream.CALLER_AUDIO_DROPPED]
    frames = [message["media"] for message in call.server.of("media")]
    assert [frame["chunk"] for frame in frames] == [str(n) for n in range(1, 11)]
    assert frames[4]["timestamp"] == "100"
    assert frames[5]["timestamp"] == "220"  # the timestamp shows what is missing
    assert call.stream.spoken[800:960] == b"\x06" * 160  # the caller said it all the same


def test_the_caller_presses_keys_and_hangs_up(call: Rehearsal) -> None:
    def act(line: LineControls, frame: int) -> None:
        if frame == 3:
            line.press("#")
        if frame == 5:
            line.hang_up()
            line.hang_up()

    call.talker.act = act
    call.at(100.06, lambda: call.server.play(TONE * 100))
    call.clock.run(1)
    assert [message["event"] for message in call.server.messages[2:]] == [
        "media", "media", "dtmf", "media", "media", "stop",
    ]  # fmt: skip
    assert call.server.of("dtmf")[0]["dtmf"] == {"digit": "#", "track": "inbound_track"}
    assert call.server.of("stop")[0]["stop"] == {"accountSid": "AC1", "callSid": "CA1"}
    assert call.server.closed == Closed(1000, "", None)
    assert (call.stream.ended_by, call.ends) == ("caller", 1)
    assert call.stream.bursts == [Burst(near(100.06), near(100.08), "end")]
    assert call.reports[1:] == [("stream-stopped", None)]
    assert len(call.stream.spoken) == len(call.stream.heard) == 640


def test_the_server_closes(call: Rehearsal) -> None:
    call.at(100.02, lambda: call.server.play(TONE))
    call.at(100.1, lambda: call.server.channel.close(1000, "bye"))
    call.clock.run(1)
    assert (call.stream.ended_by, call.ends) == ("server", 1)
    assert call.stream.closed == Closed(1000, "bye", None)
    assert call.reports[1:] == [("stream-error", stream.SERVER_CLOSED), ("stream-stopped", None)]
    assert call.stream.bursts[0].cut_by is None
    assert len(call.stream.sent_at) == 5  # and nothing after the end
    assert len(call.stream.spoken) == len(call.stream.heard)


@pytest.mark.parametrize("who", ["stream", "server"])
def test_the_connection_breaks(call: Rehearsal, who: str) -> None:
    call.clock.run(0.1)
    if who == "stream":
        call.stream.abort()
    else:
        call.server.channel.abort()
    call.clock.run(1)
    assert (call.stream.ended_by, call.ends) == ("loss", 1)
    assert not call.server.of("stop")
    assert call.reports[1:] == [("stream-error", stream.BROKEN), ("stream-stopped", None)]


def test_the_connection_breaks_before_it_is_open() -> None:
    reports: list[tuple[str, int | None]] = []
    stillborn = SimulatedStream(
        Talker(),
        VirtualClock(100.0),
        account_sid="AC1",
        call_sid="CA1",
        stream_sid=SID,
        report=lambda event, code, text: reports.append((event, code)),
    )
    stillborn.on_close(Closed(None, "", None))
    assert stillborn.ended_by == "loss"
    assert (bytes(stillborn.spoken), bytes(stillborn.heard)) == (b"", b"")
    assert reports == [("stream-error", stream.BROKEN), ("stream-stopped", None)]


def test_messages_may_come_before_start() -> None:
    clock = VirtualClock()
    server = Server(clock)
    early = SimulatedStream(
        Talker(),
        clock,
        account_sid="AC1",
        call_sid="CA1",
        stream_sid=SID,
        before_start=[b'{"event":"media"}'],
    )
    connect_in_memory(clock, early, server)
    clock.run(0.01)
    assert [message["event"] for message in server.messages] == ["connected", "media", "start"]


def test_faults_that_a_server_must_survive_can_be_sent(call: Rehearsal) -> None:
    call.clock.run(0.005)
    call.stream.send_start()
    call.stream.send_raw(b"garbage")
    call.stream.send_raw(b"\x00\x01", binary=True)
    call.clock.run(0.005)
    assert [message["event"] for message in call.server.messages] == [
        "connected", "start", "start", "garbage",
    ]  # fmt: skip
    assert call.server.binary == [b"\x00\x01"]
