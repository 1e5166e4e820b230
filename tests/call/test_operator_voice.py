"""An operator who speaks with the caller: every state and step, and whatever else happens then."""

from itertools import product
from typing import Final

import pytest
from tests.call.playbook import (
    APPLIED,
    AUDIO_DONE,
    BARGE_IN,
    START,
    STOP,
    WELCOME,
    Forwarded,
    Frame,
    Given,
    Operator,
    Playbook,
    Sent,
    Wait,
    agent,
    caller,
    ends,
    inject,
    key,
    mark,
    speech,
)
from tests.call.test_handlers import WAYS
from tests.cases import check_each

from offhook.call import phases, requests
from offhook.call.call_settings import CallSettings
from offhook.call.commands import (
    ClearCaller,
    DialAgent,
    HangUpAgent,
    LeaveStream,
    Note,
    ReleaseOperator,
    Reply,
    SendSettings,
    TellAgent,
    UseSpare,
)
from offhook.call.ending import Slug
from offhook.call.handoff_actions import Dial, SendDigits
from offhook.call.inputs import (
    AgentLegRefused,
    GarbageReceived,
    HandoffDone,
    LegLost,
    OperatorLost,
    ProcessDied,
    Requested,
    SpareReady,
    SpareWelcomed,
    ToolFinished,
)
from offhook.call.keypad import Action, HangUpByKey, SayByKey
from offhook.call.operator_voice import LAG_S, RETURN_S, SILENT_S, is_frame
from offhook.call.phases import OPERATOR_TRANSITIONS, OperatorState, OperatorStep, Phase
from offhook.call.phrases import Phrases, fill
from offhook.call.resumed import ResumedCall
from offhook.deepgram import messages as deepgram
from offhook.events.types import (
    AgentConnected,
    AgentLost,
    AgentMuted,
    AgentSaid,
    AgentTold,
    AudioDropped,
    CallerSaid,
    CallStarted,
    CallTakenOver,
    FunctionAnswered,
    FunctionCalled,
    Interrupted,
    KeyPressed,
    OperatorHandedBack,
    OperatorTookOver,
    ProtocolViolation,
)

ANN: Final = requests.TakeOver("Ann")
BOB: Final = requests.TakeOver("Bob")
DESK: Final = Dial("desk", "+12025550123", 25)
PHRASES: Final = Phrases()
ANN_SPEAKS: Final = "Ann is speaking with the caller"
NEWS: Final = fill(PHRASES.handed_back, note=" The colleague says: They pay on Monday.")
CLOSED: Final = LegLost("agent", "closed", code=1011)


def tell(text: str) -> TellAgent:
    return TellAgent(deepgram.InjectUserMessage(content=text))


def taken(settings: CallSettings | None = None) -> Playbook:
    """A call that Ann has taken over at its first second."""
    call = Playbook(settings)
    call.talking()
    return (
        call
        >> Requested(1, ANN)
        << OperatorTookOver("Ann")
        << AgentMuted(True)
        << Reply(1, True, PHRASES.taken_over)
    )


def speaking(call: Playbook, seconds: float) -> None:
    """Let the operator speak: frame by frame, as a microphone gives them."""
    for _ in range(round(seconds * 50)):
        call >> Operator() << ... >> Wait(0.02) << ...


def assert_heard(call: Playbook) -> None:
    """What the operator says now goes to Twilio."""
    call >> Operator()
    assert [each.size for each in call._out if isinstance(each, Sent)] == [160]
    call << ...


# --- the tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "step"), list(product(OperatorState, OperatorStep)))
def test_only_what_the_table_holds_is_legal(state: OperatorState, step: OperatorStep) -> None:
    if (state, step) in OPERATOR_TRANSITIONS:
        assert phases.operator_after(state, step) is OPERATOR_TRANSITIONS[state, step]
    else:
        with pytest.raises(KeyError):
            phases.operator_after(state, step)


