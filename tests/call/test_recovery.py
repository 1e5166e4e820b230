"""A call whose agent's leg is lost goes on with another one, or ends as it did before."""

from itertools import pairwise, product
from typing import Final, TypeVar

import msgspec
import pytest
from tests.call.playbook import (
    APPLIED,
    AUDIO_DONE,
    BARGE_IN,
    START,
    WELCOME,
    Forwarded,
    Frame,
    Given,
    Playbook,
    Sent,
    Speech,
    Wait,
    agent,
    caller,
    ends,
    inject,
    key,
    mark,
    speech,
)
from tests.cases import check_each

from offhook.audio import FRAME_BYTES, SILENCE, TONE
from offhook.call import agent_loss, requests
from offhook.call.call_settings import CallSettings
from offhook.call.commands import (
    CancelTool,
    ClearCaller,
    DialAgent,
    End,
    HangUpAgent,
    LeaveStream,
    Note,
    Reply,
    RunTool,
    SendAudio,
    SendSettings,
    TellAgent,
)
from offhook.call.ending import Ending, Slug
from offhook.call.handoff_actions import SendDigits
from offhook.call.inputs import (
    AgentLegRefused,
    AgentLegUnreachable,
    CallAnnounced,
    Input,
    LegLost,
    LegRecovered,
    LegStalled,
    RequestCancelled,
    Requested,
    ToolBegan,
    ToolFinished,
)
from offhook.call.phases import Phase
from offhook.call.playback import KEPT_MAX
from offhook.call.recovery import ATTEMPT_S, WAITS_S, WINDOW_S
from offhook.deepgram import messages as deepgram
from offhook.deepgram.retry import AFTER_CLOSE, AFTER_ERROR, Retry
from offhook.events.types import (
    AgentAnnounced,
    AgentConnected,
    AgentLost,
    AgentResumed,
    AgentSaid,
    AgentTold,
    AgentWarned,
    AudioDropped,
    CallerLeft,
    CallerSaid,
    CallStarted,
    FunctionAnswered,
    FunctionCalled,
    FunctionDropped,
)
from offhook.recordings.wav import LINEAR

PHRASES: Final = CallSettings().phrases
CUT_OFF: Final = LegLost("agent", "cut off")
LOST: Final = AgentLost("closed", "")
CONNECTED_AT_ONCE: Final = AgentConnected("request-1", 0)
AGAIN: Final[list[Given]] = [WELCOME, APPLIED]


def push(text: str) -> TellAgent:
    """The agent is told what the caller said."""
    return TellAgent(deepgram.InjectUserMessage(text))


def history(*turns: str) -> tuple[deepgram.History, ...]:
    """Turns of the caller, in <>, and of the agent."""
    return tuple(
        deepgram.History("user", turn[1:-1])
        if turn.startswith("<")
        else deepgram.History("assistant", turn)
        for turn in turns
    )


def quietly(call: Playbook, *given: Given) -> Playbook:
    """Have things happen whose outcome is not of interest."""
    for each in given:
        call >> each << ...
    return call


def heard(call: Playbook, text: str) -> Playbook:
    """Have the agent say a sentence, and the caller hear it all."""
    sent = call.call.turns.playback.sent
    return quietly(call, agent(text), speech(400), AUDIO_DONE, mark(f"0:{sent + 3200}"))


# --- the bar: every cause, in every phase --------------------------------------------------------

CODES: Final[list[tuple[Input, Retry]]] = [
    *((LegLost("agent", "why", code=code), again) for code, again in AFTER_CLOSE.items()),
    (LegLost("agent", "why", code=4000), Retry.ONCE),
    *((deepgram.Error(code, ""), again) for code, again in AFTER_ERROR.items()),
    (deepgram.Error("NEW_CODE", ""), Retry.ONCE),
]
CAUSES: Final[dict[str, tuple[list[Given], Retry]]] = {
    f"{type(cause).__name__} {getattr(cause, 'code', '')}": (
        # A failure to think is no loss unless the socket closes (deepgram.md §2.5).
        [cause, CUT_OFF] if getattr(cause, "code", "") == "FAILED_TO_THINK" else [cause],
        again,
    )
    for cause, again in CODES
}
REQUEST: Final = deepgram.FunctionCallRequest([deepgram.FunctionCall("1", "weather", "{}")])
MOMENTS: Final[dict[str, list[Given]]] = {
    "before anybody spoke": [],
    "in the greeting": [agent("Hello, how are you?"), speech(900), mark("0:160"), Wait(0.5)],
    "after the greeting": [agent("Hello."), speech(40), AUDIO_DONE, mark("0:320")],
    "while the caller speaks": [agent("Hi."), speech(20), AUDIO_DONE, mark("0:160"), BARGE_IN],
    "before an answer": [caller("What time is it?"), Wait(0.5)],
    "in a function": [caller("Is it sunny?"), REQUEST, ToolBegan("1")],
    "in an answer": [
        *(caller("What time is it?"), agent("It is five."), speech(900)),
        *(mark("0:160"), Wait(0.3)),
    ],
    "while an answer is played": [caller("Why?"), agent("So."), speech(5000), AUDIO_DONE],
    "in a barge-in": [agent("One two three."), speech(900), mark("0:160"), Wait(0.2), BARGE_IN],
    "with keys that wait": [key("1")],
}


