"""A caller's stream that breaks off, decided: what ends, what goes on, and who is told."""

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
    mark,
    speech,
)

from offhook.call.broken_stream import BREAKS_MAX, BREAKS_WINDOW_S
from offhook.call.call_settings import CallSettings
from offhook.call.commands import (
    AwaitCaller,
    CancelTool,
    Command,
    DialAgent,
    HangUpAgent,
    LeaveStream,
    Note,
    Reply,
    SendSettings,
    TellAgent,
)
from offhook.call.ending import Slug
from offhook.call.handoff import BROKEN_S, LEFT_S
from offhook.call.handoff_actions import SendDigits
from offhook.call.inputs import (
    CallerReturning,
    CallOver,
    LateTurn,
    LegLost,
    Requested,
    ToolBegan,
)
from offhook.call.phases import Phase
from offhook.call.phrases import Phrases
from offhook.call.requests import AskDigits, HangUp, Leave, Tell
from offhook.deepgram import messages as deepgram
from offhook.events.types import (
    CallEnded,
    CallerSaid,
    FunctionAnswered,
    FunctionDropped,
    StreamBroke,
)

LOST = LegLost("caller", "cut off")
PATIENT = CallSettings(silence_s=0)
BACK: list[Given] = [CallerReturning(), START, WELCOME, APPLIED]
PHRASES = Phrases()


def talking(*given: Given, settings: CallSettings = PATIENT) -> Playbook:
    """A call of the webhook in which that has come in."""
    call = Playbook(settings, asks_after=True).talking()
    for each in given:
        call >> each << ...
    return call


def ending(call: Playbook) -> Slug | None:
    return call.call.ending.how if call.call.ending is not None else None


def commands(call: Playbook, *given: Given) -> list[Command]:
    """Return what comes out when all that comes in."""
    came: list[Command] = []
    call.listeners.append(came.append)
    for each in given:
        call >> each << ...
    call.listeners.pop()
    return came


def injected(came: list[Command]) -> list[str]:
    told = [each.message for each in came if isinstance(each, TellAgent)]
    return [each.content for each in told if isinstance(each, deepgram.InjectUserMessage)]


def history(came: list[Command]) -> list[str]:
    (settings,) = (each for each in came if isinstance(each, SendSettings))
    assert not settings.greeting
    return [entry.content or "a function" for entry in settings.history]


def function(call_id: str, name: str = "pay") -> deepgram.FunctionCallRequest:
    return deepgram.FunctionCallRequest([deepgram.FunctionCall(call_id, name, "{}")])


def test_the_agent_is_hung_up_and_waits_for_the_question() -> None:
    call = talking()
    call >> LOST << StreamBroke("cut off") << HangUpAgent() << AwaitCaller() << Phase.AWAY
    call >> Wait(BROKEN_S - 1) >> CallerReturning() << DialAgent() >> CallerReturning()
    call.finish()


def test_nobody_asks_within_the_time() -> None:
    call = talking(Wait(3), LOST)
    at = call.now
    came = commands(call, Wait(BROKEN_S))
    (ended,) = (e.event for e in came if isinstance(e, Note) and isinstance(e.event, CallEnded))
    length_ms = round((at - 1000) * 1000)
    assert (ended.slug, ended.detail) == ("caller_leg_lost", "cut off")
    assert ended.duration_ms == length_ms


