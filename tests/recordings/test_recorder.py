"""Recordings of whole calls, beside what the simulated Twilio really played."""

import dataclasses
import errno
import io
import logging
import re
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from tests.calls.test_session import Rehearsal
from tests.recordings.played import DifferentError, compare
from tests.recordings.talk import ENDLESS, LONG, TALKATIVE, steps, talk
from tests.whole_server import ASK, GREET, HANG_UP, HOURS, TOKEN, configured, whole_server

from offhook.call.inputs import RequestCancelled
from offhook.call.requests import AskDigits, SwitchAgent
from offhook.calls.agent_session import call_settings
from offhook.calls.control import CallControl
from offhook.config import load
from offhook.errors import UserError
from offhook.events.types import (
    CallEnded,
    Event,
    FunctionAnswered,
    ProtocolViolation,
    RecordingEnded,
    RecordingFailed,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    SecretEntered,
)
from offhook.recordings import disk_writer, reading, recorder, wav
from offhook.recordings.files import LocalFiles
from offhook.recordings.recorder import Recordings
from offhook.serving.listen import listen
from offhook.serving.server import Server
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn
from offhook.testing.virtual_clock import VirtualClock
from offhook.tools.declare import Call

BARGE_IN = ScenarioStep.model_validate({"barge_in": {"after_ms": 1500, "say": "Stop."}})
SID = "CA" + "2" * 32


def only(folder: Path) -> Path:
    (path,) = folder.glob("*.wav")
    return path


def about_recording(rehearsal: Rehearsal) -> list[str]:
    return [type(e).__name__ for e in rehearsal.events if type(e).__name__.startswith("Recording")]


# --- what is recorded ----------------------------------------------------------------------------


def test_a_long_call_is_recorded_as_it_was_played(tmp_path: Path) -> None:
    """The short form of bench/recording.py."""
    rehearsal, left, right = talk(tmp_path, 180)
    compared = list(compare(rehearsal.stream, right))
    assert sum(one.cut for one in compared) > 10
    assert all(abs(one.start_ms) <= 40 for one in compared)
    assert all(abs(one.end_ms) <= 40 for one in compared)
    spoken = rehearsal.stream.spoken
    assert left[160:] == spoken, "the first frame's timestamp is 20 ms"
    assert abs(len(left) - len(spoken)) <= 160
    (ended,) = (e for e in rehearsal.events if isinstance(e, RecordingEnded))
    assert ended.length_ms == len(left) / 8


@pytest.mark.parametrize("harm", ["lost", "doubled", "uncut", "late"])
def test_the_comparison_finds_a_wrong_recording(tmp_path: Path, harm: str) -> None:
    rehearsal, _, right = talk(tmp_path, 60)
    bursts = rehearsal.stream.bursts
    cut = next(burst for burst in bursts if burst.cut_by == "clear")
    end = round((cut.ended - rehearsal.stream.started_at) * 8000)
    wrong = {
        "lost": right[: end - 8000] + right[end - 7999 :],
        "doubled": right[: end - 8000] + right[end - 8160 :],
        "uncut": right[:end] + b"\x10" * 800 + right[end + 800 :],
        "late": right[: end + 800] + b"\xff" * 800 + right[end + 800 :],
    }
    with pytest.raises(DifferentError):
        list(compare(rehearsal.stream, wrong[harm]))


async def test_a_server_records_the_calls_of_its_webhook(tmp_path: Path) -> None:
    """Over real sockets, where a busy machine moves times, but not what was played between cuts."""
    script = Script(turns=[ScriptTurn(hear=HOURS, say=[LONG])], silence_ms=300, reply_ms=50)
    config = configured("ws://127.0.0.1:1/", announcement="This is recorded.", recording=True)
    records = config.records.model_copy(update={"folder": tmp_path / "data"})
    config = dataclasses.replace(config, records=records)
    async with whole_server(script, config=config) as h:
        report = await h.call(GREET, ASK, BARGE_IN, GREET, HANG_UP)
        await h.until_ended()
        events = h.events()
    path = only(tmp_path / "data" / "recordings")
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}Z-{report.call_sid}\.wav", path.name)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (stream,) = report.streams
    left, right = wav.read_stereo(path)
    assert left[160 : len(stream.spoken) + 160] == stream.spoken[: len(left) - 160]
    compared = list(compare(stream, right, near_ms=400))
    assert [one.cut for one in compared] == [False, True, False]
    names = [type(e).__name__ for e in events if type(e).__name__.startswith("Recording")]
    assert names == ["RecordingStarted", "RecordingEnded"]
    assert RecordingStarted(path.name) in events
    kinds = [type(e) for e in events]
    assert kinds.index(RecordingEnded) < kinds.index(CallEnded)