E = TypeVar("E")


class Told:
    """What a call commands, in a form that can be asked."""

    def __init__(self, call: Playbook) -> None:
        self.settings: list[SendSettings] = []
        self.dials = 0
        self.events: list[object] = []
        self.pushed: list[str] = []
        self.is_over = False
        call.listeners.append(self._take)

    def _take(self, command: object) -> None:
        match command:
            case SendSettings():
                self.settings.append(command)
            case DialAgent():
                self.dials += 1
            case Note(event):
                self.events.append(event)
            case TellAgent(deepgram.InjectUserMessage(content=text)):
                self.pushed.append(text)
            case End():
                self.is_over = True

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


def test_every_cause_at_every_moment() -> None:
    """Who is lost is replaced within 3 s and greets once; what cannot be repaired ends at once."""
    check_each(_check_cause_at_moment, product(CAUSES, MOMENTS))


def _check_cause_at_moment(cause: str, moment: str) -> None:
    losses, again = CAUSES[cause]
    call = Playbook(spread=0.999).talking()
    told = Told(call)
    for each in MOMENTS[moment]:
        call >> each << ...
    said = len(told.of(CallerSaid))
    for each in losses:
        call >> each << ...
    if again is Retry.NEVER:
        assert told.is_over
        assert not told.dials
        return
    call << Phase.SETTLING
    call >> Frame() >> Wait(WAITS_S[0][1]) << ...
    assert told.dials == 1
    call >> Wait(0.5) >> WELCOME << ... >> Wait(0.5) >> APPLIED << ...
    call << Phase.TALKING
    (settings,) = told.settings
    heard_greeting = any(e.heard_ms for e in told.of(AgentSaid)) or moment.startswith("while an")
    spoke = heard_greeting or bool(settings.history) or bool(told.pushed)
    assert settings.greeting is not spoke, "one greeting, unless nothing was said yet"
    (resumed,) = told.of(AgentResumed)
    assert resumed.after_ms <= 1500
    assert len(told.of(CallerSaid)) == said, "no turn is published twice"
    # Somebody must speak: the agent greets, was told to, is heard still, or is asked to.
    call >> Wait(1.0) << ...
    waits_for_caller = moment == "after the greeting"
    speaks = settings.greeting or told.pushed or call.call.turns.playback.to_be_heard
    assert bool(speaks) is not waits_for_caller


def test_the_causes_are_those_of_the_tables() -> None:
    assert {again for _, again in CAUSES.values()} == set(Retry)
    assert len(CAUSES) == len(AFTER_CLOSE) + len(AFTER_ERROR) + 2


# --- the loss, message by message ----------------------------------------------------------------


def test_an_answer_that_is_cut_short_goes_on(call: Playbook) -> None:
    (
        call.talking()
        >> caller("Why?")
        << CallerSaid("Why?")
        >> agent("One two three four.")
        >> speech(800)
        << ...
        >> Wait(0.2)
        >> mark("0:1760")
        << ...
        >> LegLost("agent", "close code 1011", code=1011)
        << ClearCaller()
        << AgentSaid("One", "One two three four.", 220, interrupted=True)
        << AgentLost("closed", "1011")
        << HangUpAgent()
        << Phase.SETTLING
        >> speech(40)  # of a leg that is gone
        >> Wait(0)
        << DialAgent()
        >> Frame(b"1" * FRAME_BYTES)
        >> Frame(b"2" * FRAME_BYTES)
        >> WELCOME
        << SendSettings(greeting=False, history=history("<Why?>", "One"))
        >> Wait(0.5)
        >> APPLIED
        << AgentConnected("request-1", 500)
        << AgentResumed(1, 500, 40)
        << AgentTold(PHRASES.go_on)
        << push(PHRASES.go_on)
        << SendAudio(b"1" * FRAME_BYTES + b"2" * FRAME_BYTES)
        << Phase.TALKING
        >> caller(PHRASES.go_on)  # which nobody said
        >> Frame()
        << Forwarded()
    )


