"""The ends of a call of the load: what they count of the frames that they read."""

import time
from binascii import b2a_base64
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from offhook.bench.frames import BODY, HEAD, FrameFaults
from offhook.bench.load import sockets
from offhook.bench.load.caller import LoadCaller
from offhook.bench.load.messages import Measured
from offhook.bench.load.process import Load
from offhook.bench.load.schedule import TIMED_ENDS
from offhook.bench.load.sink import AgentSink

TWILIO = b'{"event":"media","streamSid":"MZ","media":{"payload":"%b"}}'


@dataclass
class Turns:
    """A wheel that turns when the test says so."""

    steps: list[tuple[Any, bool]] = field(default_factory=list)

    def add(self, slot: int, step: Any, *, rare: bool = False) -> None:
        self.steps.append((step, rare))

    def remove(self, slot: int, step: Any) -> None:
        self.steps = [(other, rare) for other, rare in self.steps if other != step]

    def far_from(self, ago_ns: int) -> int:
        return 0


@dataclass
class LoadState:
    """What an end needs of its process."""

    idle: bool = False
    faults: FrameFaults = field(default_factory=FrameFaults)
    measured: Measured = field(default_factory=Measured)
    wheel: Turns = field(default_factory=Turns)
    timed_callers: set[Any] = field(default_factory=set)
    timed_sessions: set[Any] = field(default_factory=set)


class Socket(sockets.LoadSocket):
    """A socket on which the test puts what came."""

    def __init__(self) -> None:
        self.is_open = self.is_plain = True
        self.rest = self.unsent = b""
        self.came = b""
        self._stamps = []
        self._tls, self._masks = None, False

    def receive(self) -> bytes | None:
        came, self.came = self.came, b""
        return came or None

    def send(self, data: bytes) -> None: ...

    def unwatch(self) -> None: ...


def at_agent(number: int) -> bytes:
    audio = HEAD.pack(0, number, time.time_ns(), 0) + BODY
    return sockets.frame(sockets.BINARY, len(audio), masks=True) + audio


def at_caller(number: int) -> bytes:
    audio = HEAD.pack(0, number, time.time_ns(), 0) + BODY
    text = TWILIO % b2a_base64(audio, newline=False)
    return sockets.frame(sockets.TEXT, len(text), masks=False) + text


def session(load: LoadState, socket: Socket) -> AgentSink:
    end = AgentSink(cast("Load", load), 0, socket)
    socket._receiver = end
    return end


def caller(load: LoadState, socket: Socket) -> LoadCaller:
    end = LoadCaller("1", cast("Load", load), 0)
    end._socket = socket
    socket._receiver = end
    return end


ENDS = pytest.mark.parametrize(
    ("make", "message", "received", "delays"),
    [(session, at_agent, "received_up", "up"), (caller, at_caller, "received_down", "down")],
)


def taken(load: LoadState, make: Any, message: Any, numbers: list[int]) -> bool:
    """An end that begins with frame 0, then reads these together. Return whether it is rare."""
    socket = Socket()
    make(load, socket)
    socket.take(message(0))
    step, rare = load.wheel.steps[-1]
    socket.came = b"".join(message(number) for number in numbers)
    step(0)
    return bool(rare)


@ENDS
@pytest.mark.parametrize("ends", [0, TIMED_ENDS])
def test_frames_that_are_read_together_are_all_counted(
    make: Any, message: Any, received: str, delays: str, ends: int
) -> None:
    load = LoadState(timed_callers=set(range(ends)), timed_sessions=set(range(ends)))
    rare = taken(load, make, message, [1, 2, 3])
    assert rare is (ends == TIMED_ENDS)
    assert getattr(load.measured, received) == 4
    assert (load.faults.lost, load.faults.disordered, load.faults.doubled) == (0, 0, 0)


@ENDS
@pytest.mark.parametrize(
    ("numbers", "fault"),
    [([1, 3, 4], "lost"), ([1, 1, 2], "doubled"), ([2, 1, 3], None), ([1, 2, 4], "lost")],
)
def test_an_end_without_delays_still_finds_what_is_lost_or_doubled(
    make: Any, message: Any, received: str, delays: str, numbers: list[int], fault: str | None
) -> None:
    load = LoadState(timed_callers=set(range(100)), timed_sessions=set(range(100)))
    taken(load, make, message, numbers)
    assert load.faults.lost == (fault == "lost")
    assert load.faults.doubled == (fault == "doubled")


@ENDS
def test_only_a_timed_end_takes_delays(make: Any, message: Any, received: str, delays: str) -> None:
    numbers = list(range(1, 71))
    timed, rare = (
        LoadState(),
        LoadState(timed_callers=set(range(100)), timed_sessions=set(range(100))),
    )
    for load in (timed, rare):
        taken(load, make, message, numbers)
        assert getattr(load.measured, received) == 71
    assert getattr(timed.measured, delays)
    assert len(getattr(rare.measured, delays)) <= 1, "only the frame with which it begins"
