"""Unverified streams: what they may say, how long they may take, and how a leg takes over."""

import logging
from typing import Any

import pytest
from tests.memory_sockets import connect_in_memory
from tests.net.test_websocket import HANDSHAKE, Recorder, frame, raw, serving
from tests.twilio.test_stream import Owner
from tests.wire.samples import FROM_TWILIO

from offhook.net import websocket
from offhook.net.websocket import Channel, Closed
from offhook.testing.virtual_clock import VirtualClock
from offhook.twilio import messages as media
from offhook.twilio.stream import CallerLeg
from offhook.webhooks import pending_streams
from offhook.webhooks.pending_streams import PendingStreams

MZ, CA = "MZ" + "0123456789abcdef" * 2, "CA" + "0123456789abcdef" * 2
CONNECTED, START = FROM_TWILIO[0], FROM_TWILIO[1]
FRAME = media.write(media.Media(MZ, media.MediaDetails(b"\x55" * 160)))


class Twilio:
    """The client's end of a socket in memory."""

    def __init__(self) -> None:
        self.socket: Channel
        self.closed: Closed | None = None

    def on_open(self, socket: Channel) -> None:
        self.socket = socket

    def on_text(self, text: bytes) -> None:
        raise AssertionError("nothing is sent to an unverified stream")

    def on_binary(self, data: bytes) -> None:
        raise AssertionError("nothing is sent to an unverified stream")

    def on_writable(self, writable: bool) -> None: ...

    def on_close(self, closed: Closed) -> None:
        self.closed = closed