def test_an_answer_that_came_whole_is_played_to_its_end(call: Playbook) -> None:
    call.talking() >> caller("Why?") << CallerSaid("Why?") >> agent("Because.") >> speech(400)
    (
        call
        << ...
        >> AUDIO_DONE
        << ...
        >> CUT_OFF
        << LOST
        << HangUpAgent()
        >> Wait(0)
        << DialAgent()
        >> WELCOME
        << SendSettings(greeting=False, history=history("<Why?>", "Because."))
        >> mark("0:3200")
        << ...
        >> APPLIED
        << CONNECTED_AT_ONCE
        << AgentResumed(1, 0, 0)
        >> agent("And so on.")
        >> speech(20)
        << Sent(160, "0:3360")
    )


def test_a_turn_that_nobody_answered_is_pushed_and_not_published_again(call: Playbook) -> None:
    heard(call.talking(), "Hello.")
    call >> caller("What time is it?") << ... >> caller("Hello?") << ... >> CUT_OFF << ...
    (
        call
        >> Wait(0)
        << DialAgent()
        >> WELCOME
        << SendSettings(greeting=False, history=history("Hello."))
        >> APPLIED
        << CONNECTED_AT_ONCE
        << AgentResumed(1, 0, 0)
        << push("What time is it? Hello?")
        >> caller("What time is it? Hello?")
        >> agent("It is five.")
        >> speech(20)
        << Sent(160, "0:3360")
    )


def test_what_was_pushed_and_is_lost_again_is_pushed_again_once(call: Playbook) -> None:
    heard(call.talking(), "Hello.")
    call >> agent("One two.") >> speech(400) << ... >> mark("0:3360") << ... >> CUT_OFF << ...
    call >> Wait(0) << ... >> WELCOME << ... >> APPLIED << ... >> CUT_OFF << LOST << HangUpAgent()
    (
        call
        >> Wait(0.5)
        << DialAgent()
        >> WELCOME
        << SendSettings(greeting=False, history=history("Hello."))
        >> APPLIED
        << CONNECTED_AT_ONCE
        << AgentResumed(1, 500, 0)
        << push(PHRASES.go_on)
    )


def test_a_greeting_that_nobody_heard_is_said_by_the_next_agent(call: Playbook) -> None:
    call.talking() >> agent("Hello.") >> speech(400) << ... >> CUT_OFF
    call << ClearCaller() << AgentSaid("", "Hello.", 0, interrupted=True) << LOST << HangUpAgent()
    call >> Wait(0) << DialAgent() >> WELCOME << SendSettings(greeting=True)


def test_a_reply_whose_end_was_never_told_is_not_cut(call: Playbook) -> None:
    call.talking() >> agent("Yes.") >> speech(180) << ... >> mark("0:160") << ... >> Wait(1.2)
    (
        call
        >> CUT_OFF
        << Sent(0, "0:1440")
        << LOST
        << HangUpAgent()
        >> mark("0:1440")
        << AgentSaid("Yes.", "Yes.", 180, interrupted=False)
    )


def test_a_reply_that_stopped_long_before_the_loss_is_cut_and_goes_on(call: Playbook) -> None:
    call.talking() >> agent("One two three four.") >> speech(220) << ... >> mark("0:160") << ...
    (
        call
        >> Wait(2)
        >> CUT_OFF
        << ClearCaller()
        << AgentSaid("One", "One two three four.", 220, interrupted=True)
        << LOST
        << HangUpAgent()
        >> Wait(0)
        << DialAgent()
        >> WELCOME
        << SendSettings(greeting=False, history=history("One"))
    )


def test_a_caller_who_was_cut_off_in_mid_turn_is_asked_again(call: Playbook) -> None:
    heard(call.talking(), "Hello.")
    call >> BARGE_IN >> CUT_OFF << LOST << HangUpAgent() >> Wait(0) << DialAgent()
    call >> WELCOME << ... >> APPLIED << ... >> Wait(0.99)
    call >> Wait(0.01) << AgentTold(PHRASES.ask_again) << push(PHRASES.ask_again)


def test_a_caller_who_is_heard_again_is_not_asked(call: Playbook) -> None:
    heard(call.talking(), "Hello.")
    call >> BARGE_IN >> CUT_OFF << ... >> Wait(0) << ... >> WELCOME << ... >> APPLIED << ...
    call >> Wait(0.5) >> BARGE_IN >> Wait(2)


def test_the_caller_audio_of_a_gap_is_kept_up_to_2_s(call: Playbook) -> None:
    heard(call.talking(), "Hello.")
    call >> CUT_OFF << ... >> Wait(0) << ... >> WELCOME << ...
    for _ in range(125):
        call >> Frame() >> Wait(0.02)
    call >> APPLIED << AgentConnected("request-1", 2500) << AgentResumed(1, 2500, 2000)
    call << SendAudio(b"\x01" * 16_000) << AudioDropped("agent", 500, "full")


# --- functions -----------------------------------------------------------------------------------


