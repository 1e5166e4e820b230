"""Keys: entries, actions that need no agent, and digits that nobody but a function is to know."""

from collections.abc import Mapping

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
    Playbook,
    Sent,
    Wait,
    agent,
    caller,
    inject,
    key,
    mark,
    speech,
)

from offhook.audio import FRAME_BYTES, SILENCE
from offhook.call import keypad, requests
from offhook.call.call_settings import CallSettings
from offhook.call.commands import (
    CancelTool,
    ChangeAgent,
    DialAgent,
    End,
    HangUpAgent,
    LeaveStream,
    MaskCaller,
    Reply,
    RunTool,
    SendAudio,
    SendSettings,
    TellAgent,
    TransferCaller,
)
from offhook.call.ending import Ending, Slug
from offhook.call.handoff_actions import Dial
from offhook.call.inputs import (
    CallAnnounced,
    HandoffDone,
    RequestCancelled,
    Requested,
    ToolFinished,
)
from offhook.call.keypad import ENTRY_MAX, TONES_S, Keypad
from offhook.call.phases import Phase
from offhook.deepgram import messages as deepgram
from offhook.events.types import (
    AgentConnected,
    AgentSaid,
    AgentSwitched,
    AgentTold,
    AgentWarned,
    CallEnded,
    CallerBack,
    CallerLeft,
    CallerSaid,
    CallStarted,
    FunctionAnswered,
    FunctionCalled,
    FunctionDropped,
    KeyPressed,
    KeysEntered,
    SecretEntered,
    TransferFailed,
)

ACTIONS: Mapping[str, keypad.Action] = {
    "0": keypad.TransferByKey("desk"),
    "9": keypad.HangUpByKey("Goodbye."),
    "8": keypad.SayByKey("We are open."),
    "*": keypad.HangUpByKey(),
}
MAPPED = CallSettings(actions=ACTIONS)
DESK = Dial("desk", "+12025550123")
ASK = Requested(1, requests.AskDigits("Your card number.", 4, 30.0))
SILENT = Forwarded(SILENCE * FRAME_BYTES)


def told(entry: str) -> TellAgent:
    content = f"(The caller pressed {entry} on the keypad.)"
    return TellAgent(deepgram.InjectUserMessage(content=content))


def typed(call: Playbook, keys: str) -> Playbook:
    for each in keys:
        call >> key(each) << KeyPressed(each)
    return call


def ended(call: Playbook, how: Slug) -> Playbook:
    elapsed = round((call.now - 1000) * 1000)
    return call << CallEnded(how.fault, how.slug, how.words, "", elapsed) << End(Ending(how))


# --- entries ----------------------------------------------------------------------------------


def test_keys_are_one_entry_until_none_follows_in_time(call: Playbook) -> None:
    typed(call.talking(), "12") >> Wait(1.9) >> Frame() << Forwarded()
    typed(call, "3") >> Wait(1.9)
    call >> Wait(0.1) << KeysEntered("123") << told("123")


def test_a_hash_ends_an_entry_and_is_none_alone(call: Playbook) -> None:
    (typed(call.talking(), "#1*2#") << KeysEntered("1*2") << told("1*2"))
    typed(call, "#") >> Wait(2.5)


def test_an_entry_has_an_end() -> None:
    pad = Keypad(2.0, {})
    done = [each for now in range(70) for each in pad.press("7", now)]
    assert done == ["7" * ENTRY_MAX] * 2
    assert pad.finish() == ["7" * 6]
    assert pad.press("x" * 99, 0) == []
    assert pad.due is None


def test_the_time_between_keys_is_the_agent_files(call: Playbook) -> None:
    call.under(CallSettings(key_s=0.5))
    (typed(call.talking(), "1") >> Wait(0.5) << KeysEntered("1") << told("1"))


def test_the_agents_answer_and_its_echo_are_not_the_callers_words(call: Playbook) -> None:
    typed(call.talking(), "42#") << KeysEntered("42") << told("42")
    call >> caller("(The caller pressed 42 on the keypad.)") >> agent("Forty-two?")