def test_whoever_was_asked_for_has_a_minute_however_often_twilio_asks() -> None:
    call = talking(LOST)
    for _ in range(int(BROKEN_S + LEFT_S) // 5):
        assert ending(call) is None
        commands(call, CallerReturning(), WELCOME, APPLIED, Wait(5))
    assert ending(call) is Slug.CALLER_LEG_LOST


def test_a_caller_who_has_hung_up_is_told_by_the_status() -> None:
    call = talking(LOST)
    ends(call >> CallOver(), Slug.CALLER_HUNG_UP)


def test_what_was_answered_is_not_pushed() -> None:
    call = talking(
        caller("Hello?"), agent("One two."), speech(400), AUDIO_DONE, mark("0:3200"), Wait(1), LOST
    )
    came = commands(call, *BACK)
    assert history(came) == ["Hello?", "One two."]
    assert injected(came) == []


def test_an_unanswered_turn_is_pushed_and_left_out_of_the_conversation() -> None:
    call = talking(agent("One."), speech(400), AUDIO_DONE, mark("0:3200"), Wait(1))
    came = commands(call, caller("Hello?"), LOST, *BACK)
    assert injected(came) == ["Hello?"]
    assert history(came) == ["One."]


def test_an_agent_that_was_cut_is_told_to_go_on() -> None:
    call = talking(agent("One two three four."), speech(800), mark("0:160"), Wait(0.5), LOST)
    assert injected(commands(call, *BACK)) == [PHRASES.go_on]


def test_a_caller_who_was_cut_off_is_asked_to_say_it_again() -> None:
    call = talking(agent("One."), speech(400), AUDIO_DONE, mark("0:3200"), Wait(1))
    assert injected(commands(call, BARGE_IN, LOST, *BACK)) == [PHRASES.ask_again]


def events(came: list[Command]) -> list[object]:
    return [each.event for each in came if isinstance(each, Note)]


def test_what_the_agent_had_heard_when_it_was_hung_up_is_recorded_and_answered() -> None:
    call = talking(agent("One."), speech(400), AUDIO_DONE, mark("0:3200"), Wait(1))
    came = commands(call, BARGE_IN, LOST, LateTurn("Hello?"))
    assert events(came)[-1] == CallerSaid("Hello?")
    came = commands(call, *BACK)
    assert injected(came) == ["Hello?"], "it is not asked to be said again"
    assert history(came) == ["One."]


def test_late_turns_are_answered_together_with_the_one_before() -> None:
    call = talking(agent("One."), speech(400), AUDIO_DONE, mark("0:3200"), Wait(1))
    came = commands(call, caller("Hello?"), LOST, CallerReturning(), LateTurn("Are"))
    came += commands(call, LateTurn("you there?"), START, WELCOME, APPLIED)
    assert injected(came) == ["Hello? Are you there?"]
    assert [each.text for each in events(came) if isinstance(each, CallerSaid)] == [
        *("Hello?", "Are", "you there?")
    ]


def test_a_late_turn_after_a_function_that_was_answered_is_gone_on_with() -> None:
    call = talking(agent("One."), speech(400), AUDIO_DONE, mark("0:3200"), Wait(1))
    commands(call, caller("Pay!"), function("1"), ToolBegan("1"), LOST, LateTurn("Now!"))
    came = commands(call, *BACK)
    assert history(came) == ["One.", "Pay!", "a function", "Now!"]
    assert injected(came) == [PHRASES.go_on]


def test_a_late_turn_beside_something_else_that_is_owed_is_in_the_conversation() -> None:
    call = talking(Requested(1, Leave(SendDigits("1"), "One moment.")), LOST)
    assert call.call.phase is Phase.AWAY
    came = commands(call, LateTurn("Wait!"), *BACK)
    assert history(came) == ["Wait!"]
    assert injected(came) == [PHRASES.keys_sent]


def test_a_late_turn_that_comes_after_the_next_stream_is_recorded() -> None:
    call = talking(agent("One."), speech(400), AUDIO_DONE, mark("0:3200"), Wait(1), LOST)
    came = commands(call, *BACK, LateTurn("Hello?"))
    assert events(came)[-1] == CallerSaid("Hello?")
    assert injected(came) == []
    came = commands(call, LOST, *BACK)
    assert injected(came) == ["Hello?"]


def test_what_the_agent_was_told_is_no_late_turn_of_the_caller() -> None:
    call = talking(agent("One."), speech(400), AUDIO_DONE, mark("0:3200"), Wait(1))
    commands(call, Requested(1, Tell("Be short.")), LOST)
    assert commands(call, LateTurn("Be short. ")) == []
    assert events(commands(call, LateTurn("Be short."))) == [CallerSaid("Be short.")]


def test_functions_are_settled_and_the_next_agent_goes_on() -> None:
    call = talking(caller("Pay!"), function("1"), function("2", "weather"), ToolBegan("1"))
    came = commands(call, LOST)
    events = [each.event for each in came if isinstance(each, Note)]
    assert [type(each) for each in events] == [StreamBroke, FunctionAnswered, FunctionDropped]
    assert CancelTool("1", "too_late") in came
    assert CancelTool("2", "cancelled") in came
    assert not any(isinstance(each, TellAgent) for each in came)
    came = commands(call, *BACK)
    assert history(came) == ["Pay!", "a function"]
    assert injected(came) == [PHRASES.go_on]


def test_a_secret_that_was_being_entered_is_given_up() -> None:
    call = talking(Requested(1, AskDigits("", 4, 30.0)))
    assert Reply(1, False, PHRASES.digits_cut_short) in commands(call, LOST)


def test_last_words_before_the_end_are_not_repeated() -> None:
    call = talking(Requested(1, HangUp("agent", farewell="Bye.")))
    assert call.call.phase is Phase.CLOSING
    commands(call, LOST)
    assert ending(call) is Slug.AGENT_HUNG_UP


def test_what_the_stream_was_to_be_left_for_follows_at_once() -> None:
    call = talking(Requested(1, Leave(SendDigits("1"), "One moment.")))
    assert LeaveStream(SendDigits("1")) in commands(call, LOST)
    assert call.call.phase is Phase.AWAY


def test_a_break_while_another_agent_is_dialled_keeps_what_it_was_to_be_told() -> None:
    call = talking(agent("One."), speech(400), AUDIO_DONE, mark("0:3200"), Wait(1))
    came = commands(call, caller("Hello?"), LegLost("agent", "", code=1011), Wait(1), LOST, *BACK)
    assert injected(came) == ["Hello?"]


def test_a_second_break_before_the_agent_is_told_loses_nothing() -> None:
    call = talking(agent("One."), speech(400), AUDIO_DONE, mark("0:3200"), Wait(1))
    came = commands(call, caller("Hello?"), LOST, CallerReturning(), START, LOST, *BACK)
    assert injected(came) == ["Hello?"]


def test_one_more_break_within_a_minute_ends_the_call() -> None:
    call = talking()
    for _ in range(BREAKS_MAX + 2):
        commands(call, LOST, *BACK, Wait(BREAKS_WINDOW_S / BREAKS_MAX))
    assert ending(call) is None
    commands(call, LOST, *BACK, LOST, *BACK, LOST)
    assert ending(call) is Slug.CALLER_LEG_LOST


def test_where_twilio_asks_nothing_the_call_ends() -> None:
    ends(Playbook(PATIENT).talking() >> LOST, Slug.CALLER_LEG_LOST, "cut off")
