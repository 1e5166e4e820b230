"""The person who calls, alone with a telephone: 20 ms in, 20 ms out."""

from collections.abc import Sequence
from typing import Any

import pytest

from offhook import audio
from offhook.rehearsal import caller, clips
from offhook.rehearsal.caller import Caller, Said
from offhook.rehearsal.scenario import BargeIn, HangUp, Step, WaitForAgent

LOUD = b"\x10"
QUIET = audio.silence(audio.FRAME_MS)
CLIPS = {
    # 300 ms of speech, with 100 ms of silence before and 200 ms after it.
    "question": audio.silence(100) + LOUD * 2400 + audio.silence(200),
    "odd": LOUD * 161,
    "nothing": audio.silence(60),
}


def near(expected: Any) -> Any:
    return pytest.approx(expected, rel=0, abs=1e-6)


class Telephone:
    """Plays the agent's audio to a caller, 20 ms at a time from 0 s on; keeps what it says."""

    def __init__(self, *steps: Step, noise_dbfs: float | None = None) -> None:
        self.caller = Caller(steps, CLIPS.__getitem__, noise_dbfs=noise_dbfs)
        self.spoken = b""
        self.keys: list[tuple[float, str]] = []
        self.hung_up: list[float] = []
        self.now = 0.0
        self._heard = QUIET
        self._frames = 0

    def press(self, key: str) -> None:
        self.keys.append((self.now, key))

    def hang_up(self) -> None:
        self.hung_up.append(self.now)

    def run(self, agent: Sequence[tuple[float, float]], until: float) -> list[Said]:
        """Let time pass while the agent speaks in those stretches (seconds)."""
        length = round(until * audio.BYTES_PER_SECOND)
        line = bytearray(audio.SILENCE * length)
        for began, ended in agent:
            a, b = round(began * audio.BYTES_PER_SECOND), round(ended * audio.BYTES_PER_SECOND)
            line[a:b] = LOUD * (b - a)
        while self._frames * audio.FRAME_BYTES < length:
            frame = self.caller.next_frame(self, self._heard, self.now)
            assert len(frame) == audio.FRAME_BYTES
            self.spoken += frame
            begin = self._frames * audio.FRAME_BYTES
            self._heard = bytes(line[begin : begin + audio.FRAME_BYTES])
            self._frames += 1
            self.now = self._frames * audio.FRAME_MS / 1000
        return self.caller.said


def wait_for_agent(**options: Any) -> Step:
    return Step(wait_for_agent=WaitForAgent(**options))


def barge_in(after_ms: int, **options: Any) -> Step:
    return Step(barge_in=BargeIn(after_ms=after_ms, say="question", **options))


def test_speech_begins_and_ends_where_the_recording_is_loud() -> None:
    telephone = Telephone(Step(wait=0.2), Step(say="question"))
    (said,) = telephone.run([], 2.0)
    assert telephone.spoken[1600 : 1600 + 4800] == CLIPS["question"]
    # The first loud frame lies at 300 to 320 ms: it is sent when it has been spoken.
    assert (said.began, said.ended) == (near(0.32), near(0.6))
    assert (said.time_to_answer, said.time_to_silence) == (None, None)


def test_a_recording_that_is_no_whole_frames_long_ends_in_silence() -> None:
    telephone = Telephone(Step(say="odd"), Step(say="odd"))
    telephone.run([], 0.1)
    assert telephone.spoken[:320] == LOUD * 161 + audio.SILENCE * 159
    assert telephone.spoken[320:640] == telephone.spoken[:320]


def test_a_recording_of_nothing_was_said_at_no_time() -> None:
    telephone = Telephone(Step(say="nothing"))
    (said,) = telephone.run([(0.5, 1.0)], 2.0)
    assert said == Said("nothing", barge_in=False)


def test_waiting_for_the_agent_is_waiting_for_speech_and_then_for_quiet() -> None:
    telephone = Telephone(wait_for_agent(), Step(press="1"))
    # A pause of half a second is not the end of the agent's turn.
    telephone.run([(0.5, 1.0), (1.5, 2.0)], 4.0)
    assert telephone.keys == [(near(2.6), "1")]


def test_only_speech_after_the_callers_own_is_an_answer() -> None:
    telephone = Telephone(
        wait_for_agent(), Step(say="question"), wait_for_agent(quiet_ms=200), Step(press="1")
    )
    (said,) = telephone.run([(0.0, 1.0), (3.0, 4.0)], 6.0)
    assert said.ended == near(1.6 + 0.4)
    assert said.answered == near(3.0)
    assert said.time_to_answer == near(1.0)
    assert said.time_to_silence is None
    assert telephone.keys == [(near(4.2), "1")]