@pytest.mark.parametrize("flux", [True, False])
def test_a_turn_that_is_open_ends_before_the_keys_with_flux(call: Playbook, flux: bool) -> None:
    call.under(CallSettings(forces_turns=flux))
    (call.talking() >> BARGE_IN)
    typed(call, "42#") << KeysEntered("42")
    if flux:
        call << TellAgent(deepgram.ForceEndTurn())
    (call << told("42") >> caller("My number is") << CallerSaid("My number is"))
    typed(call, "7#") << KeysEntered("7") << told("7")


def test_an_entry_before_the_agent_is_there_waits_for_it(call: Playbook) -> None:
    (call >> START << CallStarted() << DialAgent() >> key("1") << KeyPressed("1") >> Wait(2))
    (call >> WELCOME << SendSettings() >> APPLIED << AgentConnected("request-1", 2000))
    call << KeysEntered("1") << told("1")


def test_an_entry_goes_with_a_caller_who_leaves(call: Playbook) -> None:
    call.talking() >> Requested(1, requests.Leave(DESK))
    typed(call, "12#3") >> Wait(1)
    call << HangUpAgent() << CallerLeft("transfer", "desk") << LeaveStream(DESK)
    call << Reply(1, True, "it is done") >> HandoffDone("busy") << TransferFailed("desk", "busy")
    (call << DialAgent() >> START << CallerBack() >> WELCOME << ... >> APPLIED)
    why = (
        "(The transfer to desk did not work: the line is busy. Tell the caller, and go on helping.)"
    )
    call << AgentConnected("request-1", 0) << AgentTold(why)
    call << TellAgent(deepgram.InjectUserMessage(content=why)) >> Wait(2.5)


def test_an_entry_that_is_refused_is_told_again_when_the_agent_has_spoken(call: Playbook) -> None:
    (call.talking() >> agent("One two.") >> speech(20) << Sent(160, "0:160"))
    typed(call, "42#") << KeysEntered("42") << told("42")
    code = "INJECT_AGENT_MESSAGE_DURING_AGENT_SPEECH"
    (call >> deepgram.Warning(code, "") << AgentWarned(code, "", fatal=False))
    (call >> AUDIO_DONE << told("42") >> mark("0:160"))
    call << AgentSaid("One two.", "One two.", 20, interrupted=False) >> AUDIO_DONE


# --- actions ----------------------------------------------------------------------------------


def test_an_action_is_of_an_entry_of_that_key_alone(call: Playbook) -> None:
    call.under(MAPPED)
    typed(call.talking(), "0") >> Wait(2) << TransferCaller("desk")
    typed(call, "0#") << TransferCaller("desk")
    typed(call, "017#") << KeysEntered("017") << told("017")


def test_a_star_with_an_action_is_no_part_of_an_entry(call: Playbook) -> None:
    call.under(MAPPED)
    typed(call.talking(), "12*") << KeysEntered("12") << told("12") << Phase.CLOSING
    (call >> Wait(1))
    ended(call, Slug.AGENT_HUNG_UP)


def test_a_key_hangs_up_when_its_words_were_heard(call: Playbook) -> None:
    call.under(MAPPED)
    (typed(call.talking(), "9#") << inject("Goodbye.", "queue") >> agent("Goodbye.") >> speech(20))
    (call << Sent(160, "0:160") >> AUDIO_DONE >> mark("0:160"))
    call << AgentSaid("Goodbye.", "Goodbye.", 20, interrupted=False)
    ended(call, Slug.AGENT_HUNG_UP)


def test_a_key_has_the_agent_say_something_as_soon_as_it_can(call: Playbook) -> None:
    call.under(MAPPED)
    (call >> CallAnnounced() << ... >> START << CallStarted())
    typed(call, "8#") >> WELCOME << ...
    (call >> APPLIED << AgentConnected("request-1", 0) << inject("We are open.", "queue"))


