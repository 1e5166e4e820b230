"""The caller's leg, on a channel that keeps what is sent and on sockets in memory."""

import json
from typing import Any

import pytest
from tests.memory_sockets import connect_in_memory
from tests.wire.channel import RecordingChannel
from tests.wire.samples import FROM_TWILIO

from offhook.net.websocket import Channel, Closed
from offhook.testing.virtual_clock import VirtualClock
from offhook.twilio import messages as media
from offhook.twilio import stream
from offhook.twilio.stream import CallerLeg

MZ = "MZ" + "0123456789abcdef" * 2
WRITER = media.MediaWriter(MZ)
FRAME = b"\x55" * 160


class Owner:
    """Keeps what the leg tells, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_caller_audio(self, audio: bytes) -> None:
        self.told.append(audio)

    def on_caller_message(self, message: media.FromTwilio | media.UnknownTwilioMessage) -> None:
        self.told.append(message)

    def on_caller_garbage(self, what: str) -> None:
        self.told.append(("garbage", what))

    def on_caller_writable(self, writable: bool) -> None:
        self.told.append(("writable", writable))

    def on_caller_lost(self, why: str, *, oversized: bool, ours: bool) -> None:
        self.told.append(("lost", why, oversized, ours))

    def on_caller_dropped(self, size: int) -> None:
        self.told.append(("dropped", size))


class Line:
    """A leg, its owner, and the channel under it."""

    def __init__(self) -> None:
        self.owner = Owner()
        self.channel = RecordingChannel(None)  # type: ignore[arg-type]  # the leg, in the next line
        self.leg = self.channel.receiver = CallerLeg(self.channel, MZ, self.owner)

    @property
    def told(self) -> list[Any]:
        return self.owner.told

    @property
    def sent(self) -> list[Any]:
        return self.channel.done


@pytest.fixture
def line() -> Line:
    return Line()


def played(audio: bytes) -> str:
    return WRITER.play(audio).decode()


def marked(name: str) -> str:
    return WRITER.mark(name).decode()


CLEAR = WRITER.clear.decode()


# --- From Twilio ---------------------------------------------------------------------------------


def test_audio_and_messages_reach_the_owner_in_order(line: Line) -> None:
    for sample in FROM_TWILIO:
        line.leg.on_text(sample)
    messages = [media.read(sample) for sample in FROM_TWILIO]
    expected: list[Any] = []
    for message in messages:
        if isinstance(message, media.Media):
            if message.media.track == "inbound":
                expected.append(message.media.payload)
        else:
            expected.append(message)
    assert line.told == expected
    assert sum(isinstance(told, bytes) for told in line.told) == 2


def test_outbound_audio_is_ignored(line: Line) -> None:
    details = media.MediaDetails(FRAME, track="outbound")
    line.leg.on_text(media.write(media.Media(MZ, details)))
    assert line.told == []


def test_an_unknown_event_is_told_and_no_garbage(line: Line) -> None:
    line.leg.on_text(b'{"event":"transcript","streamSid":"MZ1"}')
    assert line.told == [media.UnknownTwilioMessage("transcript")]


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (media.Media("MZ1", media.MediaDetails(FRAME)), "media of a foreign stream"),
        (
            media.Media("MZ1", media.MediaDetails(FRAME, "outbound")),
            "media of a foreign stream",
        ),
        (media.Dtmf("MZ1", media.DtmfDetails("1")), "a message of a foreign stream"),
        (media.Mark("MZ1", media.MarkName("0:160")), "a message of a foreign stream"),
        (media.Stop("MZ1"), "a message of a foreign stream"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_foreign_stream_is_garbage(line: Line, message: media.FromTwilio, what: str) -> None:
    line.leg.on_text(media.write(message))
    assert line.told == [("garbage", what)]


def test_a_second_start_is_told_whatever_its_stream(line: Line) -> None:
    start = media.Start("MZ1", media.StartDetails("AC1", "CA1"))
    line.leg.on_text(media.write(start))
    assert line.told == [start]


def test_garbage_is_told_without_its_content(line: Line) -> None:
    for text in (b"CANARY", b'{"event":"media","streamSid":"CANARY"}', b'{"CANARY":' * 30_000):
        line.leg.on_text(text)
    line.leg.on_binary(b"CANARY")
    assert [told[0] for told in line.told] == ["garbage"] * 4
    assert "CANARY" not in str(line.told)


# --- To Twilio -----------------------------------------------------------------------------------


def test_audio_leaves_at_once_each_piece_before_its_mark(line: Line) -> None:
    line.leg.play([(FRAME, "0:160"), (FRAME * 2, None), (b"", "0:480")])
    assert line.sent == [played(FRAME), marked("0:160"), played(FRAME * 2), marked("0:480")]
    line.leg.clear()
    line.leg.close()
    assert line.sent[4:] == [CLEAR, 1000]
    assert line.told == []


def test_while_the_socket_is_full_all_waits_in_order(line: Line) -> None:
    line.leg.on_writable(False)
    line.leg.play([(FRAME, "0:160"), (FRAME * 2, "0:480")])
    assert line.sent == []
    line.leg.on_writable(True)
    assert line.sent == [played(FRAME), marked("0:160"), played(FRAME * 2), marked("0:480")]
    line.leg.play([(FRAME, None)])
    assert line.sent[4:] == [played(FRAME)]
    assert line.told == [("writable", False), ("writable", True)]


def test_beyond_the_bound_the_newest_audio_is_dropped_and_its_mark_kept(line: Line) -> None:
    line.leg.on_writable(False)
    message = len(played(FRAME)) + len(marked("0:0000001"))
    fits = stream.OUTBOX_BYTES // message
    for n in range(fits + 50):
        line.leg.play([(FRAME, f"0:{n:07}")])
    dropped = [told for told in line.told if told[0] == "dropped"]
    assert dropped == [("dropped", 160)] * len(dropped)
    assert 49 <= len(dropped) <= 50
    line.leg.on_writable(True)
    marks = [json.loads(text) for text in line.sent if text.startswith('{"event":"mark"')]
    # Marks without audio between them are one: an agent that floods fills no memory with marks.
    kept = [*range(len(marks) - 1), fits + 49]
    assert [mark["mark"]["name"] for mark in marks] == [f"0:{n:07}" for n in kept]
    audio = [text for text in line.sent if text.startswith('{"event":"media"')]
    assert len(audio) == fits + 50 - len(dropped)
    assert line.sent[: 2 * len(audio) : 2] == audio, "what was dropped is the newest"
    assert sum(map(len, audio)) <= stream.OUTBOX_BYTES


def test_after_it_was_emptied_the_whole_bound_is_free_again(line: Line) -> None:
    piece = b"\x55" * (stream.OUTBOX_BYTES * 3 // 4 - 150)
    for _ in range(3):
        line.leg.on_writable(False)
        line.leg.play([(piece, None)])
        line.leg.on_writable(True)
        line.leg.on_writable(False)
        line.leg.play([(piece, None)])
        line.leg.clear()
    assert "dropped" not in str(line.told)
    line.leg.play([(piece, None), (FRAME, None)])
    assert line.told[-1] == ("dropped", 160)


def test_clear_throws_away_what_waits_and_does_not_wait_itself(line: Line) -> None:
    line.leg.on_writable(False)
    line.leg.play([(FRAME, "0:160")])
    line.leg.clear()
    assert line.sent == [CLEAR]
    line.leg.play([(FRAME * 2, "1:320")])
    line.leg.on_writable(True)
    assert line.sent == [CLEAR, played(FRAME * 2), marked("1:320")]


def test_a_socket_that_fills_up_again_gets_no_more_than_it_takes(line: Line) -> None:
    line.leg.on_writable(False)
    line.leg.play([(FRAME, "0:160"), (FRAME * 2, "0:480")])
    line.channel.on_send = lambda: line.leg.on_writable(False)
    line.leg.on_writable(True)
    assert line.sent == [played(FRAME)]
    line.leg.on_writable(True)
    assert line.sent == [played(FRAME), marked("0:160")]
    assert line.told == [("writable", False)] * 3, "told once for each time"
    line.channel.on_send = lambda: None
    line.leg.on_writable(True)
    assert line.sent[2:] == [played(FRAME * 2), marked("0:480")]
    assert line.told[3:] == [("writable", True)]


# --- To whoever records --------------------------------------------------------------------------


class Tape:
    """A leg.Recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def heard(self, timestamp: str | int, audio: bytes) -> None:
        self.told.append((timestamp, audio))

    def played(self, audio: bytes) -> None:
        self.told.append(audio)

    def cut(self) -> None:
        self.told.append("cut")


