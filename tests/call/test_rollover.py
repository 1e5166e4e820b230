"""Roll-over: a spare leg takes over at a quiet moment, or nothing changes."""

from collections.abc import Callable

import pytest
from tests.call.playbook import (
    APPLIED,
    AUDIO_DONE,
    BARGE_IN,
    WELCOME,
    Forwarded,
    Frame,
    Playbook,
    Wait,
    agent,
    caller,
    key,
    mark,
    speech,
)

from offhook.call import requests
from offhook.call.call_settings import CallSettings
from offhook.call.commands import (
    DialAgent,
    DialSpare,
    HangUpAgent,
    HangUpSpare,
    SendAudio,
    SendSettings,
    SettleSpare,
    TellAgent,
    UseSpare,
)
from offhook.call.ending import Slug
from offhook.call.handoff_actions import SendDigits
from offhook.call.inputs import (
    AgentLegRefused,
    CallOver,
    LegLost,
    Requested,
    SpareLost,
    SpareReady,
    SpareWelcomed,
    ToolFinished,
)
from offhook.call.phases import Phase
from offhook.call.recovery import BUSY_S
from offhook.call.rollover import AGAIN_S, LOOK_S, QUIET_S, SPARE_S, STALE_S
from offhook.deepgram import messages as deepgram
from offhook.events.types import (
    AgentConnected,
    AgentLost,
    AgentResumed,
    AgentRolledOver,
    AgentTold,
    AgentWarned,
    CallerSaid,
    SpareAgentFailed,
)

SPARE_WELCOME = SpareWelcomed("request-2")
PLAN = CallSettings(silence_s=0)
SHORT_S = 1.0
"""Seconds after which a roll-over is due here: less than a gap that is filled with silence."""


@pytest.fixture
def call() -> Playbook:
    return Playbook(PLAN, session_s=SHORT_S).talking()


GREETED = deepgram.History(role="assistant", content="Hello.")


def has_greeted(call: Playbook) -> Playbook:
    """Have the agent say its greeting, and the caller hear it."""
    call >> agent("Hello.") << ...
    has_answer(call)
    return call


def due(call: Playbook) -> Playbook:
    """Let time pass until the roll-over is about to be due."""
    return call >> Wait(1000 + SHORT_S - 0.01 - call.now)


def dialled(call: Playbook) -> Playbook:
    """Have a spare leg dialled after a second of quiet."""
    return due(call) >> Wait(QUIET_S + 0.02) << DialSpare(0)


def used(call: Playbook, repeated: int = 0, after_ms: int = 0) -> Playbook:
    """Name what comes out when the spare leg takes over."""
    call << UseSpare() << AgentConnected("request-2", after_ms)
    if repeated:
        call << SendAudio(Frame().audio * repeated)
    return call << AgentRolledOver(after_ms, repeated * 20) << Phase.TALKING


def test_a_spare_takes_over_at_a_quiet_moment_and_hears_what_the_leg_before_heard(
    call: Playbook,
) -> None:
    dialled(call) >> Wait(0.1)
    for _ in range(3):
        call >> Frame() << Forwarded()
    call >> SPARE_WELCOME << SettleSpare()
    for _ in range(2):
        call >> Frame() << Forwarded()
    used(call >> SpareReady(), repeated=5, after_ms=110)
    # From now on frames are forwarded and not kept, until the next roll-over is due.
    (call >> Frame() << Forwarded() >> Frame() << Forwarded())
    assert call.call.link.held_caller_bytes == 0
    call >> Wait(SHORT_S - 0.1)
    assert call.call.link.held_caller_bytes == 0
    call >> Wait(QUIET_S + 0.2) << ...
    assert call.contract.has_spare


def test_it_is_due_ten_minutes_before_deepgram_ends_a_session() -> None:
    call = Playbook(CallSettings(silence_s=0, max_s=9999)).talking()
    call >> Wait(110 * 60) << ...
    assert not call.contract.has_spare
    call >> Wait(QUIET_S) << ...
    assert call.contract.has_spare


def test_the_spare_knows_what_was_said_and_changed(call: Playbook) -> None:
    prompt = deepgram.UpdatePrompt("Be brief.")
    call >> Requested(1, requests.Update(prompt)) << ... >> deepgram.PromptUpdated() << ...
    call >> caller("Hello.") << CallerSaid("Hello.")
    has_answer(call)
    dialled(call) >> SPARE_WELCOME
    user = deepgram.History(role="user", content="Hello.")
    (said,) = (each for each in call._out if isinstance(each, SettleSpare))
    assert said.changes == (prompt,)
    assert said.history[0] == user
    call << ...