def test_a_caller_can_leave_an_agent_that_never_comes(call: Playbook) -> None:
    call.under(MAPPED)
    (call >> START << CallStarted() << DialAgent() >> Frame())
    (
        typed(call, "0#")
        << TransferCaller("desk")
        >> Requested(1, requests.Leave(DESK, "One moment."))
    )
    call << HangUpAgent() << CallerLeft("transfer", "desk") << LeaveStream(DESK)
    call << Reply(1, True, "it is done") << Phase.AWAY
    (call >> Wait(20) >> HandoffDone("no-answer") << TransferFailed("desk", "no-answer"))
    (call << DialAgent() >> START << CallerBack() >> WELCOME << SendSettings(greeting=False))
    why = (
        "(The transfer to desk did not work: nobody answered. Tell the caller, and go on helping.)"
    )
    (call >> APPLIED << AgentConnected("request-1", 0) << AgentTold(why))
    call << TellAgent(deepgram.InjectUserMessage(content=why)) << Phase.TALKING


def test_another_agent_takes_over_from_one_that_never_comes(call: Playbook) -> None:
    (call >> START << CallStarted() << DialAgent() >> WELCOME << SendSettings() >> Frame())
    (call >> Requested(1, requests.SwitchAgent("billing", CallSettings(), "One moment.")))
    call << HangUpAgent() << AgentSwitched("billing") << ChangeAgent("billing") << DialAgent()
    (call << Reply(1, True, "it is done") << Phase.SETTLING >> Wait(9) >> WELCOME << SendSettings())
    (call >> APPLIED << AgentConnected("request-1", 9000) << SendAudio(Frame().audio))


def test_a_key_hangs_up_at_once_while_there_is_no_agent(call: Playbook) -> None:
    call.under(MAPPED)
    call >> START << ...
    typed(call, "9#")
    ended(call, Slug.AGENT_HUNG_UP)


def test_keys_do_nothing_to_a_call_that_is_being_ended(call: Playbook) -> None:
    call.under(MAPPED)
    (call.talking() >> Requested(1, requests.HangUp("agent", "Bye.")) << inject("Bye.", "queue"))
    typed(call, "0#9#1#") << Phase.CLOSING
    call >> Wait(5) << ...
    assert call.call.ending == Ending(Slug.AGENT_HUNG_UP)


# --- digits that nobody else is to know --------------------------------------------------------


def asked(call: Playbook) -> Playbook:
    return call.talking() >> ASK << MaskCaller(True) << inject("Your card number.", "queue")


def test_secret_digits_are_told_to_who_asked_and_to_nobody_else(call: Playbook) -> None:
    (asked(call) >> Frame() << SILENT >> key("4") >> Frame() << SILENT >> key("2") >> key("#"))
    call << SecretEntered(2, True) << Reply(1, True, "42")
    # The last tone may still be heard.
    (call >> Wait(TONES_S - 0.1) >> Frame() << SILENT >> key("7") >> Wait(0.1) << MaskCaller(False))
    (call >> Frame() << Forwarded() >> key("#") << KeyPressed("#"))


def test_the_last_of_them_need_no_hash(call: Playbook) -> None:
    asked(call) >> key("4") >> key("2") >> key("*") >> key("7")
    (call << SecretEntered(4, True) << Reply(1, True, "42*7") >> key("#") >> Wait(1))
    call << MaskCaller(False)


def test_each_key_is_waited_for_and_the_prompt_takes_none_of_the_time(call: Playbook) -> None:
    (asked(call) >> agent("Your card number.") >> speech(3000) << ...)
    call >> key("1")
    for _ in range(32):
        call >> Wait(1) >> Frame() << SILENT
    call >> key("2")
    for _ in range(29):
        call >> Wait(1) >> Frame() << SILENT
    call >> Wait(1) << SecretEntered(2, False)
    call << Reply(1, False, "the caller did not enter it in time")
    (call >> Wait(1) << MaskCaller(False))


def test_the_function_that_waits_for_them_is_not_too_slow(call: Playbook) -> None:
    request = deepgram.FunctionCallRequest([deepgram.FunctionCall("1", "pay", "{}")])
    call.talking() >> request << FunctionCalled("1", "pay", "{}") << RunTool("1", "pay", "{}")
    (
        call
        >> Wait(2)
        >> Frame()
        << Forwarded()
        >> ASK
        << MaskCaller(True)
        << inject("Your card number.", "queue")
    )
    for _ in range(20):
        call >> Wait(1) >> Frame() << SILENT
    call >> key("4") >> key("#") << SecretEntered(1, True) << Reply(1, True, "4")
    (
        call
        >> Wait(1)
        << MaskCaller(False)
        << inject("One moment, please.", "queue")
        >> Frame()
        << ...
    )
    for _ in range(6):
        call >> Wait(1) >> Frame() << Forwarded()
    (call >> Wait(1) << CancelTool("1", "too_late") << ...)
    assert not call.contract.owed