@pytest.fixture
def taped(line: Line) -> tuple[Line, list[Any]]:
    tape = Tape()
    line.leg = line.channel.receiver = CallerLeg(line.channel, MZ, line.owner, tape)
    return line, tape.told


def test_a_recorder_is_told_of_inbound_audio_with_its_time(taped: tuple[Line, list[Any]]) -> None:
    line, tape = taped
    for details in (
        media.MediaDetails(FRAME, timestamp="40"),
        media.MediaDetails(FRAME, timestamp=60),
        media.MediaDetails(FRAME, track="outbound", timestamp="80"),
    ):
        line.leg.on_text(media.write(media.Media(MZ, details)))
    line.leg.on_text(media.write(media.Media("MZ1", media.MediaDetails(FRAME))))
    assert tape == [("40", FRAME), (60, FRAME)]


def test_a_recorder_is_told_of_what_was_sent_when_it_was(taped: tuple[Line, list[Any]]) -> None:
    line, tape = taped
    line.leg.play([(FRAME, "0:160"), (FRAME * 2, None), (b"", "0:480")])
    assert tape == [FRAME, FRAME * 2]
    line.leg.clear()
    assert tape[2:] == ["cut"]
    line.leg.on_writable(False)
    line.leg.play([(FRAME, "1:160"), (FRAME * 3, None)])
    assert tape[3:] == [], "it waits in the outbox"
    line.channel.on_send = lambda: line.leg.on_writable(False)
    line.leg.on_writable(True)
    assert tape[3:] == [FRAME]
    line.leg.clear()
    line.channel.on_send = lambda: None
    line.leg.on_writable(True)
    assert tape[4:] == ["cut"], "what the clear emptied was never played"