def asked_for(call: Playbook, name: str = "pay") -> Playbook:
    """The agent has greeted, was asked something and has called a function."""
    heard(call.talking(), "Hello.")
    function = deepgram.FunctionCall("1", name, "{}")
    call >> caller("Do it.") << ... >> deepgram.FunctionCallRequest([function])
    call << FunctionCalled("1", name, "{}") << RunTool("1", name, "{}")
    return call


def ran(content: str) -> deepgram.History:
    function = deepgram.FinishedFunction("1", "pay", True, "{}", content)
    return deepgram.History(function_calls=[function])


def test_a_function_that_finishes_in_the_gap_is_handed_on(call: Playbook) -> None:
    asked_for(call) >> CUT_OFF << LOST << HangUpAgent() >> Wait(0) << DialAgent()
    (
        call
        >> Wait(1)
        >> ToolFinished("1", "paid", "answered")
        << FunctionAnswered("1", "pay", "answered", "paid", 1000)
        >> WELCOME
        << SendSettings(greeting=False, history=(*history("Hello.", "<Do it.>"), ran("paid")))
        >> APPLIED
        << AgentConnected("request-1", 1000)
        << AgentResumed(1, 1000, 0)
        << AgentTold(PHRASES.go_on)
        << push(PHRASES.go_on)
    )


def test_a_function_that_can_be_taken_back_is_called_again_by_the_next_agent(
    call: Playbook,
) -> None:
    asked_for(call) >> CUT_OFF << LOST << HangUpAgent() >> Wait(0) << DialAgent()
    (
        call
        >> WELCOME
        << CancelTool("1", "cancelled")
        << FunctionDropped("1", "pay", "cancelled")
        << SendSettings(greeting=False, history=history("Hello."))
        >> ToolFinished("1", "paid", "answered")
        >> APPLIED
        << CONNECTED_AT_ONCE
        << AgentResumed(1, 0, 0)
        << push("Do it.")
    )


def test_a_function_that_cannot_be_taken_back_is_not_repeated(call: Playbook) -> None:
    asked_for(call) >> ToolBegan("1") >> CUT_OFF << LOST << HangUpAgent() >> Wait(0) << DialAgent()
    unknown = PHRASES.outcome_unknown
    (
        call
        >> WELCOME
        << CancelTool("1", "too_late")
        << FunctionAnswered("1", "pay", "outcome_unknown", unknown, 0)
        << SendSettings(greeting=False, history=(*history("Hello.", "<Do it.>"), ran(unknown)))
        >> APPLIED
        << CONNECTED_AT_ONCE
        << AgentResumed(1, 0, 0)
        << AgentTold(PHRASES.go_on)
        << push(PHRASES.go_on)
    )


def test_the_next_agent_does_not_excuse_functions_of_the_one_before(call: Playbook) -> None:
    asked_for(call) >> Wait(2.5) >> CUT_OFF << ... >> Wait(0) << ... >> Wait(2)
    call >> WELCOME << ... >> APPLIED << ... >> Wait(2.9)


# --- what the caller hears meanwhile -------------------------------------------------------------

MOMENT: Final = b"\x30" * 8000
"""A second of the agent's own voice."""


def held(call: Playbook) -> list[tuple[float, bytes]]:
    """Hold sounds so far, and when they were sent, in seconds after 1000."""
    return [(round(at - 1000, 3), audio) for at, audio in call.held]


def moment(call: Playbook, *given: Given) -> Playbook:
    """Have the agent say that it takes a moment, and the caller hear it all."""
    done = given or (agent(PHRASES.one_moment), Speech(MOMENT), AUDIO_DONE)
    quietly(call, *done)
    marks = call.call.turns.playback.marks
    return quietly(call, mark(f"{call.call.turns.playback.epoch}:{marks[-1]}")) if marks else call


def test_a_soft_tone_every_2_s_holds_the_line(call: Playbook) -> None:
    call.talking() >> CUT_OFF << LOST << HangUpAgent() >> Wait(0) << DialAgent()
    call >> Wait(0.69)
    assert not held(call)
    call >> Wait(2.3)
    assert held(call) == [(0.7, TONE), (2.7, TONE)]
    call >> WELCOME << ... >> APPLIED << ... >> Wait(4) << ...  # The agent is back.
    assert len(call.held) == 2
    call >> agent("Hello.") >> speech(20) << Sent(160, "0:3360")


def test_what_is_played_still_is_not_talked_over(call: Playbook) -> None:
    (
        call.talking()
        >> agent("Because.")
        >> speech(2000)
        << ...
        >> AUDIO_DONE
        << ...
        >> CUT_OFF
        << ...
    )
    call >> Wait(0) << ... >> Wait(2.69) << ...
    assert not held(call)
    call >> Wait(0.01) << ...
    assert held(call) == [(2.7, TONE)]