def test_a_stored_agent_is_told_its_changes_again() -> None:
    call = Playbook(CallSettings(is_stored=True), session_s=SHORT_S).talking()
    prompt = deepgram.UpdatePrompt("Be brief.")
    call >> Requested(1, requests.Update(prompt)) << ... >> deepgram.PromptUpdated() << ...
    dialled(call) >> SPARE_WELCOME << SettleSpare((), (prompt,))
    call >> SpareReady() << UseSpare() << AgentConnected("request-2", 10)
    call << AgentRolledOver(10, 0) << TellAgent(prompt)


def test_deepgrams_warning_makes_it_due_at_once() -> None:
    call = Playbook(PLAN).talking()
    code = "MAXIMUM_SESSION_LENGTH_APPROACHING"
    call >> Wait(1) >> deepgram.Warning(code, "soon") << AgentWarned(code, "soon", False)
    call >> Wait(QUIET_S) << DialSpare(0) >> SPARE_WELCOME << SettleSpare()
    used(call >> SpareReady()) >> Wait(60) << ...
    assert not call.contract.has_spare, "the warning was of the session before"


def test_what_the_caller_began_to_say_before_the_dial_is_heard_by_the_spare(
    call: Playbook,
) -> None:
    due(call) >> Wait(0.5) >> Frame() << Forwarded() >> Wait(QUIET_S) << DialSpare(0)
    call >> SPARE_WELCOME << SettleSpare() >> SpareReady() << UseSpare()
    call << ... << Phase.TALKING
    assert call.call.link.held_caller_bytes == 0


# --- not now -------------------------------------------------------------------------------------


def talks(call: Playbook) -> None:
    call >> speech(200) << ... >> agent("I am telling you something") << ...


def has_talked(call: Playbook) -> None:
    call >> AUDIO_DONE << ... >> mark("0:160") << ... >> mark("0:1600") << ...


def speaks(call: Playbook) -> None:
    call >> BARGE_IN << ...


def has_spoken(call: Playbook) -> None:
    call >> caller("That.") << ...
    has_answer(call)


def runs(call: Playbook) -> None:
    call >> deepgram.FunctionCallRequest([deepgram.FunctionCall("1", "book", "{}")])
    (call << ... >> Wait(0))


def has_run(call: Playbook) -> None:
    call >> ToolFinished("1", "booked", "answered") << ...


def asks(call: Playbook) -> None:
    call >> caller("What is it?") << ...


def has_answer(call: Playbook) -> None:
    call >> speech(20) << ... >> AUDIO_DONE << ...
    call >> mark(f"{call.call.turns.playback.epoch}:160") << ...


def presses(call: Playbook) -> None:
    call >> key("1") << ...


def has_pressed(call: Playbook) -> None:
    call >> Wait(2) << ... >> caller("(The caller pressed 1 on the keypad.)") << ...


def says(call: Playbook) -> None:
    call >> Requested(1, requests.Say("Now.", "queue")) << ...


def has_said(call: Playbook) -> None:
    call >> agent("Now.") << ... >> AUDIO_DONE << ...


BUSY = pytest.mark.parametrize(
    ("begin", "end"),
    [
        (talks, has_talked),
        (speaks, has_spoken),
        (runs, has_run),
        (asks, has_answer),
        (presses, has_pressed),
        (says, has_said),
    ],
)
Stir = Callable[[Playbook], None]


@BUSY
def test_nothing_is_dialled_while_something_goes_on(call: Playbook, begin: Stir, end: Stir) -> None:
    begin(due(call))
    (call >> Wait(1.5) << ...)
    assert not call.contract.has_spare
    end(call)
    call >> Wait(LOOK_S + QUIET_S) << ...
    assert call.contract.has_spare


@BUSY
@pytest.mark.parametrize("is_settled", [False, True])
@pytest.mark.parametrize("is_over", [False, True])
def test_a_spare_is_closed_if_anything_happened_since_it_was_dialled(
    call: Playbook, begin: Stir, end: Stir, is_settled: bool, is_over: bool
) -> None:
    dialled(call)
    if is_settled:
        call >> SPARE_WELCOME << SettleSpare()
    begin(call)
    if is_over:
        end(call)
    call >> (SpareReady() if is_settled else SPARE_WELCOME) << HangUpSpare() << ...
    call >> Frame() << Forwarded()
    assert call.call.link.held_caller_bytes == 0
    assert call.call.link.is_ready


def test_speech_that_is_never_confirmed_holds_it_up_for_a_while_only(call: Playbook) -> None:
    due(call) >> BARGE_IN >> Wait(STALE_S - LOOK_S) << ...
    assert not call.contract.has_spare
    call >> Wait(2 * LOOK_S + QUIET_S + 0.1) << ...
    assert call.contract.has_spare


