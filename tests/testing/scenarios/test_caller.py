"""The person who calls, alone with a telephone: 20 ms in, 20 ms out."""

from typing import Any

import pytest
from tests.testing.telephone import CLIPS, LOUD, Telephone, Words, near

from offhook import audio
from offhook.testing.scenarios.caller import Exchange, Pressed, Said, Silent, SimulatedCaller
from offhook.testing.scenarios.expectation import ExpectTurn
from offhook.testing.scenarios.scenario import BargeIn, HangUpStep, ScenarioStep, WaitForAgent
from offhook.testing.simulator.speech import clips
from offhook.testing.simulator.speech.levels import is_speech


def wait_for_agent(**options: Any) -> ScenarioStep:
    return ScenarioStep(wait_for_agent=WaitForAgent(**options))


def barge_in(after_ms: int, **options: Any) -> ScenarioStep:
    return ScenarioStep(barge_in=BargeIn(after_ms=after_ms, say="question", **options))


def test_speech_begins_and_ends_where_the_recording_is_loud() -> None:
    telephone = Telephone(ScenarioStep(wait=0.2), ScenarioStep(say="question"))
    (said,) = telephone.run([], 2.0)
    assert telephone.spoken[1600 : 1600 + 4800] == CLIPS["question"]
    # The first loud frame lies at 300 to 320 ms: it is sent when it has been spoken.
    assert (said.began, said.ended) == (near(0.32), near(0.6))
    assert (said.time_to_answer, said.time_to_silence) == (None, None)


def test_a_recording_that_is_no_whole_frames_long_ends_in_silence() -> None:
    telephone = Telephone(ScenarioStep(say="odd"), ScenarioStep(say="odd"))
    telephone.run([], 0.1)
    assert telephone.spoken[:320] == LOUD * 161 + audio.SILENCE * 159
    assert telephone.spoken[320:640] == telephone.spoken[:320]


def test_a_recording_of_nothing_was_said_at_no_time() -> None:
    telephone = Telephone(ScenarioStep(say="nothing"))
    (said,) = telephone.run([(0.5, 1.0)], 2.0)
    assert said == Said("nothing", barge_in=False)


def test_waiting_for_the_agent_is_waiting_for_speech_and_then_for_quiet() -> None:
    telephone = Telephone(wait_for_agent(), ScenarioStep(press="1"))
    # A pause of half a second is not the end of the agent's turn.
    telephone.run([(0.5, 1.0), (1.5, 2.0)], 4.0)
    assert telephone.keys == [(near(2.6), "1")]


def test_only_speech_after_the_callers_own_is_an_answer() -> None:
    telephone = Telephone(
        wait_for_agent(),
        ScenarioStep(say="question"),
        wait_for_agent(quiet_ms=200),
        ScenarioStep(press="1"),
    )
    (said,) = telephone.run([(0.0, 1.0), (3.0, 4.0)], 6.0)
    assert said.ended == near(1.6 + 0.4)
    assert said.answered == near(3.0)
    assert said.time_to_answer == near(1.0)
    assert said.time_to_silence is None
    assert telephone.keys == [(near(4.2), "1")]


def test_an_agent_that_spoke_during_a_wait_need_not_speak_again() -> None:
    telephone = Telephone(ScenarioStep(wait=3.0), wait_for_agent(), ScenarioStep(press="1"))
    telephone.run([(0.5, 1.0)], 4.0)
    assert telephone.keys == [(near(3.0), "1")]


def test_an_agent_that_never_speaks_or_never_ends_is_a_failure() -> None:
    telephone = Telephone(
        wait_for_agent(timeout=1), wait_for_agent(timeout=2), ScenarioStep(press="1")
    )
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
    telephone = Telephone(ScenarioStep(wait=2.0), barge_in(200))
    (said,) = telephone.run([(0.5, 1.0), (3.0, 4.0)], 5.0)
    assert said.began == near(3.0 + 0.2 + 0.12)


def test_nobody_to_barge_in_on_is_a_failure() -> None:
    telephone = Telephone(barge_in(200, timeout=1), ScenarioStep(press="1"))
    assert telephone.run([], 2.0) == []
    assert list(map(str, telephone.caller.failed)) == [
        "step 1: the agent did not begin to speak within 1 s"
    ]
    assert telephone.keys == [(near(1.0), "1")]


def test_keys_are_pressed_one_after_another() -> None:
    telephone = Telephone(ScenarioStep(press="1#"), ScenarioStep(press="2"))
    telephone.run([], 1.0)
    assert telephone.keys == [(0.0, "1"), (near(0.2), "#"), (near(0.4), "2")]
    assert telephone.spoken == audio.silence(1000)


def test_nothing_is_done_after_hanging_up() -> None:
    telephone = Telephone(
        ScenarioStep(wait=0.1), ScenarioStep(hang_up=HangUpStep()), ScenarioStep(press="1")
    )
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
    assert not any(map(is_speech, frames))


@pytest.mark.parametrize("name", clips.names())
def test_every_recording_is_speech(name: str) -> None:
    clip = clips.load(name)
    frames = [clip[i : i + 160] for i in range(0, len(clip), 160)]
    loud = [index for index, frame in enumerate(frames) if is_speech(frame)]
    assert len(loud) > len(frames) / 3


# --- What is heard, and what is expected of it ---


def expect(**options: Any) -> ScenarioStep:
    return ScenarioStep(expect=ExpectTurn(**{"says": "yes", **options}))