def test_the_agents_own_words_hold_the_line_once(call: Playbook) -> None:
    moment(call.talking()) >> CUT_OFF << LOST << HangUpAgent() >> Wait(0) << DialAgent()
    call >> Wait(2.9)
    assert held(call) == [(0.7, MOMENT)]
    call >> Wait(0.05) << ... >> Wait(2.6) << ...
    assert held(call) == [(0.7, MOMENT), (3.5, TONE), (5.5, TONE)]


def test_hold_sound_is_said_by_nobody(call: Playbook) -> None:
    moment(call.talking())
    told = Told(call)
    call >> CUT_OFF << ... >> Wait(0) << ... >> Wait(2) << ... >> mark("0:16000") << ...
    call >> WELCOME << ... >> APPLIED << ...
    assert not told.of(AgentSaid)
    assert told.settings[0].history == history(PHRASES.one_moment)
    call >> agent("One two.") >> speech(20) << Sent(160, "0:16160")
    call >> AUDIO_DONE >> mark("0:16160") << AgentSaid("One two.", "One two.", 20, False)


def test_a_behavior_is_on_the_event_and_is_never_sent_back(call: Playbook) -> None:
    text = deepgram.ConversationText
    call.talking()
    call >> text("user", "Hello?", "presence_check") << CallerSaid("Hello?", None, "presence_check")
    call >> text("assistant", "One moment.", "filler") << ... >> speech(20) << ...
    call >> AUDIO_DONE << ... >> mark("0:160") << ...
    assert AgentAnnounced(1, "One moment.", "filler") in call.progress
    call >> LegLost("agent", "gone", code=1011) << ... >> Wait(0.3) << ... >> WELCOME
    (told,) = (each for each in call._out if isinstance(each, SendSettings))
    written = [msgspec.json.decode(deepgram.write(entry)) for entry in told.history]
    assert written == [
        {"type": "History", "role": "user", "content": "Hello?"},
        {"type": "History", "role": "assistant", "content": "One moment."},
    ]
    call << ...


def test_a_caller_who_speaks_clears_hold_sound_and_interrupts_nobody(call: Playbook) -> None:
    moment(call.talking()) >> CUT_OFF << ... >> Wait(0) << ... >> Wait(0.7) << ...
    call >> WELCOME << ... >> APPLIED << ... >> BARGE_IN << ClearCaller() << Phase.TALKING


NOT_KEPT: Final[dict[str, list[Given]]] = {
    "not alone": [agent(PHRASES.one_moment), Speech(MOMENT), agent("So."), AUDIO_DONE],
    "after others": [agent("So."), agent(PHRASES.one_moment), Speech(MOMENT), AUDIO_DONE],
    "after sound": [Speech(MOMENT), agent(PHRASES.one_moment), AUDIO_DONE],
    "too long": [agent(PHRASES.one_moment), Speech(bytes(KEPT_MAX + 1)), AUDIO_DONE],
    "other words": [agent("One moment"), Speech(MOMENT), AUDIO_DONE],
    "cut": [
        *(agent(PHRASES.one_moment), Speech(MOMENT), BARGE_IN, AUDIO_DONE),
        *(Speech(MOMENT), AUDIO_DONE),  # whose text did not come
    ],
    "another voice since": [
        *(agent(PHRASES.one_moment), Speech(MOMENT), AUDIO_DONE),
        deepgram.SpeakUpdated(),
    ],
    "without sound": [agent(PHRASES.one_moment), AUDIO_DONE],
}


@pytest.mark.parametrize("why", NOT_KEPT)
def test_only_the_whole_sentence_is_kept(call: Playbook, why: str) -> None:
    moment(call.talking(), *NOT_KEPT[why])
    call >> CUT_OFF << ... >> Wait(0) << ... >> Wait(0.8) << ...
    assert [audio for _, audio in held(call)] == [TONE]


def test_the_words_of_another_agent_are_not_kept(call: Playbook) -> None:
    moment(call.talking())
    call >> Requested(1, requests.SwitchAgent("billing", CallSettings())) << ... >> Wait(1) << ...
    (
        call
        >> WELCOME
        << ...
        >> APPLIED
        << ...
        >> CUT_OFF
        << ...
        >> Wait(0.0)
        << ...
        >> Wait(0.8)
        << ...
    )
    assert [audio for _, audio in held(call)] == [TONE]


def test_small_and_large_chunks_are_kept_as_they_came(call: Playbook) -> None:
    sound = bytes(range(1, 251)) * 4
    chunks: list[Given] = [
        *(Speech(sound[:160]), Speech(sound[160:320]), Speech(sound[320:321])),
        *(Speech(sound[321:481]), Speech(sound[481:])),
    ]
    moment(call.talking(), agent(PHRASES.one_moment), *chunks, AUDIO_DONE)
    call >> CUT_OFF << ... >> Wait(0) << ... >> Wait(0.9) << ...
    assert [audio for _, audio in held(call)] == [sound]


