"""The agent's leg: dialling, talking, a full socket, and every way to hang up."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.memory_sockets import connect_in_memory
from tests.wire.channel import RecordingChannel
from tests.wire.samples import FROM_DEEPGRAM

from offhook.deepgram import leg, messages
from offhook.deepgram.leg import AgentLeg
from offhook.net.websocket import Channel, Closed, Receiver, UnreachableError, UpgradeRefusedError
from offhook.testing.virtual_clock import VirtualClock

FRAME = b"\x55" * 160
TURN = messages.write(messages.ConversationText("user", "Wait!"))
KEEP_ALIVE = messages.write(messages.KeepAlive())


class Owner:
    """Keeps what the leg tells, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_agent_open(self) -> None:
        """Of interest to the session alone."""

    def on_agent_audio(self, audio: bytes) -> None:
        self.told.append(audio)

    def on_agent_message(
        self, message: messages.ServerMessage | messages.UnknownAgentMessage
    ) -> None:
        self.told.append(message)

    def on_late_turn(self, turn: messages.ConversationText) -> None:
        self.told.append(("late", turn.content))

    def on_agent_garbage(self, what: str) -> None:
        self.told.append(("garbage", what))

    def on_agent_writable(self, writable: bool) -> None:
        self.told.append(("writable", writable))

    def on_agent_failed(self, error: UpgradeRefusedError | UnreachableError) -> None:
        self.told.append(error)

    def on_agent_lost(self, why: str, code: int | None, *, ours: bool) -> None:
        self.told.append(("lost", why, code, ours))

    def on_agent_dropped(self, size: int) -> None:
        self.told.append(("dropped", size))


class Dialled:
    """A dial whose outcome the test decides."""

    def __init__(self) -> None:
        self.receiver: Receiver
        self.failed: Callable[[UpgradeRefusedError | UnreachableError], None]
        self.cancelled = 0

    def __call__(
        self,
        receiver: Receiver,
        failed: Callable[[UpgradeRefusedError | UnreachableError], None],
        place: int,
    ) -> "Dialled":
        self.receiver, self.failed = receiver, failed
        return self

    def cancel(self) -> None:
        self.cancelled += 1


class Line:
    """A leg that is being dialled, its owner, and the channel that it may get."""

    def __init__(self) -> None:
        self.owner = Owner()
        self.dial = Dialled()
        self.leg = AgentLeg(self.owner, self.dial)
        self.channel = RecordingChannel(self.leg)

    @property
    def told(self) -> list[Any]:
        return self.owner.told

    @property
    def sent(self) -> list[Any]:
        return self.channel.done


@pytest.fixture
def dialling() -> Line:
    return Line()


@pytest.fixture
def line(dialling: Line) -> Line:
    dialling.leg.on_open(dialling.channel)
    return dialling


# --- Dialling ------------------------------------------------------------------------------------


def test_it_dials_at_once_for_itself(dialling: Line) -> None:
    assert dialling.dial.receiver is dialling.leg
    assert dialling.told == []


def test_before_the_socket_is_open_nothing_is_sent_or_kept(dialling: Line) -> None:
    dialling.leg.send_audio(FRAME)
    dialling.leg.send(KEEP_ALIVE)
    dialling.leg.on_open(dialling.channel)
    assert dialling.sent == []


@pytest.mark.parametrize(
    "error", [UpgradeRefusedError(401, {}, ""), UnreachableError("no answer")], ids=str
)
def test_a_dial_that_fails_is_told(
    dialling: Line, error: UpgradeRefusedError | UnreachableError
) -> None:
    dialling.dial.failed(error)
    assert dialling.told == [error]


def test_hanging_up_while_dialling_calls_it_off(dialling: Line) -> None:
    dialling.leg.hang_up()
    assert dialling.dial.cancelled == 1
    dialling.dial.failed(UnreachableError("too late to matter"))
    assert (dialling.told, dialling.sent) == ([], [])


def test_a_socket_that_opens_all_the_same_is_closed_and_says_nothing(dialling: Line) -> None:
    dialling.leg.hang_up()
    dialling.leg.on_open(dialling.channel)
    assert dialling.sent == [1000]
    dialling.leg.on_text(FROM_DEEPGRAM[0])
    dialling.leg.on_binary(FRAME)
    dialling.leg.on_writable(False)
    dialling.leg.on_close(Closed(1000, "", 1000))
    assert dialling.told == []