def test_every_step_of_the_table_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    done: set[tuple[OperatorState, OperatorStep]] = set()

    def operator_after(state: OperatorState, step: OperatorStep) -> OperatorState:
        done.add((state, step))
        return phases.operator_after(state, step)

    monkeypatch.setattr("offhook.call.operator_voice.operator_after", operator_after)
    back = Requested(4, requests.HandBack())
    ways: list[list[Given]] = [
        [Requested(2, ANN), OperatorLost(), Requested(3, ANN), back],
        [OperatorLost(), Wait(RETURN_S)],
    ]
    for way in ways:
        call = taken()
        for each in way:
            call >> each << ...
    assert done == set(OPERATOR_TRANSITIONS)


_TAKEN: Final[dict[OperatorState, list[Given]]] = {
    OperatorState.ABSENT: [],
    OperatorState.SPEAKING: [Requested(91, ANN)],
    OperatorState.LOST: [Requested(91, ANN), OperatorLost()],
}
_INPUTS: Final[dict[str, Given]] = {
    "she": Requested(99, ANN),
    "he": Requested(99, BOB),
    "back": Requested(99, requests.HandBack("They pay on Monday.")),
    "lost": OperatorLost(),
    "sound": Operator(),
}


def test_every_input_of_an_operator_in_every_phase() -> None:
    """Each phase is reached with the operator there already, where that can be; nothing raises."""
    check_each(_check_input, product(Phase, OperatorState, _INPUTS))


def _check_input(phase: Phase, state: OperatorState, name: str) -> None:
    call = Playbook()
    way = list(WAYS[phase])
    at = next((i + 1 for i, each in enumerate(way) if each is APPLIED or each is START), len(way))
    if phase is Phase.CLOSING:
        at = len(way)  # Taking over calls last words off.
    leave: list[Given] = [Requested(92, requests.Leave(SendDigits("1"), by="operator"))]
    if phase is Phase.AWAY and state is not OperatorState.ABSENT:
        way = [*WAYS[Phase.TALKING], *_TAKEN[state], *leave]
    else:
        way = [*way[:at], *_TAKEN[state], *way[at:]]
    for each in way:
        call >> each << ...
    holder = call.call.is_taken
    can_begin = call.call.phase in (Phase.SETTLING, Phase.TALKING, Phase.BARGE_IN, Phase.CLOSING)
    replies: list[Reply] = []
    call.listeners.append(lambda each: replies.append(each) if isinstance(each, Reply) else None)
    over = call.call.phase is Phase.ENDED
    call >> _INPUTS[name] << ...
    done = {each.id: each.done for each in replies}
    match name:
        case _ if over:
            assert not done
        case "she":
            assert done[99] is (holder or can_begin)
        case "he":
            assert done[99] is (can_begin if not holder else state is OperatorState.LOST)
        case "back":
            assert done[99] is holder
            assert not call.call.is_taken
        case _:
            assert not done
    if name in ("she", "he") and not over and done[99]:
        assert call.call.is_taken
        assert call.call.phase is not Phase.CLOSING


_REQUESTS: Final[dict[str, tuple[requests.CallRequest, bool]]] = {
    "hang up": (requests.HangUp("operator"), True),
    "hang up with a farewell": (requests.HangUp("operator", "Goodbye."), False),
    "the agent hangs up": (requests.HangUp("agent"), False),
    "say": (requests.Say("One."), False),
    "tell": (requests.Tell("One."), True),
    "update": (requests.Update(deepgram.UpdatePrompt("Be brief.")), True),
    "mute": (requests.Mute(True), False),
    "unmute": (requests.Mute(False), False),
    "the agent transfers": (requests.Leave(DESK, "One moment."), False),
    "an operator transfers": (requests.Leave(DESK, "One moment.", by="operator"), True),
    "switch": (requests.SwitchAgent("billing", CallSettings()), False),
    "secret": (requests.AskDigits("", 4, 5.0), False),
}


@pytest.mark.parametrize("name", _REQUESTS)
def test_what_can_be_asked_while_an_operator_speaks(name: str) -> None:
    request, is_done = _REQUESTS[name]
    refused: list[str] = []
    call = taken()
    call.listeners.append(
        lambda each: refused.append(each.what) if each == Reply(2, False, ANN_SPEAKS) else None
    )
    call >> Requested(2, request) << ...
    assert refused == ([] if is_done else [ANN_SPEAKS])


