"""An agent that owes an answer and is silent is asked, replaced, and given up."""

from typing import Final

import pytest
from tests.call.playbook import (
    APPLIED,
    AUDIO_DONE,
    BARGE_IN,
    START,
    WELCOME,
    Given,
    Playbook,
    Wait,
    agent,
    caller,
    ends,
    inject,
    key,
    mark,
    speech,
)

from offhook.call.call_settings import CallSettings
from offhook.call.commands import (
    Command,
    DialAgent,
    HangUpAgent,
    Note,
    SendAudio,
    SendSettings,
    TellAgent,
)
from offhook.call.ending import Slug
from offhook.call.functions import HARD_S
from offhook.call.handoff_actions import Dial
from offhook.call.inputs import (
    HandoffBegun,
    HandoffDone,
    LegLost,
    RequestCancelled,
    Requested,
    ToolFinished,
)
from offhook.call.requests import AskDigits, HangUp, Leave, Mute, Tell
from offhook.deepgram import messages as deepgram
from offhook.events.types import (
    AgentConnected,
    AgentLost,
    AgentResumed,
    AgentSaid,
    AgentWarned,
    CallerSaid,
)

SETTINGS: Final = CallSettings(silence_s=0)
LIMIT_S: Final = SETTINGS.answer_s
ONE_MOMENT: Final = inject(SETTINGS.phrases.one_moment, "queue")
ASKED: Final = "What time is it?"
SILENT: Final = AgentLost("silent", "")
CALLED: Final = deepgram.FunctionCallRequest([deepgram.FunctionCall("1", "weather", "{}")])
DONE: Final = ToolFinished("1", "sunny", "answered")
NO_THOUGHT: Final = deepgram.Error("FAILED_TO_THINK", "why")


class Conversation(Playbook):
    """A conversation that does not name the silence sent in place of the caller's audio."""

    def _take(self, commands: list[Command]) -> None:
        super()._take([each for each in commands if not isinstance(each, SendAudio)])


@pytest.fixture
def call() -> Playbook:
    """A call in which both sides talk."""
    return Conversation(SETTINGS).talking()


def quietly(call: Playbook, *given: Given) -> Playbook:
    """Have things happen whose outcome is not of interest."""
    for each in given:
        call >> each << ...
    return call


def asked(call: Playbook) -> Playbook:
    """The caller's turn has no answer, and the agent is asked to say something."""
    return quietly(call, caller(ASKED)) >> Wait(LIMIT_S - 0.1) >> Wait(0.1) << ONE_MOMENT


def replaced(call: Playbook, loss: AgentLost = SILENT) -> Playbook:
    """The silent session is given up; another one is ready, and is asked what nobody answered."""
    return (
        call
        >> Wait(LIMIT_S)
        << loss
        << HangUpAgent()
        << DialAgent()
        >> WELCOME
        << SendSettings(greeting=False)
        >> APPLIED
        << AgentConnected("request-1", 0)
        << AgentResumed(1, 0, 0)
        << TellAgent(deepgram.InjectUserMessage(ASKED))
    )


def test_a_silent_agent_is_asked_replaced_and_given_up(call: Playbook) -> None:
    replaced(asked(call)) >> caller(ASKED) >> Wait(LIMIT_S - 0.1)
    ends(call >> Wait(0.1), Slug.AGENT_SILENT, "8 s")


def test_what_the_agent_was_asked_to_say_is_no_answer(call: Playbook) -> None:
    words = SETTINGS.phrases.one_moment
    quietly(asked(call), agent(words), speech(20), AUDIO_DONE, mark("0:160"))
    call >> Wait(LIMIT_S + 0.02) << SILENT << HangUpAgent() << DialAgent() >> WELCOME << ...
    go_on = TellAgent(deepgram.InjectUserMessage(SETTINGS.phrases.go_on))
    told: list[Command] = []
    call.listeners.append(told.append)
    quietly(call, APPLIED)
    assert go_on in told


