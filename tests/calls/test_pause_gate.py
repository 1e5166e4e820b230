"""After a pause of its process a call says, does and dials nothing before its owner is known."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.calls.interruptions import SID, Process, Servers
from tests.calls.test_interrupted import GREETING
from tests.waiting import wait_until
from tests.whole_server import ASK, GREET, HANG_UP, HOURS, QUICK, caller, configured, texts

from offhook.audio import SILENCE
from offhook.calls.pause_gate import HELD_BYTES, HELD_MAX, PauseGate
from offhook.events.types import AgentSaid, CallerSaid, CallReleased, RecordingEnded
from offhook.fleet.pulse import Pulse
from offhook.recordings.wav import STEREO_HEADER_BYTES, read_stereo, stereo_header

ANSWER = "Of course, what else?"


class Watch(Pulse):
    """A pulse whose pauses a test gives."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.is_paused = False

    def is_late(self, now: float) -> bool:
        return self.is_paused

    async def settled(self, now: Callable[[], float]) -> None:
        assert not self.is_paused


class Waiting:
    """Tasks that a test runs when the pause is settled."""

    def __init__(self) -> None:
        self.tasks: list[Coroutine[Any, Any, None]] = []

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(work)

    def run(self) -> None:
        while self.tasks:
            try:
                self.tasks.pop(0).send(None)
            except StopIteration:
                continue
            raise AssertionError("it waits for more")


def talking(folder: Path | None = None) -> tuple[Servers, Process, Watch, Waiting]:
    """Have a call on which the greeting was heard; with a folder it is recorded there."""
    watch, waiting = Watch(), Waiting()
    said: dict[str, Any] = {"announcement": "It is recorded.", "recording": True}
    config = configured("ws://127.0.0.1:1/", **({} if folder is None else said))
    of = Servers(config, QUICK, folder, watch)
    of.now.stream(caller(GREET, ASK, GREET, HANG_UP), of.announce().token)
    session = of.now.entry().session
    assert session is not None
    assert session._gate is not None
    session._gate._start = waiting.start
    of.clock.run_until(lambda: texts(of.now.events, AgentSaid) == [GREETING], 10)
    return of, of.now, watch, waiting


def test_what_waited_is_heard_and_said_when_the_call_is_still_ours() -> None:
    of, process, watch, waiting = talking()
    watch.is_paused = True
    before = len(process.happened)
    of.clock.run(1.0)
    assert len(process.happened) == before
    assert len(waiting.tasks) == 1, "one question, whatever comes in"
    watch.is_paused = False
    waiting.run()
    of.clock.run(20)
    assert texts(process.events, CallerSaid) == [HOURS]
    assert texts(process.events, AgentSaid) == [GREETING, ANSWER]


def test_nothing_is_said_or_done_when_the_call_is_another_ones() -> None:
    of, process, watch, waiting = talking()
    watch.is_paused = True
    before = len(process.happened)
    of.clock.run(1.0)
    process.calls.releasing.fence(SID)
    watch.is_paused = False
    waiting.run()
    of.clock.run(30)
    assert process.events[before:] == [CallReleased("fenced")]
    assert len(process.agents) == 1


def test_a_timer_waits_too() -> None:
    of, process, watch, waiting = talking()
    watch.is_paused = True
    process.agents[0].on_text = lambda text: None  # type: ignore[method-assign]
    before = len(process.happened)
    of.clock.run(600)
    assert process.events[before:] == [], "no limit ends the call, and no question is asked"
    for work in waiting.tasks:
        work.close()


def test_what_waits_is_bounded() -> None:
    watch, waiting, done = Watch(), Waiting(), [0]

    def work() -> None:
        done[0] += 1

    gate = PauseGate(watch, lambda: 0.0, waiting.start)
    watch.is_paused = True
    for _ in range(2 * HELD_MAX):
        gate.hold(work)
    watch.is_paused = False
    assert gate.is_shut(0), "what comes now is behind what waits"
    waiting.run()
    assert done == [HELD_MAX]
    assert not gate.is_shut(0)
    watch.is_paused, done[0] = True, 0
    for _ in range(100):
        gate.hold(work, HELD_BYTES // 10)
    watch.is_paused = False
    waiting.run()
    assert done == [10]


def test_what_comes_in_while_it_opens_is_done_in_order() -> None:
    watch, waiting = Watch(), Waiting()
    gate, said = PauseGate(watch, lambda: 0.0, waiting.start), list[int]()
    watch.is_paused = True

    def say(number: int) -> Callable[[], None]:
        return lambda: said.append(number)

    for number in range(3):
        gate.hold(say(number))
    watch.is_paused = False
    waiting.run()
    assert said == [0, 1, 2]


def recorded_so_far(process: Process, folder: Path) -> tuple[Path, int]:
    """Return the file of the recording, once all of it is written, and its length in ms."""
    assert process.recordings is not None
    disk = process.recordings.thread
    (file,) = process.recordings._live.values()
    wait_until(lambda: file._samples and not disk._bytes)
    (path,) = folder.iterdir()
    return path, file._samples // 8


@pytest.mark.parametrize("goes_on", [True, False])
def test_what_comes_after_a_pause_is_not_recorded_before_it_is_known_whose_call_it_is(
    tmp_path: Path, goes_on: bool
) -> None:
    """Another process may have gone on with the file: on a shared disk, or on this machine."""
    of, process, watch, waiting = talking(tmp_path)
    path, length_ms = recorded_so_far(process, tmp_path)
    watch.is_paused = True
    of.clock.run(12)
    assert recorded_so_far(process, tmp_path) == (path, length_ms)
    others = b"\x11" * 8000
    if goes_on:
        with path.open("ab") as file:
            file.write(others)
    process.calls.releasing.fence(SID)
    process.write_recordings()
    written = path.read_bytes()
    samples = 8 * length_ms
    header = stereo_header(None if goes_on else samples)
    assert written.startswith(header), "the sizes are those of who goes on with it"
    assert written[STEREO_HEADER_BYTES + 2 * samples :] == (others if goes_on else b"")
    for work in waiting.tasks:
        work.close()


def test_a_call_that_is_still_ours_after_a_pause_is_recorded_again(tmp_path: Path) -> None:
    of, process, watch, waiting = talking(tmp_path)
    path, length_ms = recorded_so_far(process, tmp_path)
    watch.is_paused = True
    of.clock.run(1)
    watch.is_paused = False
    waiting.run()
    of.clock.run(20)
    process.write_recordings()
    left, right = read_stereo(path)
    (ended,) = (each for each in process.events if isinstance(each, RecordingEnded))
    assert len(left) == 8 * ended.length_ms
    assert left[8 * (length_ms + 1000) :].strip(SILENCE), "the caller's question"
    assert right[8 * (length_ms + 1000) :].strip(SILENCE), "the answer"