def test_nobody_is_held_who_hears_nothing(call: Playbook) -> None:
    """A muted call, last words, a caller who is away or not there yet."""
    quietly(call.talking(), Requested(1, requests.Mute(True)), CUT_OFF, Wait(0), Wait(3))
    assert not call.held
    closing = quietly(Playbook().talking(), LEAVE, agent("One moment."), speech(400), CUT_OFF)
    quietly(closing, Wait(9)) << Phase.AWAY
    assert not closing.held
    waiting = quietly(Playbook(), CallAnnounced(), AgentLegRefused(503), Wait(0), Wait(2))
    waiting << Phase.WAITING
    assert not waiting.held
    waiting >> START << CallStarted() >> Wait(0.69)
    assert not waiting.held
    waiting >> Wait(0.02)
    assert [audio for _, audio in waiting.held] == [TONE]


def test_a_tone_is_no_greeting(call: Playbook) -> None:
    call.talking() >> CUT_OFF << ... >> Wait(0) << ... >> Wait(1) << ...
    assert call.held
    call >> WELCOME << SendSettings(greeting=True) >> APPLIED << ... >> CUT_OFF << ...
    call >> Wait(0.5) << DialAgent() >> WELCOME << SendSettings(greeting=True)


def test_the_tone_is_soft_and_does_not_click() -> None:
    loudness = [abs(LINEAR[sample]) for sample in TONE]
    assert len(TONE) == 1600
    assert 1500 < max(loudness) < 2000
    assert TONE[:1] == TONE[-1:] == SILENCE
    assert max(abs(LINEAR[a] - LINEAR[b]) for a, b in pairwise(TONE)) < 800


def test_a_leg_that_takes_nothing_for_10_s_is_replaced_once_in_60_s(call: Playbook) -> None:
    heard(call.under(CallSettings(silence_s=0)).talking(), "Hello.")
    stalled = LegStalled("agent")
    call >> stalled >> Wait(9.9) << ... >> LegRecovered("agent") >> Wait(1) << ...
    call >> stalled >> Wait(9.9) << ... >> Wait(0.1)
    call << AgentLost("stuck", "") << HangUpAgent() << DialAgent() << Phase.SETTLING
    call >> WELCOME << SendSettings(greeting=False, history=history("Hello.")) >> APPLIED
    call << CONNECTED_AT_ONCE << AgentResumed(1, 0, 0) << Phase.TALKING
    call >> Wait(30) << ... >> stalled >> Wait(9.9) << ... << Phase.TALKING >> Wait(0.1) << ...
    assert call.call.ending == Ending(Slug.AGENT_LEG_STUCK)


def test_a_leg_that_is_stuck_and_not_replaced_ends_the_call_as_stuck(call: Playbook) -> None:
    heard(call.under(CallSettings(silence_s=0)).talking(), "Hello.")
    call >> LegStalled("agent") >> Wait(10) << ...
    for wait in (0.5, 1.5, 0):
        call >> AgentLegRefused(503) << ... >> Wait(wait) << ...
    assert call.call.ending is not None
    assert call.call.ending.how is Slug.AGENT_LEG_STUCK


# --- the budget ----------------------------------------------------------------------------------

FAILURES: Final[list[Input]] = [
    AgentLegRefused(503),
    AgentLegRefused(429),  # the place of the session that was lost
    AgentLegUnreachable("no such host"),
    LegLost("agent", "close code 1013", code=1013),
]


@pytest.mark.parametrize("failure", FAILURES, ids=str)
@pytest.mark.parametrize("spread", [0.0, 0.5, 0.999])
def test_three_attempts_fail_and_the_call_ends(failure: Input, spread: float) -> None:
    call = Playbook(spread=spread)
    heard(call.talking(), "Hello.") >> CUT_OFF << LOST << HangUpAgent()
    for place, (shortest, longest) in enumerate(WAITS_S):
        wait = shortest + (longest - shortest) * spread
        if wait:
            call >> Wait(wait - 0.001)
        call >> Wait(0.001) << DialAgent(place) >> failure << ...
    assert call.call.ending is not None
    assert call.call.ending.how is Slug.AGENT_LOST
    assert call.now - 1000 < WINDOW_S


@pytest.mark.parametrize("welcomed", [False, True])
def test_an_attempt_takes_3_s_and_all_of_them_10(call: Playbook, welcomed: bool) -> None:
    heard(call.talking(), "Hello.") >> CUT_OFF << LOST << HangUpAgent()
    late = AgentLost("too_late", "")
    for place, wait in enumerate((0.0, 0.5)):
        call >> Wait(wait) << DialAgent(place)
        if welcomed:
            call >> WELCOME << ...
        call >> Wait(ATTEMPT_S - 0.01) >> Wait(0.01) << late << HangUpAgent()
    call >> Wait(1.5) << DialAgent(2) >> Wait(1.99) >> Wait(0.01)
    call << ClearCaller()  # The sound that held the line, of which no mark has come back.
    ends(call, Slug.AGENT_LOST, "no SettingsApplied within 2 s")