def test_an_answer_that_never_ends_holds_it_up_for_a_while_only(call: Playbook) -> None:
    talks(due(call))
    call >> speech(1200) << ... >> mark("0:160") << ... >> Wait(1.4 + STALE_S - LOOK_S) << ...
    assert not call.contract.has_spare
    call >> Wait(2 * LOOK_S + QUIET_S + 0.1) << ...
    assert call.contract.has_spare


# --- a spare that is of no use -------------------------------------------------------------------


@pytest.mark.parametrize("is_settled", [False, True])
@pytest.mark.parametrize(
    "lost",
    [
        SpareLost("refused", "503"),
        SpareLost("unreachable"),
        SpareLost("error", "INVALID_SETTINGS"),
        SpareLost("closed"),
        None,
    ],
)
def test_a_spare_that_fails_changes_nothing_and_another_one_is_tried_later(
    call: Playbook, lost: SpareLost | None, is_settled: bool
) -> None:
    dialled(call)
    if is_settled:
        call >> SPARE_WELCOME << SettleSpare()
    if lost is None:
        (
            call
            >> Frame()
            << Forwarded()
            >> Wait(SPARE_S - 0.01)
            << SpareAgentFailed("too_late", "")
            << HangUpSpare()
        )
    else:
        call >> lost << SpareAgentFailed(lost.why, lost.code) << HangUpSpare()
    call >> Frame() << Forwarded() << Phase.TALKING >> Wait(AGAIN_S - 0.1) << ...
    assert not call.contract.has_spare
    (call >> Wait(QUIET_S + 0.2) << ...)
    call >> SPARE_WELCOME << SettleSpare() >> SpareReady() << UseSpare() << ...


FULL = SpareLost("refused", "429")


def test_without_room_for_a_spare_the_leg_is_closed_first_and_the_call_goes_on(
    call: Playbook,
) -> None:
    dialled(call) >> Frame() << Forwarded()
    call >> FULL << SpareAgentFailed("refused", "429") << HangUpSpare()
    call << AgentLost("no_spare", "") << HangUpAgent() << Phase.SETTLING
    call >> Frame() >> Wait(0.0) << DialAgent(0) >> Wait(0.2)
    call >> WELCOME << SendSettings(greeting=call.call.link.greets)
    call >> APPLIED << AgentConnected("request-1", 200) << AgentResumed(1, 200, 40)
    # What was heard since the quiet began is heard by the next session: it may begin a word.
    call << SendAudio(Frame().audio * 2) << Phase.TALKING


def test_without_room_it_waits_for_a_quiet_moment(call: Playbook) -> None:
    dialled(call) >> BARGE_IN << ... >> FULL << SpareAgentFailed("refused", "429")
    call << HangUpSpare() << Phase.TALKING


def test_a_place_that_is_free_a_little_later_is_waited_for(call: Playbook) -> None:
    refused = AgentLegRefused(429)
    dialled(call) >> FULL << ...
    began = call.now
    while call.now < began + BUSY_S - 8:
        call >> Wait(2.6) << ...
        if call.contract.dialled:
            call >> refused << ...
    call >> Wait(2.6) << ... >> WELCOME << ... >> APPLIED << ... << Phase.TALKING


def test_a_place_that_is_not_free_in_time_ends_the_call_as_busy(call: Playbook) -> None:
    dialled(call) >> FULL << ...
    for _ in range(20):
        call >> Wait(2.6) << ...
        if call.contract.dialled:
            call >> AgentLegRefused(429) << ...
    ending = call.call.ending
    assert ending is not None
    assert ending.how is Slug.AGENT_BUSY


def test_what_a_spare_says_that_was_given_up_is_ignored(call: Playbook) -> None:
    dialled(call) >> SpareReady()
    call >> SpareLost("closed") << SpareAgentFailed("closed", "") << HangUpSpare()
    (call >> SPARE_WELCOME >> SpareReady() >> SpareLost("closed"))


def test_a_spare_goes_with_the_session_that_it_was_to_replace(call: Playbook) -> None:
    dialled(call) >> Frame() << Forwarded()
    call >> Requested(1, requests.Leave(SendDigits("1"))) >> Wait(1) << ...
    assert not call.contract.has_spare
    assert call.call.link.held_caller_bytes == 0


def test_a_spare_goes_with_the_call(call: Playbook) -> None:
    dialled(call) >> CallOver() << ...
    (call >> SPARE_WELCOME >> SpareReady() >> Wait(9))


# --- the present leg is lost meanwhile -----------------------------------------------------------

LOST = LegLost("agent", "gone", code=1011)


def lost(call: Playbook) -> Playbook:
    """Have the present leg be lost, and the spare put in its place."""
    return call >> LOST << AgentLost("closed", "1011") << HangUpAgent() << UseSpare()


