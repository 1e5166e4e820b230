"""What is asked of a call from outside: last words, handoffs and returns, and what is replied."""

import pytest
from tests.call.playbook import (
    APPLIED,
    AUDIO_DONE,
    BARGE_IN,
    START,
    STOP,
    WELCOME,
    Frame,
    Playbook,
    Sent,
    Wait,
    agent,
    caller,
    ends,
    inject,
    mark,
    speech,
)

from offhook.audio import FRAME_BYTES
from offhook.call import requests
from offhook.call.call_settings import CallSettings
from offhook.call.commands import (
    CancelTool,
    ChangeAgent,
    ClearCaller,
    DialAgent,
    HangUpAgent,
    LeaveStream,
    Reply,
    RunTool,
    SendAudio,
    SendSettings,
    TellAgent,
)
from offhook.call.ending import Ending, Slug
from offhook.call.handoff_actions import Dial, HandoffAction, JoinConference, SendDigits
from offhook.call.inputs import (
    CallOver,
    HandoffBegun,
    HandoffDone,
    LegLost,
    RequestCancelled,
    Requested,
)
from offhook.call.phases import Phase
from offhook.call.phrases import Phrases
from offhook.deepgram import messages as deepgram
from offhook.events.types import (
    AgentConnected,
    AgentMuted,
    AgentSaid,
    AgentSwitched,
    AgentTold,
    AgentWarned,
    Answered,
    AudioDropped,
    CallerBack,
    CallerLeft,
    CallerSaid,
    FunctionCalled,
    FunctionDropped,
    TransferFailed,
)

GOODBYE = "Thank you. Goodbye."
HANG_UP = requests.HangUp("agent", GOODBYE)
DESK = Dial("front_desk", "+12025550123", 25)
TRANSFER = requests.Leave(DESK, "I connect you.")
TALK = (
    deepgram.History("user", "Somebody, please."),
    deepgram.History("assistant", "I connect you."),
)


def tell(text: str) -> TellAgent:
    return TellAgent(deepgram.InjectUserMessage(content=text))


def said_and_heard(call: Playbook, text: str, *, answer: bool = False) -> Playbook:
    """The agent says 20 ms; Twilio has played them."""
    epoch = call.call.turns.playback.epoch
    at = call.call.turns.playback.sent + FRAME_BYTES
    name = f"{epoch}:{at}"
    call >> agent(text) >> speech(20) << Sent(FRAME_BYTES, name) >> AUDIO_DONE >> mark(name)
    if answer:
        call << Answered(0, 0)
    return call << AgentSaid(text, text, 20, interrupted=False)


# --- hanging up -------------------------------------------------------------------------------


def test_the_agent_hangs_up_when_its_goodbye_was_heard_and_only_once(call: Playbook) -> None:
    (
        call.talking()
        >> Requested(1, HANG_UP)
        << inject(GOODBYE, "queue")
        << Phase.CLOSING
        >> Requested(2, HANG_UP)
        << Reply(2, False, "the call is being ended, or its caller transferred, already")
        >> agent("Thank you.")
        >> speech(20)
        << Sent(160, "0:160")
        >> agent("Goodbye.")
        >> speech(20)
        << Sent(160)
        >> AUDIO_DONE
        << Sent(0, "0:320")
        >> Wait(0.05)
        >> mark("0:320")
        << AgentSaid(GOODBYE, GOODBYE, 40, interrupted=False)
        << Reply(1, True, "the call is over")
    )
    ends(call, Slug.AGENT_HUNG_UP)


def test_marks_that_never_come_do_not_keep_the_call(call: Playbook) -> None:
    (call.talking() >> Requested(1, HANG_UP) << inject(GOODBYE, "queue"))
    (call >> agent(GOODBYE) >> speech(4000) << ... >> AUDIO_DONE << ...)
    for _ in range(6):
        call >> Wait(1) >> Frame() << ...
    assert call.call.phase is Phase.CLOSING
    call >> Wait(1.1) << ...
    assert call.call.ending == Ending(Slug.AGENT_HUNG_UP)


def test_a_goodbye_that_the_model_says_itself_is_waited_for(call: Playbook) -> None:
    call.talking() >> Requested(1, requests.HangUp("agent"))
    call >> Wait(0.5)
    (call >> agent("Bye.") >> speech(20) << Sent(160, "0:160") >> AUDIO_DONE >> Wait(0.6))
    (
        call
        >> mark("0:160")
        << AgentSaid("Bye.", "Bye.", 20, interrupted=False)
        << Reply(1, True, "the call is over")
    )
    ends(call, Slug.AGENT_HUNG_UP)