# --- taking over, and handing back ---------------------------------------------------------------


def test_the_caller_hears_the_operator_and_not_the_agent() -> None:
    call = (
        Playbook().talking()
        >> agent("One two three four.")
        << ...
        >> speech(1000)
        << ...
        >> mark("0:160")
        << ...
        >> Wait(0.5)
        << ...
        >> Requested(1, ANN)
        << OperatorTookOver("Ann")
        << ClearCaller()
    )
    call << ...
    assert_heard(call)
    (
        call
        >> speech(400)
        >> AUDIO_DONE
        >> agent("Another sentence.")
        >> speech(400)
        >> Frame()
        << Forwarded()
    )


def test_what_the_operator_says_is_marked_and_is_no_utterance_of_the_agents() -> None:
    call = taken()
    sent: list[Sent] = []
    for _ in range(25):
        call >> Operator()
        sent += [each for each in call._out if isinstance(each, Sent)]
        call << ... >> Wait(0.02)
    assert sum(each.size for each in sent) == 25 * 160
    assert [each.mark for each in sent if each.mark] == ["1:160", "1:1760", "1:3360"]
    call >> Requested(2, requests.HandBack())
    assert [each for each in call._out if isinstance(each, Sent)] == [Sent(0, "1:4000")]
    call << ...
    assert call.call.turns.utterances == 0


def test_the_agent_is_told_the_note_and_speaks_again() -> None:
    call = taken() >> Wait(2) << ... >> caller("I pay on Monday.") << CallerSaid("I pay on Monday.")
    (
        call
        >> agent("That was for nobody.")
        >> speech(400)
        >> Requested(2, requests.HandBack("They pay on Monday."))
        << OperatorHandedBack("Ann", "They pay on Monday.", 2000, "asked")
        << ReleaseOperator("asked")
        << AudioDropped("caller", 400, "muted")
        << AgentMuted(False)
        << AgentTold(NEWS)
        << tell(NEWS)
        << Reply(2, True, PHRASES.agent_has_caller)
        << Phase.BARGE_IN
        >> speech(200)  # the rest of what was for nobody
        >> agent("Very well.")
        << AudioDropped("caller", 200, "late")
        << Phase.TALKING
        >> speech(20)
        << Sent(160, f"{call.call.turns.playback.epoch}:160")
    )


def test_an_agent_that_does_not_take_the_news_is_told_again_when_it_has_spoken() -> None:
    (
        taken()
        >> Requested(2, requests.HandBack("They pay on Monday."))
        << ...
        >> deepgram.Warning("INJECT_AGENT_MESSAGE_DURING_USER_SPEECH", "")
        << ...
        >> Wait(1)
        << ...
        >> AUDIO_DONE
    )


def test_one_operator_at_a_time() -> None:
    (
        taken()
        >> Requested(2, BOB)
        << Reply(2, False, ANN_SPEAKS)
        >> Requested(3, ANN)  # in another window
        << Reply(3, True, PHRASES.taken_over)
        >> OperatorLost()
        >> Requested(4, BOB)
        << OperatorHandedBack("Ann", "", 0, "lost")
        << OperatorTookOver("Bob")
        << Reply(4, True, PHRASES.taken_over)
    )


def test_one_who_was_lost_may_come_back() -> None:
    (
        taken()
        >> Wait(1)
        >> OperatorLost()
        >> Operator()  # of a socket that is gone: nobody hears it
        >> Wait(RETURN_S - 1.5)
        >> Requested(2, ANN)
        << Reply(2, True, PHRASES.taken_over)
        >> Operator()
        << Sent(160, "1:160")
    )


@pytest.mark.parametrize("why", ["lost", "silent"])
def test_the_caller_is_not_left_in_silence(why: str) -> None:
    call = taken()
    if why == "lost":
        call >> OperatorLost()
    wait_s = RETURN_S if why == "lost" else SILENT_S
    (
        call
        >> Wait(wait_s - 1)
        << ...
        >> Frame()
        << Forwarded()
        >> Wait(1)
        << OperatorHandedBack("Ann", "", round(1000 * wait_s), why)  # type: ignore[arg-type]
        << ReleaseOperator(why)  # type: ignore[arg-type]
        << AgentMuted(False)
        << AgentTold(PHRASES.operator_lost)
        << tell(PHRASES.operator_lost)
    )