# --- From Deepgram -------------------------------------------------------------------------------


def test_speech_and_messages_reach_the_owner_in_order(line: Line) -> None:
    for sample in FROM_DEEPGRAM:
        line.leg.on_text(sample)
        line.leg.on_binary(FRAME)
    expected: list[Any] = []
    for sample in FROM_DEEPGRAM:
        expected += [messages.read(sample), FRAME]
    assert line.told == expected


def test_an_unknown_type_is_told_and_no_garbage(line: Line) -> None:
    line.leg.on_text(b'{"type":"Daydream"}')
    assert line.told == [messages.UnknownAgentMessage("Daydream")]


def test_garbage_is_told_without_its_content(line: Line) -> None:
    for text in (
        b"CANARY",
        b'{"type":"ConversationText","role":"CANARY"}',
        b'{"type":"CANARY","type":"Welcome"}',
        b'{"type":"CANARY"} CANARY',
        b'{"CANARY":' * 30_000,
    ):
        line.leg.on_text(text)
    assert [told[0] for told in line.told] == ["garbage"] * 5
    assert "CANARY" not in str(line.told)


# --- To Deepgram ---------------------------------------------------------------------------------


def test_audio_leaves_at_once_as_it_came(line: Line) -> None:
    line.leg.send_audio(FRAME)
    line.leg.send(KEEP_ALIVE)
    line.leg.send_audio(FRAME * 2)
    assert line.sent == [FRAME, KEEP_ALIVE.decode(), FRAME * 2]


def test_while_the_socket_is_full_audio_waits_and_then_goes_in_one_piece(line: Line) -> None:
    line.leg.on_writable(False)
    for n in range(3):
        line.leg.send_audio(bytes([n]) * 160)
    line.leg.send(KEEP_ALIVE)
    assert line.sent == [KEEP_ALIVE.decode()]
    line.leg.on_writable(True)
    assert line.sent[1:] == [b"\0" * 160 + b"\1" * 160 + b"\2" * 160]
    line.leg.send_audio(FRAME)
    assert line.sent[2:] == [FRAME]
    assert line.told == [("writable", False), ("writable", True)]


def test_a_full_socket_that_had_to_hold_nothing_back_gets_nothing(line: Line) -> None:
    line.leg.on_writable(False)
    line.leg.on_writable(True)
    assert line.sent == []


def test_beyond_two_seconds_the_oldest_audio_is_dropped(line: Line) -> None:
    assert leg.OUTBOX_BYTES == 16_000
    line.leg.on_writable(False)
    for n in range(130):
        line.leg.send_audio(bytes([n]) * 160)
    assert line.told[1:] == [("dropped", 160)] * 30
    line.leg.on_writable(True)
    assert line.sent == [b"".join(bytes([n]) * 160 for n in range(30, 130))]


def test_after_it_was_sent_the_whole_bound_is_free_again(line: Line) -> None:
    for _ in range(3):
        line.leg.on_writable(False)
        line.leg.send_audio(b"x" * leg.OUTBOX_BYTES)
        line.leg.on_writable(True)
    assert [len(held) for held in line.sent] == [leg.OUTBOX_BYTES] * 3
    assert "dropped" not in str(line.told)


def test_a_socket_that_fills_up_again_is_told_once(line: Line) -> None:
    line.leg.on_writable(False)
    line.leg.send_audio(FRAME)
    line.channel.on_send = lambda: line.leg.on_writable(False)
    line.leg.on_writable(True)
    assert line.told == [("writable", False)] * 2
    line.leg.send_audio(FRAME)
    assert line.sent == [FRAME], "the second waits"


# --- Hanging up, and being hung up on ----------------------------------------------------------


def test_after_hanging_up_nothing_is_told(line: Line) -> None:
    line.leg.hang_up()
    assert line.sent == [1000]
    line.leg.on_text(FROM_DEEPGRAM[0])
    line.leg.on_text(b"garbage")
    line.leg.on_binary(FRAME)
    line.leg.on_writable(False)
    line.leg.on_writable(True)
    line.leg.on_close(Closed(1000, "", 1000))
    assert line.told == []
    assert line.dial.cancelled == 0