def test_nothing_to_say_ends_the_call_a_second_later(call: Playbook) -> None:
    (
        call.talking()
        >> Requested(1, requests.HangUp("agent"))
        >> Wait(1)
        << Reply(1, True, "the call is over")
    )
    ends(call, Slug.AGENT_HUNG_UP)


@pytest.mark.parametrize(
    "refusal",
    [
        deepgram.InjectionRefused("busy"),
        deepgram.Warning("INJECT_AGENT_MESSAGE_DURING_USER_SPEECH", "busy"),
    ],
)
def test_a_caller_who_speaks_is_not_hung_up_on(
    call: Playbook, refusal: deepgram.InjectionRefused | deepgram.Warning
) -> None:
    code = refusal.code if isinstance(refusal, deepgram.Warning) else "INJECTION_REFUSED"
    (
        call.talking()
        >> Requested(1, HANG_UP)
        << inject(GOODBYE, "queue")
        >> refusal
        << AgentWarned(code, "busy", fatal=False)
        << Reply(1, False, "the caller is speaking; listen first")
        << Phase.TALKING
    )


def test_the_function_that_hangs_up_is_not_called_too_slow(call: Playbook) -> None:
    request = deepgram.FunctionCallRequest([deepgram.FunctionCall("1", "hang_up", "{}")])
    (
        call.talking()
        >> request
        << FunctionCalled("1", "hang_up", "{}")
        << RunTool("1", "hang_up", "{}")
    )
    (call >> Requested(1, HANG_UP) << inject(GOODBYE, "queue") >> agent(GOODBYE))
    call >> speech(11_000) << ...
    for _ in range(11):
        call >> Wait(1) >> Frame() << ...
    assert call.call.phase is Phase.CLOSING
    call >> Wait(5) << ...
    assert call.call.ending == Ending(Slug.AGENT_HUNG_UP)


def test_an_operator_ends_the_call_at_once(call: Playbook) -> None:
    (
        call.talking()
        >> Requested(1, requests.HangUp("operator"))
        << Reply(1, True, "the call is over")
    )
    ends(call, Slug.OPERATOR_HUNG_UP)


# --- handoffs ---------------------------------------------------------------------------------


def left(call: Playbook) -> Playbook:
    """A caller who asked for somebody, and for whom it rings there."""
    call.talking() >> caller("Somebody, please.") << CallerSaid("Somebody, please.")
    call >> Requested(1, TRANSFER) << inject("I connect you.", "queue")
    said_and_heard(call, "I connect you.", answer=True)
    return (
        call
        << HangUpAgent()
        << CallerLeft("transfer", "front_desk")
        << LeaveStream(DESK)
        << Reply(1, True, "it is done")
        << Phase.AWAY
        >> STOP
        >> LegLost("caller", "1000")
    )


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("busy", "the line is busy"),
        ("no-answer", "nobody answered"),
        ("failed", "the number could not be reached"),
        ("canceled", "it was called off"),
        ("declined", "they did not take the call"),
        ("hung-up", "they hung up before the caller was there"),
    ],
)
def test_a_caller_who_was_not_transferred_is_back_and_the_agent_knows_why(
    call: Playbook, outcome: str, words: str
) -> None:
    told = (
        f"(The transfer to front_desk did not work: {words}. Tell the caller, and go on helping.)"
    )
    (
        left(call)
        >> Wait(25)
        >> HandoffDone(outcome)  # type: ignore[arg-type]
        << TransferFailed("front_desk", outcome)  # type: ignore[arg-type]
        << DialAgent()
        >> WELCOME
        << SendSettings(greeting=False, history=TALK)
        >> START
        << CallerBack()
        << Phase.SETTLING
        >> Frame()
        >> APPLIED
        << AgentConnected("request-1", 0)
        << SendAudio(Frame().audio)
        << AgentTold(told)
        << tell(told)
        << Phase.TALKING
        >> caller(told)
        >> caller("Oh.")
        << CallerSaid("Oh.")
    )


def test_a_caller_who_was_transferred_is_transferred(call: Playbook) -> None:
    left(call) >> HandoffBegun() >> Wait(600) >> HandoffDone("reached")
    ends(call, Slug.TRANSFERRED, "front_desk")


def test_the_calls_end_may_be_told_before_it_was_transferred(call: Playbook) -> None:
    left(call) >> CallOver() >> Wait(1) >> HandoffDone("reached")
    ends(call, Slug.TRANSFERRED, "front_desk")


def test_a_caller_who_gives_up_while_it_rings_has_hung_up(call: Playbook) -> None:
    left(call) >> CallOver() >> Wait(3)
    ends(call, Slug.CALLER_HUNG_UP)