def test_audio_answers_and_text_alone_does_not(call: Playbook) -> None:
    quietly(call, caller(ASKED), Wait(LIMIT_S - 0.1), agent("It is five."), speech(20), AUDIO_DONE)
    call >> Wait(10 * LIMIT_S)
    quietly(call, caller(ASKED), agent("It is six."), Wait(LIMIT_S - 0.1))
    call >> Wait(0.1) << ONE_MOMENT


def test_an_answer_after_the_moments_words_is_one(call: Playbook) -> None:
    quietly(asked(call), agent(SETTINGS.phrases.one_moment), speech(20), AUDIO_DONE)
    quietly(call, agent("It is five."), speech(20), AUDIO_DONE) >> Wait(60)


@pytest.mark.parametrize("after", [[], [LegLost("agent", "why", code=1011), Wait(0)]])
def test_an_answer_of_the_next_session_begins_anew(call: Playbook, after: list[Given]) -> None:
    replaced(asked(call))
    quietly(call, agent("It is five."), speech(20), AUDIO_DONE, mark("0:160"), Wait(60), *after)
    if after:
        quietly(call, WELCOME, APPLIED)
    quietly(call, caller("And now?")) >> Wait(LIMIT_S) << ONE_MOMENT
    call >> Wait(LIMIT_S) << SILENT << ...
    assert call.call.ending is None


def test_a_session_that_hears_nothing_is_replaced_before_the_caller_is_blamed() -> None:
    call = Conversation(CallSettings(silence_s=60)).talking()
    call >> Wait(30) << inject(SETTINGS.phrases.still_there) >> Wait(LIMIT_S) << ONE_MOMENT
    call >> Wait(LIMIT_S) << SILENT << HangUpAgent() << DialAgent()


def test_a_caller_who_hears_the_question_and_says_nothing_is_silent() -> None:
    call = Conversation(CallSettings(silence_s=60)).talking()
    question = SETTINGS.phrases.still_there
    call >> Wait(30) << inject(question) >> agent(question) << ...
    quietly(call, speech(20), AUDIO_DONE, mark("0:160")) >> Wait(29)
    call >> Wait(1.5) << inject(SETTINGS.phrases.silent_goodbye, "queue")


# --- an answer that stops in its middle -----------------------------------------------------------


LONG: Final = "It is five past five in the afternoon here."
HEARD: Final = (mark("0:160"), mark("0:1760"))
RESUMED: Final = TellAgent(deepgram.InjectUserMessage(SETTINGS.phrases.go_on))


@pytest.mark.parametrize("before", [[], [caller(ASKED)], [CALLED, DONE]])
def test_an_answer_that_stops_in_its_middle_is_given_anew(
    call: Playbook, before: list[Given]
) -> None:
    commands = told(call)
    quietly(call, *before, Wait(1), agent(LONG), speech(400), Wait(0.22), *HEARD)
    quietly(call, Wait(0.18), Wait(LIMIT_S - 0.1))
    assert HangUpAgent() not in commands
    quietly(call, Wait(0.1), Wait(0), WELCOME, APPLIED)
    events = [one.event for one in commands if isinstance(one, Note)]
    assert SILENT in events
    assert [one.heard_ms for one in events if isinstance(one, AgentSaid)] == [400]
    assert RESUMED in commands
    assert ONE_MOMENT not in commands, "it would wait for the rest"
    quietly(call, agent(LONG), speech(2400), AUDIO_DONE) >> Wait(60)
    assert call.call.ending is None


def test_an_agent_whose_answers_stop_twice_is_given_up(call: Playbook) -> None:
    quietly(call, agent(LONG), speech(400), Wait(LIMIT_S + 0.4), Wait(0), WELCOME, APPLIED)
    quietly(call, agent(LONG), speech(400), Wait(LIMIT_S + 0.3))
    quietly(call, Wait(0.1))
    assert call.call.ending is not None
    assert call.call.ending.how is Slug.AGENT_SILENT


