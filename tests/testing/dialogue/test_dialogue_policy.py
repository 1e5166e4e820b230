"""The stand-in with a dialogue for a policy, over the protocol, in memory."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.testing.dialogue.line import BOOK, ORDER, Line, SlowVoice, settings
from tests.testing.front_desk import DESK

from offhook import audio, yamlfile
from offhook.deepgram import messages
from offhook.testing.simulator.deepgram.functions import SLOW_S
from offhook.testing.simulator.deepgram.script import Conduct
from offhook.testing.simulator.dialogue.dialogue_policy import conversing
from offhook.testing.simulator.dialogue.file import Dialogue
from offhook.testing.simulator.speech import clips
from offhook.testing.virtual_clock import VirtualClock

GREETING = "Hello! How can I help you today?"
ORDERS = "is order four two one seven ready"
FLUX = {"provider": {"type": "deepgram", "version": "v2", "model": "flux-general-en"}}


def desk(dialogue: Dialogue = DESK, *, conduct: Conduct | None = None, **options: Any) -> Line:
    return Line(partial(conversing, dialogue, conduct=conduct), **options)


def answers(call: messages.FunctionCall) -> str:
    return '{"booked": true, "table": 4}' if call.name == "book_table" else '{"status": "ready"}'


def booking(line: Line) -> None:
    """As far as the question whether all is right."""
    assert "Is that right?" in line.say("a table for two on friday at seven")
    line.log.clear()


# --- Turns ---------------------------------------------------------------------------------------


def test_a_booking_over_the_protocol() -> None:
    line = desk().settle(settings(BOOK, ORDER, greeting=GREETING, history=True))
    line.answers = answers
    line.wait()
    assert line.said() == [GREETING]
    booking(line)
    assert line.say("yes")[0] == "Your table is booked."
    (call,) = line.standin.calls
    assert (call.name, call.arguments, call.response) == (
        "book_table",
        '{"day":"friday","time":"19:00","people":2}',
        '{"booked": true, "table": 4}',
    )
    assert line.kinds() == [
        "UserStartedSpeaking", "user", "History", "FunctionCallRequest", "History",
        "assistant", "History", "audio", "assistant", "History", "audio", "assistant", "History",
        "audio", "AgentAudioDone", "LatencyReport",
    ]  # fmt: skip
    assert line.said("user") == ["a table for two on friday at seven", "yes"]
    assert [line.meant for line in line.standin.lines if line.role == "user"] == [
        "book people=2 day=friday time=19:00",
        "yes",
    ]


def test_nothing_recognised_is_reported_as_nothing_and_asked_about() -> None:
    line = desk().settle()
    assert line.say("", understood=False) == ["Sorry, I did not catch that."]
    assert line.said("user") == []
    assert "user" not in line.kinds()


def test_what_is_not_trusted_is_reported_and_asked_about() -> None:
    line = desk().settle()
    assert line.say("a table for", understood=False) == ["Sorry, I did not catch that."]
    assert line.said("user") == ["a table for"]


def test_music_is_answered_a_few_times_and_then_no_more() -> None:
    line = desk().settle()
    said = [len(line.say("", understood=False)) > 0 for _ in range(6)]
    assert said == [True, True, True, False, False, False]
    assert "until six in the evening" in line.say("when are you open")[0]


def test_a_turn_with_a_pause_in_it_is_one_turn() -> None:
    line = desk(conduct=Conduct(reply_ms=500)).settle()
    line.speak("a table for two", then=0.9)
    line.speak("on friday at seven", then=1.5)
    line.wait()
    assert line.said("user") == ["a table for two on friday at seven"]
    assert "for two, Friday at seven" in line.said()[1]
    assert line.kinds()[2:5] == ["UserStartedSpeaking", "UserStartedSpeaking", "user"]


def test_noise_beside_words_is_not_held_against_them() -> None:
    line = desk(conduct=Conduct(reply_ms=500)).settle()
    line.speak("uh the", understood=False, then=0.9)
    line.speak("when are you open", then=1.5)
    assert line.said("user") == ["when are you open"]


def test_a_recogniser_that_takes_long_is_waited_for() -> None:
    line = desk(recognised_s=2.0).settle()
    line.speak("when are you open", then=2.0)
    assert line.said() == []
    line.clock.run(1.0)
    assert line.said("user") == ["when are you open"]
    (report,) = line.of(messages.LatencyReport) or [None]
    line.wait()
    (report,) = line.of(messages.LatencyReport)
    assert report.stt_latency == pytest.approx(2.0, abs=0.01)
    assert report.total_latency == pytest.approx(2.0, abs=0.05)
    assert report.ttt_token_latency is None


def test_a_recogniser_that_never_answers_is_not_waited_for_for_ever() -> None:
    line = desk(recognised_s=-1).settle()
    line.speak("when are you open", then=12)
    assert line.said() == ["Sorry, I did not catch that."]


def test_the_ears_get_each_turn_with_its_beginning_and_are_closed() -> None:
    line = desk().settle()
    line.say("when are you open")
    (heard,) = line.speech_to_text.audio
    speech = clips.load("caller-opening-hours")
    start = heard.find(speech[2000:2800])
    assert 2000 <= start <= 2000 + 400 * audio.BYTES_PER_MS
    line.socket.close()
    line.clock.run(1)
    assert line.speech_to_text.closed


def test_a_cough_is_not_heard() -> None:
    line = desk().settle()
    line.speech = clips.load("caller-opening-hours")[800:1600]
    line.clock.run(3)
    assert "UserStartedSpeaking" not in line.kinds()
    assert line.said() == []


# --- Barge-in ------------------------------------------------------------------------------------


def test_a_barge_in_is_answered_sensibly() -> None:
    line = desk().settle()
    line.speak("when are you open", then=3)
    assert len(line.said()) == 1
    assert line.say("sorry one more thing") == ["Of course, what else?"]
    assert line.say("are you open on sunday") == ["We are closed on Sundays."]


def test_a_caller_over_the_greeting_is_yielded_to() -> None:
    line = desk()
    line.clock.run(0.1)
    line.send(settings(BOOK, ORDER, greeting=GREETING))
    line.clock.run(0.1)
    line.frame()
    line.clock.run(0.3)
    assert line.say("are you open on sunday") == ["We are closed on Sundays."]
    assert line.said()[0] == GREETING


def test_the_voice_is_stopped_on_barge_in_and_sent_as_it_is_made() -> None:
    def slow(clock: VirtualClock) -> SlowVoice:
        return SlowVoice(clock, pieces=100)

    line = desk(voice=slow).settle()
    voice = line.voice
    assert isinstance(voice, SlowVoice)
    line.speak("when are you open", then=1.2)
    assert line.of(bytes), "audio goes out before the sentence is made"
    assert voice.made < 100
    line.speak("stop", then=0.2)
    made = voice.made
    assert len(voice.cancelled) == 1
    line.clock.run(0.3)
    assert voice.made == made
    assert line.kinds()[-2:] == ["AgentAudioDone", "LatencyReport"]


def test_a_voice_slower_than_speech_leaves_gaps_and_loses_nothing() -> None:
    def slow(clock: VirtualClock) -> SlowVoice:
        return SlowVoice(clock, pieces=20, piece_ms=5)

    line = desk(voice=slow).settle()
    line.speak("are you open on sunday", then=5)
    assert len(b"".join(line.of(bytes))) == 20 * 5 * audio.BYTES_PER_MS
    assert line.kinds().count("AgentAudioDone") == 1
    report = line.standin.lines
    assert [entry.role for entry in report] == ["user", "assistant"]


def test_a_voice_that_says_nothing_is_done_all_the_same() -> None:
    line = desk(voice=lambda clock: SlowVoice(clock, pieces=0)).settle()
    line.speak("when are you open", then=3)
    assert line.kinds()[-5:] == ["assistant", "assistant", "assistant", "AgentAudioDone",
        "LatencyReport"]  # fmt: skip


# --- Functions -----------------------------------------------------------------------------------


def test_a_speculative_call_goes_out_before_the_turn_is_certain() -> None:
    line = desk(conduct=Conduct(reply_ms=500)).settle()
    line.speak(ORDERS, then=0.9)
    assert line.kinds()[-1] == "FunctionCallRequest"
    assert line.said("user") == []
    line.clock.run(0.5)
    assert line.said("user") == [ORDERS]


def test_a_speculative_call_is_cancelled_when_the_caller_goes_on() -> None:
    line = desk(conduct=Conduct(reply_ms=500)).settle()
    line.speak(ORDERS, then=0.9)
    (request,) = line.of(messages.FunctionCallRequest)
    line.kinds()
    line.speak("no for two people", then=0.2)
    assert line.kinds() == ["UserStartedSpeaking", "FunctionCallCancelled"]
    line.send(messages.FunctionCallResponse("order_status", "{}", request.functions[0].id))
    line.clock.run(3)
    assert next(call.cancelled for call in line.standin.calls) is True
    assert line.said("user") == [f"{ORDERS} no for two people"]


def test_a_speculative_answer_waits_until_the_turn_is_certain() -> None:
    line = desk(conduct=Conduct(reply_ms=500)).settle(settings(BOOK, ORDER, history=True))
    line.answers = answers
    line.speak(ORDERS, then=0.9)
    assert line.kinds()[-1] == "FunctionCallRequest"
    line.clock.run(5)
    kinds = line.kinds()
    assert kinds[:4] == ["user", "History", "assistant", "History"]
    assert "Yes, your order is ready." in line.said()


def test_a_deferred_function_waits_whatever_the_dialogue_wants() -> None:
    deferred = {**ORDER, "defer_until_eot": True}
    line = desk(conduct=Conduct(reply_ms=500)).settle(settings(BOOK, deferred))
    line.speak(ORDERS, then=0.9)
    assert line.kinds()[-1] == "UserStartedSpeaking"
    line.speak("please", then=0.0)
    line.clock.run(2)
    kinds = line.kinds()
    assert "FunctionCallCancelled" not in kinds, "nobody was told of it"
    assert kinds.count("FunctionCallRequest") == 1


TWO = Dialogue(
    yamlfile.parse(
        """