def test_a_caller_who_does_not_come_back_is_given_up(call: Playbook) -> None:
    left(call) >> HandoffDone("busy") << ... >> WELCOME << ... >> APPLIED << ...
    call >> Wait(300) << ...
    assert call.call.ending == Ending(Slug.STREAM_NEVER_CAME)


@pytest.mark.parametrize(
    ("handoff", "begun", "seconds"),
    [
        (DESK, False, 60),
        (DESK, True, DESK.timeout_s + 4 * 3600 + 60),
        (JoinConference("ann", "c1"), True, 4 * 3600 + 60),
        (SendDigits("1w2W"), True, 2 + 60),
    ],
    ids=["never asked for", "dial", "meet", "keys"],
)
def test_no_caller_is_away_for_ever(
    call: Playbook, handoff: HandoffAction, begun: bool, seconds: float
) -> None:
    call.talking() >> Requested(1, requests.Leave(handoff)) >> Wait(1) << ...
    if begun:
        call >> HandoffBegun()
    call >> Wait(seconds - 0.1)
    assert call.call.phase is Phase.AWAY
    call >> Wait(0.2) << ...
    assert call.call.ending == Ending(Slug.STREAM_NEVER_CAME)


@pytest.mark.parametrize("asked", [TRANSFER, HANG_UP])
def test_last_words_of_a_function_that_was_called_off_are_not_the_last(
    call: Playbook, asked: requests.CallRequest
) -> None:
    call.talking() >> Requested(1, asked) << ... << Phase.CLOSING
    (
        call
        >> RequestCancelled(1)
        << Reply(1, False, "it was called off")
        << Phase.TALKING
        >> RequestCancelled(1)
        >> Requested(2, asked)
        << ...
        << Phase.CLOSING
        >> RequestCancelled(1)
        << Phase.CLOSING
    )


def test_keys_are_pressed_between_two_streams(call: Playbook) -> None:
    (
        call.talking()
        >> Requested(1, requests.Leave(SendDigits("12#")))
        >> Wait(1)
        << HangUpAgent()
        << CallerLeft("digits", "")
        << LeaveStream(SendDigits("12#"))
        << Reply(1, True, "it is done")
        >> START
        << CallerBack()
        << DialAgent()
        >> WELCOME
        << SendSettings(greeting=False)
        >> APPLIED
        << AgentConnected("request-1", 0)
        << AgentTold("(The keys were pressed. Go on.)")
        << tell("(The keys were pressed. Go on.)")
    )


def test_functions_that_run_are_called_off_when_the_caller_leaves(call: Playbook) -> None:
    request = deepgram.FunctionCallRequest([deepgram.FunctionCall("1", "transfer_call", "{}")])
    (
        call.talking()
        >> request
        << ...
        >> Requested(1, requests.Leave(JoinConference("ann", "c1")))
        >> Wait(1)
    )
    (
        call
        << CancelTool("1", "cancelled")
        << FunctionDropped("1", "transfer_call", "cancelled")
        << HangUpAgent()
        << CallerLeft("transfer", "ann")
        << LeaveStream(JoinConference("ann", "c1"))
        << Reply(1, True, "it is done")
    )
    assert call.call.phase is Phase.AWAY
    assert not call.contract.owed


PROMPT = deepgram.UpdatePrompt("Be brief.")


def back_after_a_change(call: Playbook) -> None:
    call.talking() >> Requested(1, requests.Update(PROMPT)) << TellAgent(PROMPT)
    call >> deepgram.PromptUpdated() << Reply(1, True, "it is done")
    (call >> Requested(2, requests.Leave(SendDigits("1"))) >> Wait(1) << ... >> START << ...)


def test_changes_of_the_agent_outlive_a_handoff(call: Playbook) -> None:
    back_after_a_change(call)
    call >> WELCOME << SendSettings(greeting=False, changes=(PROMPT,))
    told = "(The keys were pressed. Go on.)"
    call >> APPLIED << AgentConnected("request-1", 0) << AgentTold(told) << tell(told)


def test_changes_of_a_stored_agent_are_repeated_as_its_settings_carry_none(call: Playbook) -> None:
    call.under(CallSettings(is_stored=True))
    back_after_a_change(call)
    call >> WELCOME << SendSettings(greeting=False, changes=(PROMPT,))
    call >> APPLIED << AgentConnected("request-1", 0) << TellAgent(PROMPT) << ...


def test_another_agent_takes_over_and_greets(call: Playbook) -> None:
    plan = CallSettings(phrases=Phrases(still_there="Hello?"))
    call.talking() >> Requested(1, requests.SwitchAgent("billing", plan, "I connect you."))
    call << inject("I connect you.", "queue")
    said_and_heard(call, "I connect you.")
    (
        call
        << HangUpAgent()
        << AgentSwitched("billing")
        << ChangeAgent("billing")
        << DialAgent()
        << Reply(1, True, "it is done")
        >> WELCOME
        << SendSettings(greeting=True, history=TALK[1:])
        >> APPLIED
        << AgentConnected("request-1", 0)
        << Phase.TALKING
    )