def test_an_answer_that_dribbles_is_waited_for(call: Playbook) -> None:
    commands = told(call)
    quietly(call, caller(ASKED), agent(LONG))
    for _ in range(10):
        quietly(call, speech(20), Wait(LIMIT_S - 0.1))
    assert HangUpAgent() not in commands
    assert ONE_MOMENT not in commands


def test_an_answer_whose_end_was_never_told_is_whole_if_all_words_were_spoken(
    call: Playbook,
) -> None:
    quietly(call, caller(ASKED), agent(LONG), speech(2400)) >> Wait(60)


def test_an_interrupted_answer_has_no_rest(call: Playbook) -> None:
    quietly(call, agent(LONG), speech(400), Wait(0.2), BARGE_IN, Wait(1)) >> Wait(60)


# --- silences that are none ----------------------------------------------------------------------


def told(call: Playbook) -> list[Command]:
    """All that the call commands from now on."""
    commands: list[Command] = []
    call.listeners.append(commands.append)
    return commands


def test_an_agent_that_nobody_has_asked_anything_may_be_silent(call: Playbook) -> None:
    call >> Wait(600)


def test_a_function_that_runs_for_long_is_waited_for(call: Playbook) -> None:
    commands = told(call)
    quietly(call, caller(ASKED), CALLED, Wait(HARD_S - 0.1))
    assert commands.count(ONE_MOMENT) == 1, "that a function takes longer is said once"
    assert SILENT not in [each.event for each in commands if isinstance(each, Note)]


def test_who_has_spoken_before_a_function_need_not_add_anything(call: Playbook) -> None:
    quietly(call, caller(ASKED), agent("I look at the clock."), speech(20), CALLED, DONE)
    call >> Wait(60)


def test_who_is_asked_meanwhile_has_as_much_time_after_the_function(call: Playbook) -> None:
    """A function may be called before the turn is confirmed (deepgram.md §4.4)."""
    quietly(call, CALLED, caller(ASKED), Wait(2), DONE) >> Wait(LIMIT_S - 0.1)
    call >> Wait(0.1) << ONE_MOMENT


def test_a_function_that_deepgram_calls_is_waited_for(call: Playbook) -> None:
    """It may be called before the caller's turn is confirmed (deepgram.md §4.4)."""
    endpoint = deepgram.FunctionCall("1", "weather", "{}", client_side=False)
    quietly(call, deepgram.FunctionCallRequest([endpoint]), caller(ASKED)) >> Wait(60)
    call >> deepgram.FunctionCallResponse("weather", "sunny") >> Wait(LIMIT_S) << ONE_MOMENT


@pytest.mark.parametrize("words", ["Uh-huh.", "Okay.", ""])
def test_an_aside_need_not_be_answered(call: Playbook, words: str) -> None:
    quietly(call, caller(ASKED), Wait(5), agent("It is five past five."), speech(4000))
    quietly(call, Wait(1), BARGE_IN, caller(words)) >> Wait(60)


def test_more_than_an_aside_is_to_be_answered(call: Playbook) -> None:
    quietly(call, agent("It is five past five."), speech(4000), Wait(1), BARGE_IN)
    quietly(call, caller("And what day is it?")) >> Wait(LIMIT_S) << ONE_MOMENT


def test_a_short_turn_that_interrupts_nobody_is_to_be_answered(call: Playbook) -> None:
    quietly(call, BARGE_IN, caller("Hello?")) >> Wait(LIMIT_S) << ONE_MOMENT


@pytest.mark.parametrize("nothing", ["", "…", " - "])
def test_an_agent_may_choose_to_say_nothing(call: Playbook, nothing: str) -> None:
    quietly(call, caller(ASKED), agent(nothing)) >> Wait(60)


def test_a_turn_without_words_needs_no_answer(call: Playbook) -> None:
    quietly(call, BARGE_IN, caller(" ")) >> Wait(60)