def test_what_the_caller_said_before_deepgram_knew_is_told(line: Line) -> None:
    line.leg.hang_up()
    for role, words in (("user", "Wait!"), ("assistant", "One two."), ("user", "Hello?")):
        line.leg.on_text(messages.write(messages.ConversationText(role, words)))
    assert line.told == [("late", "Wait!"), ("late", "Hello?")]


def test_a_flood_after_hanging_up_is_read_to_a_bound(line: Line) -> None:
    line.leg.hang_up()
    for _ in range(3 * leg.LATE_MAX):
        line.leg.on_text(TURN)
    assert len(line.told) == leg.LATE_MAX


def test_hanging_up_twice_and_after_the_end_is_harmless(line: Line) -> None:
    line.leg.hang_up()
    line.leg.hang_up()
    line.leg.on_close(Closed(1000, "", 1000))
    line.leg.hang_up()
    line.leg.send_audio(FRAME)
    line.leg.send(KEEP_ALIVE)
    assert line.told == []
    assert set(line.sent) == {1000}


@pytest.mark.parametrize(
    ("closed", "told"),
    [
        (Closed(1000, "", None), ("lost", "close code 1000", 1000, False)),
        (Closed(1011, "FAILED_TO_THINK", None), ("lost", "FAILED_TO_THINK", 1011, False)),
        (Closed(1005, "", None), ("lost", "close code 1005", 1005, False)),
        (Closed(None, "", None), ("lost", "cut off", None, False)),
        # Deepgram broke the protocol, and we closed.
        (Closed(None, "", 1009), ("lost", "close code 1009", 1009, False)),
        (Closed(1005, "", 1002), ("lost", "close code 1002", 1002, False)),
        (Closed(None, "", 1011), ("lost", "close code 1011", 1011, True)),
        (Closed(1011, "", 1011), ("lost", "close code 1011", 1011, True)),
    ],
    ids=str,
)
def test_why_it_was_lost(line: Line, closed: Closed, told: object) -> None:
    line.leg.on_close(closed)
    assert line.told == [told]
    line.leg.send_audio(FRAME)
    line.leg.hang_up()
    assert (line.told, line.sent) == ([told], [])


class Deepgram:
    """The other end of a socket in memory."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_open(self, socket: Channel) -> None:
        self.socket = socket
        socket.send_text(FROM_DEEPGRAM[0])

    def on_text(self, text: bytes) -> None:
        self.told.append(text)

    def on_binary(self, data: bytes) -> None:
        self.told.append(data)

    def on_writable(self, writable: bool) -> None:
        self.told.append(writable)

    def on_close(self, closed: Closed) -> None:
        self.told.append(closed)


def test_a_leg_in_memory_whose_caller_another_one_hears_is_not_read_to_its_end() -> None:
    clock, owner, deepgram, dial = VirtualClock(), Owner(), Deepgram(), Dialled()
    agent = AgentLeg(owner, dial)
    connect_in_memory(clock, agent, deepgram)
    clock.run(1)
    agent.hang_up(hears_out=False)
    deepgram.socket.send_text(TURN)
    clock.run(1)
    assert owner.told == [messages.read(FROM_DEEPGRAM[0])]


def test_a_leg_in_memory_from_welcome_to_hanging_up() -> None:
    clock, owner, deepgram, dial = VirtualClock(), Owner(), Deepgram(), Dialled()
    agent = AgentLeg(owner, dial)
    connect_in_memory(clock, agent, deepgram)
    clock.run(1)
    assert owner.told == [messages.read(FROM_DEEPGRAM[0])]
    agent.send(b'{"type":"Settings"}')
    agent.send_audio(FRAME)
    agent.hang_up()
    deepgram.socket.send_binary(b"a word too late")
    deepgram.socket.send_text(TURN)
    clock.run(1)
    assert deepgram.told == [b'{"type":"Settings"}', FRAME, Closed(1000, "", None)]
    assert owner.told[1:] == [("late", "Wait!")]