# --- said, told, changed, muted ---------------------------------------------------------------


def test_what_is_said_is_confirmed_by_its_last_sentence(call: Playbook) -> None:
    say = requests.Say("One moment. I look it up.", "queue")
    call.talking() >> Requested(1, say) << inject(say.text, "queue") >> agent("One moment.")
    call >> agent("I look it up.") << Reply(1, True, "it is being said")


def test_a_refusal_is_of_what_could_be_refused(call: Playbook) -> None:
    (call.talking() >> Requested(1, requests.Say("Later.", "queue")) << inject("Later.", "queue"))
    (call >> Requested(2, requests.Say("Now.")) << inject("Now."))
    code = "INJECT_AGENT_MESSAGE_DURING_AGENT_SPEECH"
    (
        call
        >> deepgram.Warning(code, "the agent is speaking")
        << AgentWarned(code, "the agent is speaking", fatal=False)
        << Reply(2, False, "the agent is speaking")
        >> agent("Later.")
        << Reply(1, True, "it is being said")
    )


def test_what_deepgram_never_answers_is_answered_after_ten_seconds(call: Playbook) -> None:
    change = deepgram.UpdateThink({"prompt": "Be brief."})
    call.talking() >> Requested(1, requests.Update(change)) << TellAgent(change)
    for _ in range(9):
        call >> Frame() << ... >> Wait(1)
    call >> Frame() << ... >> Wait(1) << Reply(1, False, "Deepgram has not answered within 10 s")


def test_a_listener_that_cannot_be_changed_says_so(call: Playbook) -> None:
    change = deepgram.UpdateListen({"provider": {}})
    code = "UPDATE_LISTEN_UNSUPPORTED_FIELDS_CHANGED"
    (
        call.talking()
        >> Requested(1, requests.Update(change))
        << TellAgent(change)
        >> deepgram.Warning(code, "not that field")
        << AgentWarned(code, "not that field", fatal=False)
        << Reply(1, False, "not that field")
    )


def test_a_muted_agent_is_not_heard_until_it_is_again(call: Playbook) -> None:
    (
        call.talking()
        >> agent("One two three.")
        >> speech(20)
        << Sent(160, "0:160")
        >> Requested(1, requests.Mute(True))
        << ClearCaller()
        << AgentSaid("", "One two three.", 0, interrupted=True)
        << AgentMuted(True)
        << Reply(1, True, "muted")
        >> speech(100)
        >> Requested(2, requests.Mute(False))
        << AudioDropped("caller", 100, "muted")
        << AgentMuted(False)
        << Reply(2, True, "not muted")
        >> speech(20)
        << Sent(160, "1:160")
    )


def test_nothing_can_be_asked_before_the_agent_is_there(call: Playbook) -> None:
    (
        call
        >> START
        << ...
        >> Requested(1, requests.Say("Hello."))
        << Reply(1, False, "nobody talks with the agent at the moment")
    )


def test_the_end_answers_whoever_waits(call: Playbook) -> None:
    call.talking() >> Requested(1, requests.Tell("The table is free."))
    call << AgentTold("The table is free.") << tell("The table is free.") >> STOP
    call << Reply(1, False, "the call is over")
    ends(call, Slug.CALLER_HUNG_UP)


def test_a_barge_in_into_the_last_words_does_not_cut_them(call: Playbook) -> None:
    (call.talking() >> Requested(1, HANG_UP) << inject(GOODBYE, "queue") >> agent(GOODBYE))
    (call >> speech(20) << Sent(160, "0:160") >> BARGE_IN >> AUDIO_DONE >> mark("0:160"))
    call << AgentSaid(GOODBYE, GOODBYE, 20, interrupted=False) << Reply(1, True, "the call is over")
    ends(call, Slug.AGENT_HUNG_UP)


def test_keys_pressed_again_and_again_win_a_minute_in_all(call: Playbook) -> None:
    press = requests.Leave(SendDigits("1"))
    call.under(CallSettings(max_s=100, silence_s=0)).talking()
    for number in range(100):
        call >> Requested(number, press) << ... >> Wait(1) << ... >> START << ...
        call >> WELCOME << ... >> APPLIED << ... >> Wait(1) << ... >> Frame() << ...
        if call.call.phase is not Phase.TALKING:
            break
    assert call.now == 1160
    call >> Wait(5) << ...
    assert call.call.ending == Ending(Slug.TIME_LIMIT)