intents: {ask: [how is it]}
functions:
  weather: {speculative: true, example: {sky: grey}}
  traffic: {example: {jams: 2}}
anywhere:
  ask: {call: [weather, traffic], then: "{sky} and {jams} jams."}
""",
        Path("two.yaml"),
    )
)


def test_functions_of_one_turn_may_be_asked_for_apart() -> None:
    line = desk(TWO, conduct=Conduct(reply_ms=500))
    line.settle(settings({"name": "weather"}, {"name": "traffic"}))
    line.speak("how is it", then=0.9)
    (first,) = line.of(messages.FunctionCallRequest)
    assert [call.name for call in first.functions] == ["weather"]
    line.clock.run(1)
    _, second = line.of(messages.FunctionCallRequest)
    assert [call.name for call in second.functions] == ["traffic"]
    line.send(messages.FunctionCallResponse("traffic", '{"jams": 3}', second.functions[0].id))
    line.clock.run(1)
    assert line.said() == []
    line.send(messages.FunctionCallResponse("weather", '{"sky": "Clear"}', first.functions[0].id))
    line.clock.run(1)
    assert line.said() == ["Clear and three jams."]


def test_a_function_with_an_endpoint_is_answered_by_its_example() -> None:
    endpoint = {"url": "https://h.example/", "method": "post", "headers": {}}
    line = desk().settle(settings(BOOK, {**ORDER, "endpoint": endpoint}))
    assert "Yes, your order is ready." in line.say(ORDERS)
    (response,) = line.of(messages.FunctionCallResponse)
    assert response.content == '{"status":"ready"}'
    assert [call.client_side for call in line.standin.calls] == [False]


def test_an_unanswered_function_has_a_filler_and_is_given_up() -> None:
    line = desk(conduct=Conduct(function_ms=10_000)).settle()
    booking(line)
    line.speak("yes", then=1.5)
    line.clock.run(SLOW_S)
    assert line.said()[-1] == "One moment, please."
    line.clock.run(8)
    assert line.said()[-1] == "I am sorry, that did not work just now."
    (warning,) = line.of(messages.Warning)
    assert warning.code == "FUNCTION_CALL_FAILED"
    kinds = line.kinds()
    assert kinds.count("AgentAudioDone") == 2
    assert kinds.count("LatencyReport") == 1
    (call,) = line.standin.calls
    line.send(messages.FunctionCallResponse(call.name, "{}", call.id))
    line.clock.run(3)
    assert line.kinds() == []


@pytest.mark.parametrize("content", ["", "not JSON", "[]", '{"error": "boom"}', "{" * 5000])
def test_an_answer_that_is_none_is_apologised_for(content: str) -> None:
    line = desk().settle()
    line.answers = lambda call: content
    booking(line)
    assert line.say("yes") == ["I am sorry, that did not work just now."]


def test_a_caller_who_speaks_up_calls_the_booking_off_and_corrects_it() -> None:
    line = desk().settle()
    booking(line)
    line.speak("yes", then=1.2)
    assert [call.name for call in line.standin.calls] == ["book_table"]
    line.answers = answers
    assert "A table for three, Friday at seven in the evening." in line.say("no for three people")
    assert line.kinds().count("FunctionCallCancelled") == 1
    assert line.say("yes")[0] == "Your table is booked."
    assert [call.cancelled for call in line.standin.calls] == [True, False]


def test_a_function_that_is_not_offered_is_said_so() -> None:
    line = desk().settle(settings(ORDER))
    booking(line)
    assert " ".join(line.say("yes")).endswith("I was given no function book table.")
    assert list(line.standin.calls) == []


# --- Settings, and their changes -----------------------------------------------------------------


def test_functions_are_replaced_by_update_think() -> None:
    line = desk().settle(settings())
    line.answers = answers
    booking(line)
    assert "no function" in line.say("yes")[-1]
    think = {"provider": {"type": "open_ai", "model": "m"}, "functions": [BOOK]}
    line.send(messages.UpdateThink(think))
    booking(line)
    assert line.say("yes")[0] == "Your table is booked."
    line.send(messages.UpdateThink({"provider": {"type": "open_ai"}}))
    booking(line)
    assert "no function" in line.say("yes")[-1]


def test_the_prompt_is_kept_and_added_to() -> None:
    line = desk().settle()
    line.send(messages.UpdatePrompt("Be brief."))
    line.clock.run(0.1)
    assert line.standin.settings is not None
    assert line.standin.settings.prompt == "You are a restaurant.\n\nBe brief."
    assert "PromptUpdated" in line.kinds()


def test_another_voice_counts_from_the_next_turn_on() -> None:
    line = desk().settle()
    line.send(messages.UpdateSpeak({"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}}))
    assert line.say("are you open on sunday")
    slow = {"type": "deepgram", "model": "aura-2-thalia-en", "speed": 9}
    line.send(messages.UpdateSpeak({"provider": slow}))
    line.say("are you open on sunday")
    assert line.of(messages.Error)[0].code == "FAILED_TO_SPEAK"


@pytest.mark.parametrize(
    "message",
    [
        messages.UpdateThink({"provider": 3}),
        messages.UpdateThink([]),
        messages.UpdateSpeak({"nothing": 1}),
        messages.UpdateThink({"provider": {"type": "x"}, "functions": [{"nameless": 1}]}),
    ],
)
def test_an_update_that_is_none_ends_the_session_or_changes_nothing(
    message: messages.ClientMessage,
) -> None:
    line = desk().settle()
    line.send(message)
    line.clock.run(0.2)
    errors = [error.code for error in line.of(messages.Error)]
    if message == messages.UpdateThink([]):
        assert errors == []
    else:
        assert errors == ["UNPARSABLE_CLIENT_MESSAGE"]


def test_a_forced_end_of_turn_is_answered_at_once() -> None:
    line = desk().settle(settings(BOOK, ORDER, listen=FLUX))
    line.speech = clips.load("caller-opening-hours")[:8000]
    line.clock.run(1)
    line.send(messages.ForceEndTurn())
    line.clock.run(0.2)
    assert line.said() == ["Sorry, I did not catch that."]


def test_a_listener_that_waits_to_be_told_ends_no_turn_by_itself() -> None:
    patient = {**FLUX["provider"], "eot_threshold": 1.0, "eot_timeout_ms": 3000}
    line = desk().settle(settings(BOOK, ORDER, listen={"provider": patient}))
    line.speak("are you open on sunday", then=2)
    assert line.said() == []
    line.send(messages.ForceEndTurn())
    line.clock.run(0.2)
    assert line.said() == ["We are closed on Sundays."]
    line.wait()
    line.speak("are you open on sunday", then=4)
    assert len(line.said()) == 2, "it does not wait for ever"
    line.wait()
    line.send(messages.UpdateListen({"provider": {"eot_threshold": 0.7}}))
    line.speak("are you open on sunday", then=1)
    assert len(line.said()) == 3


def test_a_message_of_the_user_is_understood_too() -> None:
    line = desk().settle()
    line.send(messages.InjectUserMessage("A table for 2 on Friday at 7 p.m."))
    line.wait()
    assert line.said()[-1] == "Is that right?"
    assert line.said("user") == ["A table for 2 on Friday at 7 p.m."]


CONTEXT = [
    {"type": "History", "role": "assistant", "content": GREETING},
    {"type": "History", "role": "user", "content": "a table for two on friday"},
    {"type": "History", "role": "assistant", "content": "At what time?"},
]


def test_a_resumed_session_goes_on_where_it_was_without_a_greeting() -> None:
    line = desk().settle(settings(BOOK, ORDER, context={"messages": CONTEXT}, history=True))
    line.clock.run(5)
    assert line.said() == []
    assert len(line.of(messages.History)) == 3
    assert "for two, Friday at seven" in " ".join(line.say("at seven"))


def test_a_resumed_session_knows_what_was_done() -> None:
    call = {"id": "a", "name": "book_table", "client_side": True, "arguments": "{}",
        "response": '{"booked": true}'}  # fmt: skip
    context = [
        *CONTEXT,
        {"type": "History", "role": "user", "content": "at seven"},
        {"type": "History", "role": "user", "content": "yes"},
        {"type": "History", "function_calls": [call]},
    ]
    line = desk().settle(settings(BOOK, ORDER, context={"messages": context}))
    assert line.say("book a table") == ["Of course.", "For which day?"]
    unfinished = desk().settle(settings(BOOK, ORDER, context={"messages": context[:-1]}))
    unfinished.answers = answers
    assert unfinished.say("yes")[0] == "Your table is booked."


# --- Injections ----------------------------------------------------------------------------------


def test_an_injection_can_be_repeated_and_interrupts() -> None:
    line = desk().settle()
    line.speak("when are you open", then=2)
    line.send(messages.InjectAgentMessage("We close in five minutes.", "interrupt"))
    line.wait()
    assert line.said()[-1] == "We close in five minutes."
    assert line.say("can you repeat that") == ["We close in five minutes."]


def test_an_injection_in_place_of_an_answer_calls_its_functions_off() -> None:
    line = desk().settle()
    booking(line)
    line.speak("yes", then=1.2)
    line.send(messages.InjectAgentMessage("Please hold.", "default"))
    line.clock.run(0.1)
    assert "InjectionRefused" in line.kinds()
    line.send(messages.InjectAgentMessage("Please hold.", "interrupt"))
    line.clock.run(0.1)
    assert "FunctionCallCancelled" in line.kinds()
    line.answers = answers
    line.wait()
    assert line.say("yes")[0] == "Your table is booked."


# --- Silence -------------------------------------------------------------------------------------


def test_a_silent_caller_is_asked_once_after_the_agent_has_spoken() -> None:
    line = desk().settle(settings(BOOK, ORDER, greeting=GREETING))
    line.clock.run(10)
    assert line.said() == [GREETING]
    line.clock.run(10)
    assert line.said()[1] == "I am still here."
    line.clock.run(120)
    assert len(line.said()) == 3
    assert "LatencyReport" not in line.kinds()
    line.say("are you open on sunday")
    line.clock.run(20)
    assert line.said()[-2] == "I am still here."


def test_without_a_greeting_the_agent_waits_for_the_caller() -> None:
    line = desk().settle()
    line.clock.run(120)
    assert line.said() == []


def test_a_cough_does_not_stop_the_agent() -> None:
    line = desk().settle()
    line.speak("when are you open", then=2)
    line.speech = clips.load("caller-opening-hours")[800:1600]
    line.clock.run(15)
    assert line.kinds().count("UserStartedSpeaking") == 1
    assert line.said()[-1] == "We are closed on Sundays."


def test_an_agent_that_says_goodbye_for_good_is_heard_and_closes() -> None:
    bye = Dialogue(
        yamlfile.parse(
            "intents: {bye: [goodbye]}\nanywhere: {bye: {say: Goodbye., end: true}}", Path("b.yaml")
        )
    )
    line = desk(bye).settle()
    line.speak("goodbye", then=5)
    assert line.closed is not None
    line = desk(bye).settle()
    line.speak("goodbye", then=0.9)
    line.speak("goodbye", then=0.3)
    assert line.closed is None, "whoever interrupts a goodbye is answered"


def test_a_session_that_is_closed_leaves_no_timer() -> None:
    line = desk().settle()
    booking(line)
    line.speak("yes", then=1.2)
    line.socket.close()
    line.clock.run(1)
    line.log.clear()
    line.clock.run(3600)
    assert line.log == []