def test_a_muted_agent_may_be_silent(call: Playbook) -> None:
    quietly(call, Requested(1, Mute(True)), caller(ASKED)) >> Wait(60)
    quietly(call, Requested(2, Mute(False))) >> Wait(60)


def test_keys_are_waited_for_and_what_was_refused_needs_no_answer(call: Playbook) -> None:
    quietly(call, key("1"), Wait(1.9), key("2"), Wait(1.9), key("#"))
    quietly(call, deepgram.InjectionRefused("not now")) >> Wait(60)


def test_a_secret_is_waited_for(call: Playbook) -> None:
    quietly(call, Requested(1, AskDigits("", 4, 40.0))) >> Wait(39)


def test_after_last_words_nothing_from_before_is_owed(call: Playbook) -> None:
    bye = Requested(1, HangUp("agent", "Goodbye."))
    quietly(call, caller(ASKED), CALLED, bye, DONE, Wait(4), RequestCancelled(1))
    call >> Wait(60)


def test_who_comes_back_from_a_transfer_is_told_about_first(call: Playbook) -> None:
    desk = Dial("desk", "+12025550123")
    quietly(call, caller(ASKED), Requested(1, Leave(desk)), Wait(1), HandoffBegun(), Wait(60))
    quietly(call, HandoffDone("busy"), START, Wait(5), WELCOME, APPLIED) >> Wait(LIMIT_S - 0.1)
    call >> Wait(0.1) << ONE_MOMENT


def test_another_provider_gets_as_much_time(call: Playbook) -> None:
    next_ = deepgram.Warning("THINK_REQUEST_FAILED", "why")
    quietly(call, caller(ASKED), Wait(LIMIT_S - 1), next_) >> Wait(LIMIT_S - 0.1)
    call >> Wait(0.1) << ONE_MOMENT


# --- what an answer is owed to -------------------------------------------------------------------


def test_a_caller_who_speaks_is_waited_for(call: Playbook) -> None:
    call >> caller(ASKED) << CallerSaid(ASKED) >> BARGE_IN >> Wait(10 * LIMIT_S)
    quietly(call, caller("Hello?")) >> Wait(LIMIT_S - 0.1) >> Wait(0.1) << ONE_MOMENT


def test_an_answer_to_functions_is_owed_once_the_last_is_done(call: Playbook) -> None:
    quietly(call, caller(ASKED), CALLED, Wait(2), DONE) >> Wait(LIMIT_S) << ONE_MOMENT


def test_an_answer_to_what_the_agent_was_told_is_owed(call: Playbook) -> None:
    quietly(call, Requested(1, Tell("The door is open."))) >> Wait(5) << ...
    call >> Wait(LIMIT_S - 5) << ONE_MOMENT


def test_a_failure_to_think_is_the_first_silence(call: Playbook) -> None:
    call >> caller(ASKED) << CallerSaid(ASKED) >> Wait(1) >> NO_THOUGHT
    call << AgentWarned("FAILED_TO_THINK", "why", fatal=True) >> Wait(0) << ONE_MOMENT
    replaced(call, AgentLost("silent", "FAILED_TO_THINK"))
    quietly(call, NO_THOUGHT)
    ends(call >> Wait(0), Slug.AGENT_SILENT, "FAILED_TO_THINK")


def test_what_is_still_played_is_no_silence(call: Playbook) -> None:
    quietly(call, agent("Hello."), speech(5000), AUDIO_DONE, caller(ASKED)) >> Wait(LIMIT_S) << ...
    assert ONE_MOMENT not in call.commanded()
    call >> Wait(5) << ONE_MOMENT


def test_without_a_limit_the_agent_may_be_silent() -> None:
    call = Conversation(CallSettings(silence_s=0, answer_s=0)).talking()
    quietly(call, caller(ASKED), NO_THOUGHT) >> Wait(60)