def test_an_agent_that_is_lost_again_and_again_is_given_up(call: Playbook) -> None:
    heard(call.talking(), "Hello.")
    for wait in (0.0, 0.5, 1.5):
        call >> CUT_OFF << LOST << HangUpAgent() >> Wait(wait) << DialAgent()
        call >> WELCOME << ... >> APPLIED << ... >> Wait(1)
    call >> CUT_OFF << ClearCaller()
    ends(call, Slug.AGENT_LOST, "cut off")


def test_the_budget_is_of_10_s(call: Playbook) -> None:
    heard(call.under(CallSettings(silence_s=0)).talking(), "Hello.")
    for _ in range(20):
        call >> CUT_OFF << LOST << HangUpAgent() >> Wait(0) << DialAgent()
        call >> WELCOME << ... >> APPLIED << ... >> Wait(10) << ...


@pytest.mark.parametrize("code", ["FAILED_TO_SPEAK", "ASR_DRIVER_TIMEOUT", "NEW_CODE"])
def test_what_may_be_our_mistake_is_tried_once_in_60_s(call: Playbook, code: str) -> None:
    error = deepgram.Error(code, "why")
    heard(call.under(CallSettings(silence_s=0)).talking(), "Hello.")
    for wait in (60, 59.9):
        call >> error << AgentWarned(code, "why", fatal=True) << AgentLost("error", code)
        call << HangUpAgent() >> Wait(0) << DialAgent() >> WELCOME << ... >> APPLIED << ...
        call >> Wait(wait) << ...
    call >> error << AgentWarned(code, "why", fatal=True)
    ends(call, Slug.AGENT_LOST, code)


@pytest.mark.parametrize(
    ("refused", "how"),
    [
        (AgentLegRefused(401), Slug.AGENT_KEY_REFUSED),
        (AgentLegRefused(400), Slug.AGENT_UNREACHABLE),
    ],
)
def test_a_new_leg_that_is_refused_for_good_ends_the_call(
    call: Playbook, refused: AgentLegRefused, how: Slug
) -> None:
    heard(call.talking(), "Hello.")
    call >> CUT_OFF << LOST << HangUpAgent() >> Wait(0) << DialAgent() >> refused
    ends(call, how, f"HTTP {refused.status}")


def test_settings_that_are_refused_in_mid_call_end_it(call: Playbook) -> None:
    heard(call.talking(), "Hello.")
    call >> CUT_OFF << LOST << HangUpAgent() >> Wait(0) << DialAgent() >> WELCOME << ...
    call >> deepgram.Error("INVALID_SETTINGS", "") << AgentWarned("INVALID_SETTINGS", "", True)
    ends(call, Slug.AGENT_SETTINGS_REFUSED, "INVALID_SETTINGS")


# --- before the conversation, and after it -------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [AgentLegRefused(503), AgentLegUnreachable("no such host"), LegLost("agent", "why", code=1011)],
    ids=str,
)
def test_the_first_leg_is_dialled_again(call: Playbook, failure: Input) -> None:
    call >> START << CallStarted() << DialAgent()
    for place, wait in enumerate((0.0, 0.5, 1.5), 1):
        call >> Frame() >> failure << ... >> Wait(wait) << DialAgent(place)
    call >> WELCOME << SendSettings(greeting=True) >> APPLIED << CONNECTED_AT_ONCE
    call << SendAudio(b"\x01" * 3 * FRAME_BYTES) << Phase.TALKING


def test_a_function_is_answered_after_a_first_leg_that_failed(call: Playbook) -> None:
    call >> START << ... >> LegLost("agent", "why", code=1011) << ... >> Wait(0) << DialAgent(1)
    quietly(call, WELCOME, APPLIED)
    heard(call, "Hello.")
    pay = deepgram.FunctionCallRequest([deepgram.FunctionCall("1", "pay", "{}")])
    quietly(call, caller("Pay."), pay)
    call >> ToolFinished("1", "paid", "answered")
    call << TellAgent(deepgram.FunctionCallResponse(id="1", name="pay", content="paid"))
    call << FunctionAnswered("1", "pay", "answered", "paid", 0)


def test_a_first_leg_for_which_there_is_no_room_is_not_dialled_again(call: Playbook) -> None:
    call >> START << CallStarted() << DialAgent() >> AgentLegRefused(429)
    ends(call, Slug.AGENT_BUSY, "HTTP 429")