def test_an_agent_that_spoke_during_a_wait_need_not_speak_again() -> None:
    telephone = Telephone(Step(wait=3.0), wait_for_agent(), Step(press="1"))
    telephone.run([(0.5, 1.0)], 4.0)
    assert telephone.keys == [(near(3.0), "1")]


def test_an_agent_that_never_speaks_or_never_ends_is_a_failure() -> None:
    telephone = Telephone(wait_for_agent(timeout=1), wait_for_agent(timeout=2), Step(press="1"))
    telephone.run([(1.5, 5.0)], 6.0)
    assert list(map(str, telephone.caller.failed)) == [
        "step 1: the agent did not speak within 1 s",
        "step 2: the agent did not finish within 2 s",
    ]
    assert telephone.keys == [(near(3.0), "1")]


def test_barging_in_is_timed_from_the_agents_first_sound() -> None:
    telephone = Telephone(barge_in(700))
    (said,) = telephone.run([(1.0, 1.953)], 4.0)
    # 700 ms after 1.0 s, 100 ms of silence in the recording, 20 ms to speak the first frame.
    assert said.began == near(1.82)
    assert said.agent_silent == near(1.953)
    assert said.time_to_silence == near(0.133)


def test_an_answer_after_a_barge_in_is_not_the_speech_that_was_cut() -> None:
    telephone = Telephone(barge_in(500))
    (said,) = telephone.run([(1.0, 1.75), (2.9, 3.5)], 4.0)
    assert said.time_to_silence == near(0.13)
    assert said.ended == near(1.9)
    assert said.time_to_answer == near(1.0)


def test_barging_in_between_two_words_counts_if_there_is_no_third() -> None:
    telephone = Telephone(barge_in(700))
    (said,) = telephone.run([(1.0, 1.5)], 4.0)
    assert said.time_to_silence == 0.0


def test_an_agent_that_cannot_be_interrupted_is_seen_to_go_on() -> None:
    telephone = Telephone(barge_in(200))
    (said,) = telephone.run([(1.0, 4.0)], 5.0)
    assert said.time_to_silence == near(4.0 - 1.32)
    assert said.answered is None


def test_speech_long_past_is_not_what_the_caller_barges_in_on() -> None:
    telephone = Telephone(Step(wait=2.0), barge_in(200))
    (said,) = telephone.run([(0.5, 1.0), (3.0, 4.0)], 5.0)
    assert said.began == near(3.0 + 0.2 + 0.12)


def test_nobody_to_barge_in_on_is_a_failure() -> None:
    telephone = Telephone(barge_in(200, timeout=1), Step(press="1"))
    assert telephone.run([], 2.0) == []
    assert list(map(str, telephone.caller.failed)) == [
        "step 1: the agent did not begin to speak within 1 s"
    ]
    assert telephone.keys == [(near(1.0), "1")]


def test_keys_are_pressed_one_after_another() -> None:
    telephone = Telephone(Step(press="1#"), Step(press="2"))
    telephone.run([], 1.0)
    assert telephone.keys == [(0.0, "1"), (near(0.2), "#"), (near(0.4), "2")]
    assert telephone.spoken == audio.silence(1000)


def test_nothing_is_done_after_hanging_up() -> None:
    telephone = Telephone(Step(wait=0.1), Step(hang_up=HangUp()), Step(press="1"))
    telephone.run([], 1.0)
    assert telephone.hung_up == [near(0.1)]
    assert telephone.keys == []


def test_a_noisy_line_is_not_taken_for_speech_and_is_always_the_same() -> None:
    one, two = Telephone(noise_dbfs=-50), Telephone(noise_dbfs=-50)
    one.run([], 3.0)
    two.run([], 3.0)
    assert one.spoken == two.spoken
    frames = [one.spoken[i : i + 160] for i in range(0, len(one.spoken), 160)]
    assert len(set(frames)) == 50  # a second of noise, over again
    assert not any(map(caller.is_speech, frames))


@pytest.mark.parametrize("name", clips.names())
def test_every_recording_is_speech(name: str) -> None:
    clip = clips.load(name)
    frames = [clip[i : i + 160] for i in range(0, len(clip), 160)]
    loud = [index for index, frame in enumerate(frames) if caller.is_speech(frame)]
    assert len(loud) > len(frames) / 3