def test_what_is_heard_is_cut_into_stretches_by_pauses() -> None:
    telephone = Telephone(hearing=Words())
    # 300 ms of silence are no pause, half a second is.
    telephone.run([(0.5, 1.0), (1.3, 1.5), (2.0, 2.5)], 4.0)
    first, second = telephone.caller.stretches
    assert (first.began, first.ended, first.over) == (near(0.5), near(1.5), True)
    assert (second.began, second.ended, second.over) == (near(2.0), near(2.5), True)
    assert telephone.words.heard == [first, second]
    # The sound, with 200 ms of the line before it and after it.
    assert bytes(first.audio).strip(audio.SILENCE).count(LOUD) == 8000 * 0.7
    assert len(first.audio) == 8000 * 1.4


def test_what_is_audible_when_the_call_ends_has_been_heard() -> None:
    telephone = Telephone(hearing=Words())
    telephone.run([(0.5, 2.0)], 1.0)
    assert telephone.words.heard == []
    telephone.caller.call_ended()
    (stretch,) = telephone.words.heard
    assert stretch.over
    telephone.caller.call_ended()
    assert len(telephone.words.heard) == 1


def test_an_expectation_is_waited_for_until_it_has_come_true() -> None:
    seen: list[Exchange] = []

    def satisfied(expected: ExpectTurn, who: SimulatedCaller, exchange: Exchange) -> bool:
        seen.append(exchange)
        return len(who.answer(exchange)) == 2

    telephone = Telephone(
        ScenarioStep(say="question"), expect(), ScenarioStep(press="1"), satisfied=satisfied
    )
    telephone.run([(1.0, 1.5), (3.0, 3.5)], 6.0)
    # 600 ms after the second stretch, not after the first.
    assert telephone.caller.pressed == [Pressed(near(4.1), "1")]
    assert telephone.caller.expected == {1: seen[0]}
    assert seen[0].said is telephone.caller.said[0]
    assert telephone.caller.failed == []


def test_what_is_expected_in_vain_is_given_up() -> None:
    telephone = Telephone(
        expect(timeout=2), ScenarioStep(press="1"), satisfied=lambda expected, who, exchange: False
    )
    # The agent speaks when the time is up: no caller goes on in the middle of that.
    telephone.run([(0.5, 1.0), (1.8, 2.3)], 6.0)
    assert telephone.caller.pressed == [Pressed(near(2.9), "1")]
    assert telephone.caller.done == 2


def test_an_agent_that_never_stops_is_not_waited_for_without_end() -> None:
    telephone = Telephone(expect(timeout=2), ScenarioStep(press="1"))
    telephone.run([(0.5, 9.0)], 9.0)
    assert telephone.caller.pressed == [Pressed(near(4.0), "1")]


def test_a_late_answer_is_waited_for_as_long_as_it_may_take() -> None:
    telephone = Telephone(expect(timeout=1, within_ms=3000), ScenarioStep(press="1"))
    telephone.run([(2.5, 2.8)], 5.0)
    assert telephone.caller.pressed == [Pressed(near(3.4), "1")]


def test_an_answer_is_what_comes_after_the_callers_turn() -> None:
    telephone = Telephone(
        ScenarioStep(wait=1),
        ScenarioStep(say="question"),
        ScenarioStep(wait=2),
        ScenarioStep(say="question"),
    )
    telephone.run([(0.2, 0.6), (1.9, 2.4), (4.6, 5.0)], 6.0)
    begin, first, second = telephone.caller.exchanges
    answers = [[one.began for one in telephone.caller.answer(e)] for e in (begin, first, second)]
    assert answers == [[near(0.2)], [near(1.9)], [near(4.6)]]


def test_speech_that_was_interrupted_is_no_answer_to_the_interruption() -> None:
    telephone = Telephone(barge_in(500), expect(), ScenarioStep(press="1"))
    telephone.run([(1.0, 1.75), (2.9, 3.5)], 5.0)
    exchange = telephone.caller.expected[1]
    assert exchange.interrupted is telephone.caller.stretches[0]
    assert exchange.interrupted.interrupted
    assert telephone.caller.answer(exchange) == [telephone.caller.stretches[1]]
    assert telephone.caller.pressed == [Pressed(near(4.1), "1")]


def test_silence_is_a_turn_of_its_own_and_waiting_is_not() -> None:
    telephone = Telephone(ScenarioStep(wait=1), ScenarioStep(stay_silent=2), expect())
    telephone.run([(0.2, 0.6), (2.5, 2.9)], 5.0)
    assert telephone.caller.silent == [Silent(0.0, near(1)), Silent(near(1), near(3))]
    assert telephone.caller.answer(telephone.caller.expected[2]) == telephone.caller.stretches[1:]


def test_barging_in_on_a_phrase_waits_for_it() -> None:
    words = Words("we are open", "from nine")
    telephone = Telephone(
        ScenarioStep(barge_in=BargeIn(after="Open, from", say="question")), hearing=words
    )
    (said,) = telephone.run([(1.0, 2.0), (3.0, 5.0)], 6.0)
    assert said.began == near(3.14)


def test_barging_in_on_a_phrase_that_never_comes_is_a_failure() -> None:
    telephone = Telephone(
        ScenarioStep(barge_in=BargeIn(after="closed", say="question", timeout=2)),
        hearing=Words("we are"),
    )
    assert telephone.run([(1.0, 1.5)], 4.0) == []
    (failed,) = telephone.caller.failed
    assert str(failed) == 'step 1: the agent did not say "closed" within 2 s'