def test_a_first_leg_that_cannot_be_reached_is_given_up_after_three_more(call: Playbook) -> None:
    nowhere = AgentLegUnreachable("no such host")
    call >> START << CallStarted() << DialAgent()
    for place, wait in enumerate((0.0, 0.5, 1.5), 1):
        call >> nowhere << AgentLost("unreachable", "") << HangUpAgent() >> Wait(wait)
        call << DialAgent(place)
    call >> nowhere << ClearCaller()  # The sound that held the line.
    ends(call, Slug.AGENT_UNREACHABLE, "no such host")


def test_a_leg_that_fails_before_the_stream_is_dialled_again_and_waits_for_it(
    call: Playbook,
) -> None:
    call >> CallAnnounced() << DialAgent() >> AgentLegRefused(503)
    call << AgentLost("refused", "503") << HangUpAgent() >> Wait(0.0) << DialAgent(1)
    call >> START << CallStarted() >> WELCOME << SendSettings() >> APPLIED << CONNECTED_AT_ONCE
    call << Phase.TALKING


def test_a_leg_that_fails_before_the_stream_is_not_dialled_beyond_15_s(call: Playbook) -> None:
    call >> CallAnnounced() << DialAgent() >> Wait(9.9) >> AgentLegRefused(503) << ...
    call >> Wait(0.0) << DialAgent(1) >> WELCOME << SendSettings() >> APPLIED << CONNECTED_AT_ONCE
    call >> Wait(5.1) << ... << Phase.WAITING >> START << CallStarted() << DialAgent(1)


LEAVE: Final = Requested(1, requests.Leave(SendDigits("1"), "One moment."))


def test_last_words_that_came_whole_are_heard_in_spite_of_a_loss(call: Playbook) -> None:
    heard(call.talking(), "Hello.")
    call >> Requested(1, requests.HangUp("agent", "Bye.")) << inject("Bye.", "queue")
    call >> agent("Bye.") >> speech(400) << ... >> AUDIO_DONE << ... >> CUT_OFF << HangUpAgent()
    call << Phase.CLOSING >> Frame() >> mark("0:6400") << ...
    assert call.call.ending is not None
    assert call.call.ending.how is Slug.AGENT_HUNG_UP


def test_last_words_that_do_not_come_are_passed_over(call: Playbook) -> None:
    heard(call.talking(), "Hello.")
    call >> LEAVE << inject("One moment.", "queue") >> CUT_OFF << HangUpAgent()
    call << CallerLeft("digits", "") << LeaveStream(SendDigits("1"))
    call << Reply(1, True, PHRASES.done) << Phase.AWAY


def test_a_caller_who_goes_on_after_last_words_gets_an_agent(call: Playbook) -> None:
    heard(call.talking(), "Hello.")
    call >> LEAVE << ... >> agent("One moment.") >> speech(400) << ... >> AUDIO_DONE << ...
    call >> CUT_OFF << HangUpAgent() >> RequestCancelled(1)
    call << Reply(1, False, PHRASES.called_off) << LOST << Phase.SETTLING
    call >> Wait(0) << DialAgent() >> WELCOME << ... >> APPLIED << ... << Phase.TALKING


def test_a_caller_who_goes_on_gets_no_agent_after_our_own_mistake(call: Playbook) -> None:
    heard(call.talking(), "Hello.")
    call >> LEAVE << ... >> agent("One moment.") >> speech(400) << ... >> AUDIO_DONE << ...
    call >> LegLost("agent", "why", code=1008) << HangUpAgent() >> RequestCancelled(1)
    call << Reply(1, False, PHRASES.called_off) << ClearCaller() << ...
    assert call.call.ending is not None
    assert call.call.ending.how is Slug.AGENT_LOST


def test_another_agent_takes_over_in_a_gap(call: Playbook) -> None:
    heard(call.talking(), "Hello.") >> CUT_OFF << LOST << HangUpAgent()
    call >> Requested(1, requests.SwitchAgent("billing", CallSettings())) << ...
    call >> Wait(1) >> WELCOME << ... >> APPLIED << ... << Phase.TALKING


def test_a_caller_who_leaves_in_a_gap_has_no_gap_on_return(call: Playbook) -> None:
    heard(call.talking(), "Hello.") >> CUT_OFF << LOST << HangUpAgent()
    call >> Requested(1, requests.Leave(SendDigits("1"))) << ... << Phase.AWAY
    call >> Wait(1) >> START << ... >> WELCOME << ... >> APPLIED
    call << AgentConnected("request-1", 0) << AgentTold(PHRASES.keys_sent)
    call << push(PHRASES.keys_sent)


def test_a_status_tells_whether_it_is_tried_again() -> None:
    assert agent_loss.refused(500, may_be_ours=False).retry is Retry.YES
    assert agent_loss.refused(302, may_be_ours=True).retry is Retry.NEVER
    assert agent_loss.refused(429, may_be_ours=False).retry is Retry.NEVER
    assert agent_loss.refused(429, may_be_ours=True).retry is Retry.YES