def test_an_operator_who_is_late_does_not_stay_late() -> None:
    """A network that held two seconds back, and gives them at once: half a second is played."""
    call = taken()
    sent = 0
    for _ in range(100):
        call >> Operator()
        sent += sum(each.size for each in call._out if isinstance(each, Sent))
        call << ...
    assert sent / 8000 == pytest.approx(LAG_S + 0.02, abs=0.021)
    call >> Requested(2, requests.HandBack()) << AudioDropped("caller", 2000 - sent // 8, "full")
    call << ...


@pytest.mark.parametrize(
    ("size", "is_one"), [(0, False), (159, False), (160, True), (1600, True), (1760, False)]
)
def test_frames(size: int, is_one: bool) -> None:
    assert is_frame(bytes(size)) is is_one


# --- whatever else happens -----------------------------------------------------------------------


def test_during_a_barge_in() -> None:
    call = Playbook().talking() >> agent("One two.") << ... >> speech(400) << ... >> BARGE_IN << ...
    (
        call
        << Phase.BARGE_IN
        >> Requested(1, ANN)
        << OperatorTookOver("Ann")
        << AgentMuted(True)
        << Reply(1, True, PHRASES.taken_over)
    )
    assert_heard(call)
    call >> Wait(0.5) << Phase.TALKING


def test_a_caller_who_speaks_does_not_cut_the_operator() -> None:
    taken() >> Operator() << Sent(160, "1:160") >> BARGE_IN >> Operator() << Sent(160)


def test_during_a_farewell() -> None:
    (
        Playbook().talking()
        >> Requested(1, requests.HangUp("agent", "Goodbye."))
        << inject("Goodbye.", "queue")
        >> Requested(2, ANN)
        << OperatorTookOver("Ann")
        << Reply(1, False, ANN_SPEAKS)
        << AgentMuted(True)
        << Reply(2, True, PHRASES.taken_over)
        << Phase.TALKING
        >> agent("Goodbye.")
        >> speech(400)
        >> AUDIO_DONE
        >> Operator()
        << Sent(160, "1:160")
    )


def test_during_the_agents_first_words_of_a_transfer() -> None:
    (
        Playbook().talking()
        >> Requested(1, requests.Leave(DESK, "I connect you."))
        << inject("I connect you.", "queue")
        >> Requested(2, ANN)
        << OperatorTookOver("Ann")
        << Reply(1, False, ANN_SPEAKS)
        << AgentMuted(True)
        << Reply(2, True, PHRASES.taken_over)
        << Phase.TALKING
    )


def test_the_operator_transfers_and_gets_the_caller_back_if_nobody_answers() -> None:
    call = taken()
    (
        call
        >> Requested(2, requests.Leave(DESK, "I connect you.", by="operator"))
        << ...
        << Phase.AWAY
        >> Operator()
        >> Requested(3, BOB)
        << Reply(3, False, ANN_SPEAKS)
        >> HandoffDone("busy")
        << ...
    )
    call >> WELCOME << ... >> APPLIED << ... >> START << ... << Phase.TALKING
    assert_heard(call)


def test_that_transfer_leaves_the_stream_at_once() -> None:
    commands: list[object] = []
    call = taken()
    call.listeners.append(commands.append)
    call >> Requested(2, requests.Leave(DESK, "I connect you.", by="operator")) << ...
    assert LeaveStream(DESK) in commands
    assert Reply(2, True, PHRASES.done) in commands


def test_before_the_agent_is_there_it_is_told_when_it_comes_and_does_not_greet() -> None:
    call = Playbook() >> START << ... << Phase.SETTLING
    (
        call
        >> Requested(1, ANN)
        << OperatorTookOver("Ann")
        << AgentMuted(True)
        << Reply(1, True, PHRASES.taken_over)
        >> Operator()
        << Sent(160, "1:160")
        >> Requested(2, requests.HandBack("They pay on Monday."))
        << ...
        >> WELCOME
        << SendSettings(greeting=False)
        >> APPLIED
        << AgentConnected("request-1", 0)
        << AgentTold(NEWS)
        << tell(NEWS)
    )


def test_an_agent_that_cannot_be_had_does_not_end_the_operators_call() -> None:
    call = taken() >> CLOSED << AgentLost("closed", "1011") << HangUpAgent() << Phase.SETTLING
    for _ in range(3):
        speaking(call, 2.5)
        call >> AgentLegRefused(503) << ...
    speaking(call, 20)
    call << Phase.SETTLING
    assert not call.held  # No hold sound over the operator's voice.
    (
        call
        >> Requested(2, requests.HandBack("They pay on Monday."))
        << ...
        >> Wait(0)
        << DialAgent(3)
        >> WELCOME
        << ...
        >> APPLIED
        << ...
        << Phase.TALKING
    )
    told = [entry.content for entry in call.call.history.so_far()]
    assert NEWS in told


def test_an_agents_garbage_costs_its_leg_and_not_the_operators_call() -> None:
    call = taken()
    for _ in range(20):
        call >> GarbageReceived("agent", "bad JSON") << ProtocolViolation("agent", "bad JSON")
    (
        call
        >> GarbageReceived("agent", "worse")
        << ProtocolViolation("agent", "worse")
        << AgentLost("garbage", "")
        << HangUpAgent()
        << Phase.SETTLING
        >> Wait(0)
        << DialAgent()
    )
    assert_heard(call)


def test_an_agent_that_may_not_be_dialled_ends_the_call_when_it_is_handed_back() -> None:
    call = taken() >> LegLost("agent", "", code=1011) << ...
    call >> Wait(0) << ... >> AgentLegRefused(401) << ... << Phase.SETTLING
    speaking(call, 1)
    (
        call
        >> Requested(2, requests.HandBack())
        << ...
        >> Wait(0)
        << ...
        >> AgentLegRefused(401)
        << ...
    )
    call << Phase.ENDED


def test_another_session_takes_over_while_the_operator_speaks() -> None:
    call = Playbook(session_s=60.0)
    call.talking()
    call >> Requested(1, ANN) << ...
    speaking(call, 62)
    assert call.contract.has_spare
    call >> SpareWelcomed("request-2") << ... >> SpareReady() << UseSpare()
    call << ... << Phase.TALKING
    assert_heard(call)


def test_a_stream_that_breaks_off_brings_the_caller_back_to_the_operator() -> None:
    call = Playbook(asks_after=True)
    call.talking()
    call >> Requested(1, ANN) << ... >> LegLost("caller", "cut off") << ... << Phase.AWAY
    call >> Operator() >> START << ... >> WELCOME << ... >> APPLIED << ...
    call << Phase.TALKING
    assert_heard(call)


def test_the_caller_hangs_up() -> None:
    call = (
        taken()
        >> Wait(1)
        >> STOP
        << OperatorHandedBack("Ann", "", 1000, "call_over")
        << ReleaseOperator("call_over")
    )
    ends(call, Slug.CALLER_HUNG_UP)


@pytest.mark.parametrize(
    "settings", [CallSettings(max_s=30, answer_s=0), CallSettings(spend_s=30, answer_s=0)]
)
def test_no_limit_ends_the_call_until_it_is_handed_back(settings: CallSettings) -> None:
    call = taken(settings)
    speaking(call, 90)
    call << Phase.TALKING
    call >> Requested(2, requests.HandBack()) << ...
    call >> Wait(29) << ... >> key("1") << ... >> Wait(30) << ...
    assert call.call.phase is not Phase.CLOSING
    call >> key("2") << ... >> Wait(1) << ... << Phase.CLOSING


def test_a_limit_that_was_reached_applies_again() -> None:
    call = (
        Playbook(CallSettings(max_s=10, answer_s=0)).talking() >> Wait(10) << ... << Phase.CLOSING
    )
    call >> Requested(1, ANN) << ... << Phase.TALKING
    speaking(call, 30)
    call >> Requested(2, requests.HandBack()) << ... >> Wait(40) << ...
    call >> key("1") << ... >> Wait(20) << ... << Phase.CLOSING


def test_a_caller_who_listens_to_the_operator_is_not_asked_if_they_are_there() -> None:
    call = taken(CallSettings(silence_s=10))
    speaking(call, 60)
    assert inject(PHRASES.still_there) not in call._out


def test_keys_are_told_to_the_agent_and_perform_no_action() -> None:
    actions: dict[str, Action] = {"9": HangUpByKey("Bye."), "8": SayByKey("Hello.")}
    (
        taken(CallSettings(actions=actions, key_s=0.5))
        >> key("9")
        << KeyPressed("9")
        >> Wait(1)
        >> key("8")
        << KeyPressed("8")
        >> Wait(1)
        << Phase.TALKING
    )
    call = taken(CallSettings(key_s=0.5)) >> key("1") << ... >> Wait(1) << ...
    assert "(The caller pressed 1 on the keypad.)" in str(call.call.history.so_far())


def test_a_secret_is_not_entered_to_an_operator() -> None:
    call = Playbook().talking() >> Requested(1, requests.AskDigits("", 4, 5.0)) << ...
    replies: list[object] = []
    call.listeners.append(replies.append)
    call >> Requested(2, ANN) << ...
    assert Reply(1, False, ANN_SPEAKS) in replies


def test_functions_that_run_are_answered_and_others_are_not_run() -> None:
    pay = deepgram.FunctionCall("2", "pay", "{}")
    error = '{"error": "Ann is speaking with the caller"}'
    call = Playbook().talking()
    call >> deepgram.FunctionCallRequest([deepgram.FunctionCall("1", "look", "{}")]) << ...
    call >> Requested(1, ANN) << ...
    (
        call
        >> ToolFinished("1", "sunny", "answered")
        << TellAgent(deepgram.FunctionCallResponse(id="1", name="look", content="sunny"))
        << FunctionAnswered("1", "look", "answered", "sunny", 0)
        >> deepgram.FunctionCallRequest([pay])
        << FunctionCalled("2", "pay", "{}")
        << TellAgent(deepgram.FunctionCallResponse(id="2", name="pay", content=error))
        << FunctionAnswered("2", "pay", "failed", error, 0)
    )


def test_an_agent_that_was_muted_is_heard_when_the_caller_is_handed_back() -> None:
    call = Playbook().talking() >> Requested(1, requests.Mute(True)) << ...
    call >> Requested(2, ANN) << ... >> Requested(3, requests.HandBack()) << ...
    assert not call.call.turns.is_muted


def test_the_process_dies_while_an_operator_speaks() -> None:
    resumed = ResumedCall()
    for at_ms, event in (
        (0, CallStarted()),
        (1000, OperatorTookOver("Ann")),
        (1000, AgentMuted(True)),
        (3000, AgentSaid("", "", 0, interrupted=False)),
    ):
        resumed.take(event, at_ms)
    call = Playbook(now=1000.0)
    (
        call
        >> ProcessDied(resumed)
        << CallTakenOver(0)
        << AgentMuted(False)
        << OperatorHandedBack("Ann", "", -1000, "process_died")
        >> START
        << ...
        >> WELCOME
        << ...
        >> APPLIED
    )
    assert tell(PHRASES.operator_lost) in call._out
    call << ...


def test_the_callers_barge_in_is_measured_anew_afterwards() -> None:
    """What was heard of the agent is counted from its own audio, not from the operator's."""
    call = taken()
    speaking(call, 3)
    call >> Requested(2, requests.HandBack()) << ... >> agent("One two three four.") << ...
    epoch = call.call.turns.playback.epoch
    start = call.call.turns.playback.sent
    call >> speech(1000) << ... >> mark(f"{epoch}:{start + 160}") << ... >> Wait(0.5) << ...
    call >> mark(f"{epoch}:{start + 1760}") << ... >> BARGE_IN
    assert Note(Interrupted(220)) in call._out
    call << ...