class Server:
    """Pending streams on a clock that jumps, and what is admitted."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.refusals: list[str] = []
        self.pending = PendingStreams(self.clock, self.admit, self.refusals.append)
        self.refusal: str | None = None
        self.owner = Owner()
        self.admitted: list[media.Start] = []

    def admit(self, channel: Channel, start: media.Start) -> str | None:
        self.admitted.append(start)
        if self.refusal is None:
            channel.receiver = CallerLeg(channel, start.stream_sid, self.owner)
        return self.refusal

    def stream(self, *messages: bytes) -> Twilio:
        twilio = Twilio()
        connect_in_memory(self.clock, twilio, self.pending.receiver())
        for message in messages:
            twilio.socket.send_text(message)
        self.clock.run(0.01)
        return twilio


@pytest.fixture
def server() -> Server:
    return Server()


def refused(twilio: Twilio) -> str | None:
    """Why the stream was closed with 1008, if it was."""
    if twilio.closed is None:
        return None
    assert twilio.closed.received == pending_streams.POLICY_VIOLATION
    return twilio.closed.reason


def test_connected_and_start_lead_to_a_leg_that_hears_what_follows(server: Server) -> None:
    twilio = server.stream(CONNECTED, START, FRAME, FRAME)
    assert [start.start.call_sid for start in server.admitted] == [CA]
    assert server.owner.told == [b"\x55" * 160] * 2
    assert not server.pending.waiting
    server.clock.run(pending_streams.PATIENCE_S * 2)
    assert twilio.closed is None, "the leg owns it now"
    twilio.socket.close()
    server.clock.run(1)
    assert server.owner.told[2:] == [("lost", "close code 1000", False, False)]
    assert not server.pending.waiting


def test_start_alone_is_enough(server: Server) -> None:
    assert server.stream(START).closed is None
    assert len(server.admitted) == 1


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([FRAME], "Media before 'start'"),
        ([CONNECTED, FRAME, START], "Media before 'start'"),
        ([CONNECTED, CONNECTED, START], "Connected before 'start'"),
        ([CONNECTED, FROM_TWILIO[6], START], "Dtmf before 'start'"),
        ([CONNECTED, FROM_TWILIO[8], START], "Mark before 'start'"),
        ([CONNECTED, FROM_TWILIO[9], START], "Stop before 'start'"),
        ([CONNECTED, b'{"event":"transcript"}', START], "UnknownTwilioMessage before 'start'"),
        ([b"no JSON", START], "not a media-stream message"),
        ([b'{"event":"start","streamSid":"MZ1","start":{}}', START], "malformed 'start' message"),
        ([b'{"x":' * 10_000, START], "not a media-stream message"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_wrong_word_closes_the_socket(server: Server, messages: list[bytes], why: str) -> None:
    twilio = server.stream(*messages)
    assert (refused(twilio) or "").startswith(why)
    # What is counted has few forms, whatever was sent.
    assert server.refusals == [why if why.endswith("before 'start'") else "no media-stream message"]
    assert server.admitted == []
    assert not server.pending.waiting


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ((b'"callSid":"' + CA.encode(), b'"callSid":"CA1'), "the CallSid has another shape"),
        ((b'"callSid":"CA', b'"callSid":"CF'), "the CallSid has another shape"),
        ((b'"accountSid":"AC', b'"accountSid":"AC0'), "the AccountSid has another shape"),
        ((MZ.encode(), b"MZ1"), "the StreamSid has another shape"),
        ((b'"start":{', b'"start":{"streamSid":"' + b"MZ" + b"f" * 32 + b'",'), "two StreamSids"),
    ],
)
def test_identifiers_have_twilios_shapes(
    server: Server, wrong: tuple[bytes, bytes], why: str
) -> None:
    start = media.write(media.Start(MZ, media.StartDetails("AC" + "0" * 32, CA, "")))
    assert server.stream(start).closed is None
    start = start.replace(b'"streamSid":"",', b"")
    assert wrong[0] in start
    assert refused(server.stream(start.replace(*wrong))) == why
    assert server.refusals == [why]


def test_a_binary_message_closes_the_socket(server: Server) -> None:
    twilio = server.stream(CONNECTED)
    twilio.socket.send_binary(b"\x55" * 160)
    twilio.socket.send_binary(b"\x55" * 160)
    twilio.socket.send_text(START)
    server.clock.run(0.1)
    assert refused(twilio) == "a binary message before 'start'"
    assert server.admitted == []


@pytest.mark.parametrize("messages", [[], [CONNECTED]], ids=["silence", "connected alone"])
def test_who_does_not_say_whose_call_it_is_has_to_leave(
    server: Server, messages: list[bytes]
) -> None:
    twilio = server.stream(*messages)
    server.clock.run(pending_streams.PATIENCE_S - 0.2)
    assert twilio.closed is None
    assert len(server.pending.waiting) == 1
    server.clock.run(0.2)
    assert refused(twilio) == "no 'start' within 5 s"
    assert not server.pending.waiting


def test_a_refusal_closes_and_names_the_call_in_the_log(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.refusal = "a used token"
    twilio = server.stream(CONNECTED, START, FRAME, START)
    assert refused(twilio) == "a used token"
    assert len(server.admitted) == 1
    assert server.owner.told == []
    assert not server.pending.waiting
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"refused a stream of call '{CA}': a used token"
    assert record.__dict__["call_sid"] == CA


@pytest.mark.parametrize("field", ["callSid", "event"])
def test_the_log_stays_one_short_line_whatever_a_stream_says(
    server: Server, caplog: pytest.LogCaptureFixture, field: str
) -> None:
    server.refusal = "a foreign account"
    hostile = b"CANARY\\n2026-01-01 ERROR " + b"x" * 5000
    if field == "callSid":
        text = b'{"event":"start","streamSid":"M","start":{"accountSid":"A","callSid":"%b"}}'
        server.stream(text % hostile)
    else:
        server.stream(b'{"event":"%b"} and more' % hostile)
    [record] = caplog.records
    assert "\n" not in record.getMessage()
    assert len(record.getMessage()) < 300


def test_a_hang_up_leaves_no_trace(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    for end in ("close", "abort"):
        twilio = server.stream(CONNECTED)
        getattr(twilio.socket, end)()
        server.clock.run(pending_streams.PATIENCE_S * 2)
        assert not server.pending.waiting
    assert caplog.records == []


def test_for_a_stream_too_many_the_oldest_has_to_leave(server: Server) -> None:
    """Else whoever opens sockets and says nothing would keep Twilio out, for 5 s at a time."""
    streams = [server.stream() for _ in range(pending_streams.PLACES)]
    twilio = server.stream(CONNECTED)
    assert server.refusals == ["its place was needed"]
    assert [stream.closed is None for stream in streams[:2]] == [False, True]
    first = streams[0].closed
    assert first is not None
    assert first.received is None, "cut: who repeats upgrades answers no close"
    assert len(server.pending.waiting) == pending_streams.PLACES
    server.stream()
    assert streams[1].closed is not None
    twilio.socket.send_text(START)
    server.clock.run(0.1)
    assert len(server.admitted) == 1
    assert len(server.pending.waiting) == pending_streams.PLACES - 1
    server.clock.run(pending_streams.PATIENCE_S)
    assert not server.pending.waiting
    assert {refused(stream) for stream in streams[2:]} == {"no 'start' within 5 s"}


# --- Over real sockets -------------------------------------------------------------------------


def extended(message: bytes) -> bytes:
    """A client's text frame of 126 bytes or more, masked with zeros."""
    size = len(message)
    return frame(1, b"x")[:1] + bytes([0x80 | 126]) + size.to_bytes(2, "big") + bytes(4) + message


async def test_what_follows_start_in_the_same_packet_is_not_lost(server: Server) -> None:
    def decide(upgrade: websocket.Upgrade) -> websocket.Acceptance:
        return websocket.Acceptance(server.pending.receiver())

    class Gone(Owner):
        """Tells when the leg is gone."""

        def on_caller_lost(self, why: str, **how: Any) -> None:
            self.told.append(why)
            left.closed.set_result(Closed(None, why, None))

    left = Recorder()
    server.owner = Gone()
    async with serving(decide) as port:
        async with raw(port) as (reader, writer):
            writer.write(HANDSHAKE + frame(1, CONNECTED) + extended(START) + extended(FRAME) * 3)
            await reader.readuntil(b"\r\n\r\n")
        await left.closed
    assert server.owner.told == [b"\x55" * 160] * 3 + ["cut off"]
    assert not server.pending.waiting


async def test_a_refused_stream_gets_its_close_code_on_the_wire(server: Server) -> None:
    async with serving(lambda _: websocket.Acceptance(server.pending.receiver())) as port:
        near = Recorder()
        socket = await websocket.connect(
            f"ws://127.0.0.1:{port}/twilio", near, headers={}, timeout=2, max_size=65536
        )
        socket.send_text(FRAME)
        assert await near.closed == Closed(1008, "Media before 'start'", None)
    assert not server.pending.waiting