def test_its_answer_is_timed_from_its_call(call: Playbook) -> None:
    request = deepgram.FunctionCallRequest([deepgram.FunctionCall("1", "pay", "{}")])
    (call.talking() >> request << ... >> ASK << ... >> Wait(2) >> key("4") >> key("#") << ...)
    (call >> ToolFinished("1", "paid", "answered"))
    call << TellAgent(deepgram.FunctionCallResponse(id="1", name="pay", content="paid"))
    call << FunctionAnswered("1", "pay", "answered", "paid", 2000)


def test_only_one_asks_at_a_time(call: Playbook) -> None:
    asked(call) >> Requested(2, requests.AskDigits("", 4, 30.0))
    (call << Reply(2, False, "digits are being asked for already") >> key("#"))
    call << SecretEntered(0, True) << Reply(1, True, "")
    (call >> Requested(3, requests.AskDigits("", 4, 30.0)) >> Wait(2) >> key("1") >> key("#"))
    call << SecretEntered(1, True) << Reply(3, True, "1")


def test_what_was_being_entered_may_be_their_beginning(call: Playbook) -> None:
    (typed(call.talking(), "41") >> ASK << ... >> Wait(2.5) >> key("#"))
    call << SecretEntered(0, True) << Reply(1, True, "")


def test_a_caller_who_enters_them_is_there(call: Playbook) -> None:
    call.under(CallSettings(silence_s=10))
    asked(call)
    for _ in range(20):
        call >> Wait(1) >> Frame() << SILENT
    (call >> key("#") << ...)
    (call >> Wait(1) << MaskCaller(False) >> Frame() << Forwarded())
    for _ in range(3):
        call >> Wait(1) >> Frame() << Forwarded()
    (call >> Wait(1) << inject(CallSettings().phrases.still_there))


def test_a_prompt_that_is_refused_is_no_prompt(call: Playbook) -> None:
    code = "INJECT_AGENT_MESSAGE_DURING_USER_SPEECH"
    asked(call) >> deepgram.Warning(code, "") << AgentWarned(code, "", fatal=False)
    call << SecretEntered(0, False) << Reply(1, False, "the caller is speaking; listen first")


def test_nobody_who_waits_is_forgotten(call: Playbook) -> None:
    asked(call) >> key("4") >> RequestCancelled(7) >> RequestCancelled(1) << SecretEntered(1, False)
    call << Reply(1, False, "nobody waits for it")


def test_the_end_of_the_call_ends_the_asking(call: Playbook) -> None:
    (asked(call) >> key("4") >> STOP)
    call << SecretEntered(1, False) << Reply(1, False, "the call is over")
    ended(call, Slug.CALLER_HUNG_UP)


def test_so_does_its_leaving(call: Playbook) -> None:
    (asked(call) >> key("4") >> Requested(2, requests.Leave(DESK, "")))
    call << SecretEntered(1, False)
    call << Reply(1, False, "the call is being ended, or its caller transferred")
    (call >> key("4") >> Wait(1) << ...)
    assert call.call.phase is Phase.AWAY
    assert not call.contract.is_masked


def test_digits_are_not_asked_for_where_nobody_can_be_asked(call: Playbook) -> None:
    call >> START << ... >> ASK << Reply(1, False, "nobody talks with the agent at the moment")


def test_a_function_that_is_called_off_meanwhile_is_not_answered(call: Playbook) -> None:
    request = deepgram.FunctionCallRequest([deepgram.FunctionCall("1", "pay", "{}")])
    (call.talking() >> request << ... >> ASK << ...)
    call >> deepgram.FunctionCallCancelled([deepgram.CancelledFunction("1")])
    call << CancelTool("1", "cancelled") << FunctionDropped("1", "pay", "cancelled")
    (
        call
        >> RequestCancelled(1)
        << SecretEntered(0, False)
        << Reply(1, False, "nobody waits for it")
    )