TOOLS = '''
from offhook.tools import Call, tool

@tool
def hide(call: Call) -> str:
    """Before a card number."""
    return str(call.pause_recording())
'''
AGENT = """
settings:
  listen: {provider: {type: deepgram, version: v2, model: flux-general-en}}
  think: {provider: {type: open_ai, model: gpt-4o-mini}, prompt: Be brief.}
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
  greeting: Hello! How can I help you today?
announcement: This is recorded.
recording: true
tools: [tools.py]
"""


async def test_a_tool_in_a_thread_pauses_the_recording(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    (tmp_path / "agent.yaml").write_text(AGENT)
    (tmp_path / "offhook.yaml").write_text("lines: {default: agent.yaml}")
    config = load(
        tmp_path / "offhook.yaml", {"DEEPGRAM_API_KEY": "a-key", "TWILIO_AUTH_TOKEN": TOKEN}
    )
    turn = ScriptTurn(
        hear=HOURS, function_calls=[ScriptFunctionCall(name="hide")], say=["Of course."]
    )
    async with whole_server(Script(turns=[turn], silence_ms=300), config=config) as h:
        await h.call(GREET, ASK, GREET, HANG_UP)
        await h.until_ended()
        events = h.events()
    assert [e.content for e in events if isinstance(e, FunctionAnswered)] == ["True"]
    assert [e for e in events if isinstance(e, RecordingPaused)] == [RecordingPaused()]
    paused_at = next(h.at_ms for h in h.happened if isinstance(h.event, RecordingPaused))
    began_at = next(h.at_ms for h in h.happened if isinstance(h.event, RecordingStarted))
    left, right = wav.read_stereo(only(tmp_path / "offhook-data" / "recordings"))
    begin = 8 * (paused_at - began_at + 100)
    assert set(left[begin:]) == set(right[begin:]) == {0xFF}
    assert right.strip(b"\xff"), "the greeting was recorded"


def test_a_folder_that_cannot_be_written_is_found_before_the_first_call(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    config = configured("ws://127.0.0.1:1/", announcement="This is recorded.", recording=True)
    records = config.records.model_copy(update={"folder": tmp_path / "data"})
    with listen("127.0.0.1", 0) as sock, pytest.raises(UserError, match="E-AUD-01"):
        Server(dataclasses.replace(config, records=records), sock, [])


async def test_a_server_that_records_nobody_makes_no_folder(tmp_path: Path) -> None:
    config = configured("ws://127.0.0.1:1/")
    records = config.records.model_copy(update={"folder": tmp_path / "data"})
    async with whole_server(config=dataclasses.replace(config, records=records)) as h:
        await h.call(GREET, HANG_UP)
        await h.until_ended()
        assert not any(isinstance(e, RecordingStarted) for e in h.events())
    assert LocalFiles(tmp_path).names() == []
    assert not (tmp_path / "data").exists()


def test_who_was_not_told_is_not_recorded(tmp_path: Path) -> None:
    """A TwiML Bin's stream does not come by the webhook, which says the announcement."""
    with Recordings(LocalFiles(tmp_path)) as recordings:
        rehearsal = Rehearsal(GREET, HANG_UP, recordings=recordings, webhook=False)
        assert rehearsal.run(60) == ["caller_hung_up"]
    assert about_recording(rehearsal) == ["RecordingFailed"]
    assert list(tmp_path.iterdir()) == []


# --- pause ---------------------------------------------------------------------------------------


def control(rehearsal: Rehearsal) -> CallControl:
    return rehearsal.calls.registry.live[SID].control


def paused_call(folder: Path, pause: Callable[[Rehearsal], bool]) -> tuple[Rehearsal, bytes, bytes]:
    folder.mkdir(exist_ok=True)
    with Recordings(LocalFiles(folder)) as recordings:
        rehearsal = Rehearsal(*steps(20), script=TALKATIVE, limits=ENDLESS, recordings=recordings)
        rehearsal.clock.run(4)
        assert pause(rehearsal)
        rehearsal.clock.run(10)
        assert control(rehearsal).set_recording(True)
        rehearsal.clock.run(6)
        rehearsal.stream.hang_up()
        rehearsal.clock.run(1)
    return rehearsal, *wav.read_stereo(only(folder))


def by_calls(rehearsal: Rehearsal) -> bool:
    return control(rehearsal).set_recording(False)


def by_a_tool_in_a_thread(rehearsal: Rehearsal) -> bool:
    answers: list[bool] = []
    handle = Call(SID, "seed", None, None, {}, _set_recording=control(rehearsal).set_recording)
    thread = threading.Thread(target=lambda: answers.append(handle.pause_recording()))
    thread.start()
    thread.join()
    return answers == [True]


@pytest.mark.parametrize("pause", [by_calls, by_a_tool_in_a_thread])
def test_a_pause_is_silent_on_both_sides(
    tmp_path: Path, pause: Callable[[Rehearsal], bool]
) -> None:
    rehearsal, left, right = paused_call(tmp_path / "paused", pause)
    _, whole_left, whole_right = paused_call(tmp_path / "whole", lambda rehearsal: True)
    # A frame takes 20 ms to come, and gives its time 20 ms late: the two make up for each other.
    begin, end = 4 * 8000, 14 * 8000
    for side, whole in ((left, whole_left), (right, whole_right)):
        assert side == whole[:begin] + b"\xff" * (end - begin) + whole[end:]
        assert whole[begin:end].strip(b"\xff"), "else this shows nothing"
    assert about_recording(rehearsal) == [
        "RecordingStarted",
        "RecordingPaused",
        "RecordingResumed",
        "RecordingEnded",
    ]
    times = {type(h.event): h.at_ms for h in rehearsal.happened}
    assert times[RecordingResumed] - times[RecordingPaused] == 10_000


def test_asking_twice_changes_nothing(tmp_path: Path) -> None:
    def twice(rehearsal: Rehearsal) -> bool:
        calls = control(rehearsal)
        assert calls.set_recording(True)
        assert calls.set_recording(False)
        return calls.set_recording(False)

    rehearsal, _, _ = paused_call(tmp_path, twice)
    assert about_recording(rehearsal).count("RecordingPaused") == 1


def switched(rehearsal: Rehearsal, *, recording: bool) -> None:
    """Another agent takes over, in whose file `recording` is that."""
    agents = rehearsal.calls.agents
    seed = agents.agent_for(None)
    assert seed is not None
    agents._by_name["billing"] = seed.model_copy(update={"recording": recording})
    session = rehearsal.calls.registry.live[SID].session
    assert session is not None
    session.ask(SwitchAgent("billing", call_settings(seed)), lambda done, what: None)
    rehearsal.clock.run(4)


def test_an_agent_that_is_not_recorded_is_not_recorded_when_it_takes_over(tmp_path: Path) -> None:
    with Recordings(LocalFiles(tmp_path)) as recordings:
        rehearsal = Rehearsal(*steps(30), script=TALKATIVE, limits=ENDLESS, recordings=recordings)
        rehearsal.clock.run(4)
        switched(rehearsal, recording=False)
        assert not control(rehearsal).set_recording(True), "it is not its tools' to decide"
        rehearsal.clock.run(4)
        switched(rehearsal, recording=True)
        rehearsal.clock.run(4)
        rehearsal.stream.hang_up()
        rehearsal.clock.run(1)
    assert about_recording(rehearsal) == [
        "RecordingStarted",
        "RecordingPaused",
        "RecordingResumed",
        "RecordingEnded",
    ]
    times = {type(h.event): h.at_ms for h in rehearsal.happened}
    began = times[RecordingPaused] - times[RecordingStarted]
    silent_ms = times[RecordingResumed] - times[RecordingPaused]
    assert silent_ms >= 8000
    sides = wav.read_stereo(only(tmp_path))
    for side in sides:
        assert side[: 8 * began].strip(b"\xff")
        assert not side[8 * (began + 40) : 8 * (began + silent_ms - 40)].strip(b"\xff")
    assert any(side[8 * (began + silent_ms) :].strip(b"\xff") for side in sides)


def test_a_recording_is_never_begun_in_mid_call(tmp_path: Path) -> None:
    """Who is recorded was told so before the stream: an agent that takes over changes nothing."""
    with Recordings(LocalFiles(tmp_path)) as recordings:
        rehearsal = Rehearsal(GREET, recordings=recordings, webhook=False, limits=ENDLESS)
        rehearsal.clock.run(4)
        switched(rehearsal, recording=True)
        rehearsal.stream.hang_up()
        rehearsal.clock.run(1)
    failed = [h.event for h in rehearsal.happened if isinstance(h.event, RecordingFailed)]
    assert failed[-1].why == "the caller was not told at the beginning of the call"
    assert list(tmp_path.iterdir()) == []


def test_a_secret_is_silent_whatever_else_is_asked(tmp_path: Path) -> None:
    with Recordings(LocalFiles(tmp_path)) as recordings:
        rehearsal = Rehearsal(*steps(20), script=TALKATIVE, limits=ENDLESS, recordings=recordings)
        rehearsal.clock.run(4)
        session = rehearsal.calls.registry.live[SID].session
        assert session is not None
        told: list[tuple[bool, str]] = []
        ask = session.ask(AskDigits("", 4, 6.0), lambda *reply: told.append(reply))
        rehearsal.clock.run(2)
        assert session.set_recording(False)
        assert session.set_recording(True)
        rehearsal.clock.run(4)
        session.receive(RequestCancelled(ask))
        rehearsal.clock.run(5)
        rehearsal.stream.hang_up()
        rehearsal.clock.run(1)
    assert told == [(False, "nobody waits for it")]
    times = {type(h.event): h.at_ms for h in rehearsal.happened}
    silent_ms = times[RecordingResumed] - times[RecordingPaused]
    assert silent_ms == times[SecretEntered] - times[RecordingPaused] + 1000
    assert about_recording(rehearsal).count("RecordingPaused") == 1
    began = times[RecordingPaused] - times[RecordingStarted]
    for side in wav.read_stereo(only(tmp_path)):
        assert not side[8 * (began + 40) : 8 * (began + silent_ms - 40)].strip(b"\xff")
        assert side[8 * (began + silent_ms) :].strip(b"\xff"), "else this shows nothing"


def test_what_is_not_recorded_cannot_be_paused() -> None:
    rehearsal = Rehearsal(GREET, HANG_UP)
    rehearsal.clock.run(2)
    live = control(rehearsal)
    for is_on in (False, True):
        assert not live.set_recording(is_on)
    rehearsal.clock.run(60)
    for is_on in (False, True):
        assert not live.set_recording(is_on), "it is over"
    assert not Call("CA1", "seed", None, None).pause_recording()
    assert not Call("CA1", "seed", None, None).resume_recording()


# --- silence for good ----------------------------------------------------------------------------


def test_a_stretch_of_a_live_recording_is_silenced_before_and_after_it_comes(
    tmp_path: Path,
) -> None:
    files = LocalFiles(tmp_path)
    clock = VirtualClock()
    with Recordings(files) as recordings:
        made = recordings.begin("CA1", clock, lambda event: None)
        for number in range(500):
            if number == 250:
                recordings.silence(made.name, 1000, 2000, "caller")  # written, or about to be
                recordings.silence(made.name, 4000, 20_000, "agent")  # not even said
            clock.run(0.02)
            made.played(b"\x22" * 160)
            made.heard(20 * number, b"\x11" * 160)
        made.finish()
    left, right = wav.read_stereo(only(tmp_path))
    assert left == b"\x11" * 8000 + b"\xff" * 8000 + b"\x11" * 64_000
    assert right == b"\xff" * 160 + b"\x22" * 31_840 + b"\xff" * 48_000
    with Recordings(files) as recordings:
        recordings.silence(made.name, 0, 500, "both")
    left, right = wav.read_stereo(only(tmp_path))
    assert left[:4000] == right[:4000] == b"\xff" * 4000
    assert left[4000:8000] == b"\x11" * 4000


# --- what goes wrong -----------------------------------------------------------------------------


class FullDisk(LocalFiles):
    """A folder on a disk with `room` for so many bytes."""

    room = 40_000

    def create(self, name: str) -> BinaryIO:
        disk = self

        class Raw(io.FileIO):
            def write(self, data: Any, /) -> int:
                if disk.room <= 0 and self.tell() >= 58:
                    raise OSError(errno.ENOSPC, "No space left on device")
                written = super().write(bytes(data)[: max(disk.room, 58)])
                disk.room -= written
                return written

        super().create(name).close()
        return io.BufferedRandom(Raw(self._folder / name, "r+b"))


class Broken(LocalFiles):
    """A disk on which no file can be made."""

    def create(self, name: str) -> BinaryIO:
        raise OSError(errno.EIO, "Input/output error")


def recorded_call(recordings: Recordings) -> Rehearsal:
    rehearsal = Rehearsal(GREET, ASK, GREET, HANG_UP, recordings=recordings)
    for _ in range(600):  # so that the disk's thread has its turns
        if rehearsal.endings:
            break
        rehearsal.clock.run(0.1)
        settle(recordings)
    assert [ended.slug for ended in rehearsal.endings] == ["caller_hung_up"]
    return rehearsal


def settle(recordings: Recordings) -> None:
    """Wait until the disk's thread has taken what it was given."""
    idle = threading.Event()

    class Last:
        stopped = False

        def stop(self, why: str) -> None: ...

        def write(self, parts: list[bytes]) -> None: ...

        def close(self) -> None:
            idle.set()

    recordings.thread.close(Last())
    assert idle.wait(20)


def test_a_full_disk_stops_the_recording_and_not_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(disk_writer, "GATHER_S", 0.0)
    files = FullDisk(tmp_path)
    with Recordings(files) as recordings:
        rehearsal = recorded_call(recordings)
    assert about_recording(rehearsal) == ["RecordingStarted", "RecordingFailed"]
    assert RecordingFailed("No space left on device") in rehearsal.events
    assert caplog.text.count("E-AUD-02") == 1
    left, right = wav.read_stereo(only(tmp_path))
    assert len(left) == len(right) == (40_000 - 58) // 2
    assert left[160:] == rehearsal.stream.spoken[: len(left) - 160], "what is there can be heard"
    assert not reading.find(files, only(tmp_path).name).growing


def test_a_file_that_cannot_be_made_fails_the_recording_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(disk_writer, "GATHER_S", 0.0)
    with Recordings(Broken(tmp_path)) as recordings:
        rehearsal = recorded_call(recordings)
    assert RecordingFailed("Input/output error") in rehearsal.events
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_hangs_stops_the_recording_and_not_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "WAITING_BYTES", 100_000)
    released = threading.Event()

    class Hanging(LocalFiles):
        def create(self, name: str) -> BinaryIO:
            released.wait(20)
            return super().create(name)

    with Recordings(Hanging(tmp_path)) as recordings:
        rehearsal = Rehearsal(GREET, ASK, GREET, HANG_UP, recordings=recordings)
        assert rehearsal.run(60) == ["caller_hung_up"]
        assert RecordingFailed("the disk is too slow") in rehearsal.events
        assert recordings.thread._bytes <= 100_000
        released.set()
    left, _ = wav.read_stereo(only(tmp_path))
    assert 0 < len(left) <= 50_000
    assert left[160:] == rehearsal.stream.spoken[: len(left) - 160]


def test_a_fault_of_ours_stops_the_recording_and_not_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from offhook.recordings.timeline import Timeline

    def broken(*_: object) -> None:
        raise RuntimeError("boom")

    with Recordings(LocalFiles(tmp_path)) as recordings:
        rehearsal = Rehearsal(GREET, ASK, GREET, HANG_UP, recordings=recordings)
        rehearsal.clock.run(4)
        monkeypatch.setattr(Timeline, "heard", broken)
        assert rehearsal.run(60) == ["caller_hung_up"]
    assert RecordingFailed("RuntimeError") in rehearsal.events
    assert "boom" in caplog.text
    assert len(wav.read_stereo(only(tmp_path))[0]) > 8000


def test_a_call_sid_from_outside_cannot_leave_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    files = LocalFiles(folder)
    files.prepare()
    with Recordings(files) as recordings:
        for call_sid in ("../../etc/" + "x" * 5000, "\0", "", "CÄ" * 50, "..\\..\\a"):
            recordings.begin(call_sid, VirtualClock(), lambda event: None).finish()
    assert list(tmp_path.iterdir()) == [folder]
    assert all(len(name) < 80 for name in files.names())
    assert len(reading.names(files)) == 5


def test_timestamps_that_make_no_sense_are_one_fault_and_no_ending(tmp_path: Path) -> None:
    told: list[Event] = []
    clock = VirtualClock()
    with Recordings(LocalFiles(tmp_path)) as recordings:
        made = recordings.begin("CA1", clock, told.append)
        for number in range(1000):
            clock.run(0.02)
            made.heard("soon" if number % 2 else 10**9 * number, b"\x11" * 160)
        made.finish()
    assert sum(isinstance(event, ProtocolViolation) for event in told) == 1
    assert wav.read_stereo(only(tmp_path))[0] == b"\x11" * 160_000


def test_nothing_more_is_recorded_after_the_end(tmp_path: Path) -> None:
    told: list[Event] = []
    with Recordings(LocalFiles(tmp_path)) as recordings:
        made = recordings.begin("CA1", VirtualClock(), told.append)
        for _ in range(2):
            made.heard(0, b"\x11" * 160)
            made.played(b"\x22" * 160)
            made.cut()
            made.finish()
            assert not made.pause()
    assert told == [RecordingEnded(20)]


def test_the_log_knows_nothing_of_what_was_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "offhook.recordings")
    talk(tmp_path, 10)
    assert [r for r in caplog.records if r.name == "offhook.recordings"] == []