def test_a_recorder_is_not_told_of_what_found_no_room(taped: tuple[Line, list[Any]]) -> None:
    line, tape = taped
    line.leg.on_writable(False)
    for _ in range(2000):
        line.leg.play([(FRAME, None)])
    dropped = sum(told == ("dropped", 160) for told in line.told)
    assert dropped > 500
    line.leg.on_writable(True)
    assert tape == [FRAME] * (2000 - dropped)


# --- How it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("closed", "told"),
    [
        (Closed(1000, "", None), ("lost", "close code 1000", False, False)),
        (Closed(1001, "bye", None), ("lost", "bye", False, False)),
        (Closed(1005, "", None), ("lost", "close code 1005", False, False)),
        (Closed(None, "", None), ("lost", "cut off", False, False)),
        (Closed(None, "", 1001), ("lost", "cut off", False, False)),
        (Closed(None, "", 1009), ("lost", "cut off", True, False)),
        (Closed(1009, "", 1009), ("lost", "close code 1009", True, False)),
        (Closed(1009, "", None), ("lost", "close code 1009", False, False)),
        (Closed(None, "", 1011), ("lost", "cut off", False, True)),
        (Closed(1011, "oops", None), ("lost", "oops", False, False)),
    ],
    ids=str,
)
def test_why_it_was_lost(line: Line, closed: Closed, told: object) -> None:
    line.leg.on_close(closed)
    assert line.told == [told]


class Peer:
    """Twilio's end of a socket in memory."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_open(self, socket: Channel) -> None:
        self.socket = socket

    def on_text(self, text: bytes) -> None:
        self.told.append(text.decode())

    def on_binary(self, data: bytes) -> None:
        self.told.append(data)

    def on_writable(self, writable: bool) -> None:
        self.told.append(writable)

    def on_close(self, closed: Closed) -> None:
        self.told.append(closed)


def test_a_stream_in_memory_from_the_first_frame_to_the_close() -> None:
    clock, owner, peer, unverified = VirtualClock(), Owner(), Peer(), Peer()
    twilio, server = connect_in_memory(clock, peer, unverified)
    caller = server.receiver = CallerLeg(server, MZ, owner)
    twilio.send_text(media.write(media.Media(MZ, media.MediaDetails(FRAME))))
    caller.play([(FRAME, "0:160")])
    clock.run(1)
    assert owner.told == [FRAME]
    assert peer.told == [played(FRAME), marked("0:160")]
    caller.close()
    twilio.send_text(media.write(media.Stop(MZ)))
    clock.run(1)
    assert owner.told[1:] == [("lost", "close code 1000", False, False)]
    assert peer.told[2:] == [Closed(1000, "", None)]
    caller.play([(FRAME, None)])
    caller.clear()
    clock.run(1)
    assert len(peer.told) == 3, "nothing is sent after the close"
    assert unverified.told == []