def test_a_spare_that_is_dialled_answers_the_loss_of_the_present_leg(call: Playbook) -> None:
    dialled(call) >> Wait(0.2) >> Frame() << Forwarded()
    lost(call) << Phase.SETTLING
    call >> Frame() >> Frame() >> WELCOME << SendSettings(greeting=call.call.link.greets)
    call >> Wait(0.3) >> APPLIED << AgentConnected("request-1", 510) << AgentResumed(1, 300, 40)
    call << SendAudio(Frame().audio * 2) << Phase.TALKING
    # The session is a new one: the next roll-over is due when that is old.
    call >> Wait(SHORT_S - 0.1) << ...
    assert not call.contract.has_spare
    call >> Wait(QUIET_S + LOOK_S) << ...
    assert call.contract.has_spare


def test_a_spare_that_has_its_settings_answers_it_when_they_are_applied(call: Playbook) -> None:
    dialled(has_greeted(call))
    call >> SPARE_WELCOME << SettleSpare((GREETED,)) >> Frame() << Forwarded()
    lost(call) >> Frame() >> Wait(0.1) >> APPLIED
    call << AgentConnected("request-2", 110) << AgentResumed(1, 100, 20)
    call << SendAudio(Frame().audio) << Phase.TALKING


def test_a_caller_whom_the_loss_has_cut_off_is_asked_again_by_the_spare(call: Playbook) -> None:
    dialled(call) >> BARGE_IN << ... >> Wait(0.1)
    lost(call) >> WELCOME << ... >> APPLIED << ... << Phase.TALKING
    ask = PLAN.phrases.ask_again
    call >> Wait(1.0) << AgentTold(ask) << TellAgent(deepgram.InjectUserMessage(content=ask))


def was_heard(call: Playbook) -> None:
    talks(call)
    has_talked(call)


@pytest.mark.parametrize("begin", [was_heard, runs])
def test_settings_that_are_out_of_date_are_of_no_use(call: Playbook, begin: Stir) -> None:
    dialled(has_greeted(call)) >> SPARE_WELCOME << SettleSpare((GREETED,))
    begin(call)
    call >> LOST << ...
    call >> Wait(0.0) << DialAgent(0) << HangUpSpare()


@pytest.mark.parametrize("begin", [talks, asks])
def test_what_nobody_heard_or_is_asked_again_makes_no_settings_out_of_date(
    call: Playbook, begin: Stir
) -> None:
    dialled(has_greeted(call)) >> SPARE_WELCOME << SettleSpare((GREETED,))
    begin(call)
    call >> LOST << ...
    assert not call.contract.has_spare, "it is the agent's leg now"
    call >> Wait(0.0)
    assert call.contract.dialled


def test_a_spare_without_a_greeting_is_of_no_use_to_a_caller_whom_nobody_has_greeted(
    call: Playbook,
) -> None:
    assert call.call.link.greets
    dialled(call) >> SPARE_WELCOME << SettleSpare()
    call >> LOST << AgentLost("closed", "1011") << HangUpAgent()
    call >> Wait(0.0) << DialAgent(0) << HangUpSpare()
    call >> WELCOME << SendSettings(greeting=True)


@pytest.mark.parametrize("is_settled", [False, True])
def test_a_spare_that_fails_in_its_place_is_followed_by_another_leg(
    call: Playbook, is_settled: bool
) -> None:
    dialled(has_greeted(call))
    if is_settled:
        call >> SPARE_WELCOME << SettleSpare((GREETED,))
    lost(call) >> Wait(SPARE_S - 0.02) << ...
    assert call.contract.dialled
    # Its time runs from its own dial.
    call >> Wait(0.1) << AgentLost("too_late", "") << HangUpAgent()
    call >> Wait(0.5) << DialAgent(1) >> WELCOME << SendSettings(False, (GREETED,))
    call >> APPLIED << AgentConnected("request-1", 90) << AgentResumed(2, 3580, 0)


@pytest.mark.parametrize("is_settled", [False, True])
def test_a_spare_goes_with_a_leg_that_nothing_replaces(call: Playbook, is_settled: bool) -> None:
    dialled(call)
    if is_settled:
        call >> SPARE_WELCOME << SettleSpare()
    call >> LegLost("agent", "our own mistake", code=1008) << ...
    ending = call.call.ending
    assert ending is not None
    assert ending.how is Slug.AGENT_LOST


def test_a_second_of_quiet_is_no_spare(call: Playbook) -> None:
    due(call) >> Wait(0.5) >> Frame() << Forwarded()
    call >> LOST << AgentLost("closed", "1011") << HangUpAgent() << Phase.SETTLING
    call >> Wait(0.0) << DialAgent(0)
    assert call.call.link.held_caller_bytes == 0
