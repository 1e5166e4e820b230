"""The rules of a call, as conversations: what comes in (`>>`), and all that comes out (`<<`)."""

import dataclasses
import random

import pytest
from msgspec import UNSET
from tests.call.playbook import (
    APPLIED,
    AUDIO_DONE,
    BARGE_IN,
    CONNECTED,
    KEEP_ALIVE,
    START,
    STOP,
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

from offhook.audio import FRAME_BYTES, silence
from offhook.call import playback
from offhook.call.agent_link import HELD_AGENT_BYTES, HELD_CALLER_BYTES
from offhook.call.call import Call
from offhook.call.call_settings import CallSettings
from offhook.call.commands import (
    CancelTool,
    ClearCaller,
    Command,
    DialAgent,
    HangUpAgent,
    Note,
    RunTool,
    SendAudio,
    SendSettings,
    TellAgent,
)
from offhook.call.ending import Ending, Slug
from offhook.call.functions import CALLS_MAX, OPEN_MAX
from offhook.call.handoff_actions import SendDigits
from offhook.call.history import ENTRY_MAX
from offhook.call.inputs import (
    AgentLegRefused,
    CallAnnounced,
    CallBroke,
    CallOver,
    GarbageReceived,
    LegLost,
    LegRecovered,
    LegStalled,
    Requested,
    ServerStopped,
    ToolBegan,
    ToolFinished,
)
from offhook.call.phases import Phase
from offhook.call.requests import HangUp, Leave, Mute
from offhook.deepgram import messages as deepgram
from offhook.events.types import (
    AgentAnnounced,
    AgentConnected,
    AgentHeard,
    AgentSaid,
    AgentWarned,
    Answered,
    AudioDropped,
    CallerFrustrated,
    CallerSaid,
    CallStarted,
    FunctionAnswered,
    FunctionCalled,
    FunctionDropped,
    Interrupted,
    KeyPressed,
    LatencyReported,
    Leg,
    ProtocolViolation,
)
from offhook.twilio import messages as twilio

CONNECTED_AT_ONCE = AgentConnected("request-1", 0)
STILL_THERE = inject(CallSettings().phrases.still_there)
SILENT_GOODBYE = inject(CallSettings().phrases.silent_goodbye, "queue")
TIME_UP_WORDS = CallSettings().phrases.time_up
TIME_UP = inject(TIME_UP_WORDS, "queue")
PATIENT = CallSettings(silence_s=0)


def frames(count: int) -> list[bytes]:
    """Frames of the caller's that can be told apart."""
    return [bytes([number]) * FRAME_BYTES for number in range(count)]


# --- the playbook itself -------------------------------------------------------------------------


def test_a_playbook_shows_what_was_not_named() -> None:
    playbook = Playbook() >> CallAnnounced()
    with pytest.raises(AssertionError, match=r"\+ << DialAgent"):
        playbook.finish()


def test_a_playbook_shows_what_was_expected_and_what_came() -> None:
    with pytest.raises(AssertionError, match=r"(?s)>> CallAnnounced.*- << ClearC.*\+ << DialA"):
        Playbook() >> CallAnnounced() << ClearCaller()


def test_a_playbook_goes_on_only_when_everything_was_named() -> None:
    with pytest.raises(AssertionError, match="DialAgent"):
        Playbook() >> CallAnnounced() >> WELCOME


# --- the beginning -------------------------------------------------------------------------------


def test_the_agent_is_dialled_at_the_webhook_and_talks_when_the_stream_comes(
    call: Playbook,
) -> None:
    (
        call
        >> CallAnnounced()
        << DialAgent()
        >> Wait(0.1)
        >> WELCOME
        << SendSettings()
        >> Wait(0.05)
        >> APPLIED
        << AgentConnected("request-1", 150)
        >> Wait(0.5)
        >> START
        << CallStarted()
        >> Frame()
        << Forwarded()
    )
    call << Phase.TALKING


def test_a_stream_without_a_webhook_dials_the_agent(call: Playbook) -> None:
    (
        call
        >> START
        << CallStarted()
        << DialAgent()
        >> WELCOME
        << SendSettings()
        >> APPLIED
        << CONNECTED_AT_ONCE
    )
    call << Phase.TALKING


def test_after_a_long_announcement_the_agent_is_dialled_when_the_stream_comes(
    call: Playbook,
) -> None:
    (call >> CallAnnounced(announcement_ms=10_000) >> Wait(60) >> START << CallStarted())
    call << DialAgent()


def test_the_stream_may_come_while_the_agent_settles(call: Playbook) -> None:
    (
        call
        >> CallAnnounced(announcement_ms=9_999)
        << DialAgent()
        >> WELCOME
        << SendSettings()
        >> START
        << CallStarted()
    )
    call << Phase.SETTLING
    (call >> APPLIED << CONNECTED_AT_ONCE)
    call << Phase.TALKING


def test_a_webhook_that_is_asked_twice_dials_once(call: Playbook) -> None:
    (call >> CallAnnounced() << DialAgent() >> Wait(0.1) >> CallAnnounced())
    (call >> WELCOME << SendSettings() >> APPLIED << ... >> START << CallStarted())
    call >> CallAnnounced()
    for _ in range(301):  # and no stream is waited for that came long ago
        (call >> Wait(1) << ... >> Frame() << Forwarded() >> key("#") << KeyPressed("#"))


def test_an_agent_leg_without_a_stream_is_hung_up_after_15_s_and_dialled_anew(
    call: Playbook,
) -> None:
    (
        call
        >> CallAnnounced()
        << DialAgent()
        >> WELCOME
        << SendSettings()
        >> APPLIED
        << CONNECTED_AT_ONCE
        >> agent("Hello.")
        >> speech(500)
        >> Wait(14.99)
        << ...
        >> Wait(0.01)
        << HangUpAgent()
        >> LegLost("agent", "1000")
        >> Wait(20)
        >> START
        << CallStarted()
        << DialAgent()
        >> WELCOME
        << SendSettings()
        >> APPLIED
        << CONNECTED_AT_ONCE  # and not a word of the first leg's greeting
    )


def test_a_stream_that_never_comes_ends_the_call_after_300_s(call: Playbook) -> None:
    (call >> CallAnnounced(announcement_ms=20_000) >> Wait(299.9) >> Wait(0.1))
    ends(call, Slug.STREAM_NEVER_CAME)


def test_before_the_stream_the_agent_is_kept_alive_every_3_s(call: Playbook) -> None:
    (
        call
        >> CallAnnounced()
        << DialAgent()
        >> WELCOME
        << SendSettings()
        >> Wait(5)
        >> APPLIED
        << AgentConnected("request-1", 5000)
        >> Wait(2.99)
        >> Wait(0.01)
        << KEEP_ALIVE
        >> Wait(3)
        << KEEP_ALIVE
        >> START
        << CallStarted()
        >> Wait(2.99)
    )


def test_audio_before_the_stream_goes_nowhere(call: Playbook) -> None:
    (call >> Frame() >> CallAnnounced() << DialAgent() >> WELCOME << SendSettings())
    (call >> APPLIED << CONNECTED_AT_ONCE >> Frame() >> START << CallStarted())


def test_what_the_caller_says_while_the_agent_settles_is_held(call: Playbook) -> None:
    first, second = frames(2)
    (
        call
        >> START
        << CallStarted()
        << DialAgent()
        >> Frame(first)
        >> Frame(second)
        >> WELCOME
        << SendSettings()
        >> APPLIED
        << CONNECTED_AT_ONCE
        << SendAudio(first + second)
        >> Frame(first)
        << Forwarded(first)
    )


def test_of_what_is_held_2_s_are_kept_and_the_oldest_is_dropped_and_counted(
    call: Playbook,
) -> None:
    (call >> START << CallStarted() << DialAgent() >> WELCOME << SendSettings())
    spoken = frames(130)
    for frame in spoken:
        call >> Frame(frame)
    kept = b"".join(spoken[30:])
    assert len(kept) == HELD_CALLER_BYTES
    (
        call
        >> APPLIED
        << CONNECTED_AT_ONCE
        << SendAudio(kept)
        << AudioDropped("agent", 30 * 20, "full")
    )


def test_a_greeting_that_comes_before_the_stream_is_held_with_its_words(call: Playbook) -> None:
    (
        call
        >> CallAnnounced()
        << DialAgent()
        >> WELCOME
        << SendSettings()
        >> APPLIED
        << CONNECTED_AT_ONCE
        >> agent("Hello.")
        >> speech(10)
        >> speech(20)
        >> AUDIO_DONE
        >> agent("How can I help?")
        >> speech(40)
        >> Wait(1)
        >> START
        << CallStarted()
        << Sent(160, "0:160")
        << Sent(80)
        << Sent(0, "0:240")
        << Sent(160, "0:400")
        << Sent(160)
        >> Wait(0.03)
        >> mark("0:240")
        << AgentSaid("Hello.", "Hello.", 30, interrupted=False)
        >> AUDIO_DONE
        << Sent(0, "0:560")
        >> Wait(0.04)
        >> mark("0:560")
        << AgentSaid("How can I help?", "How can I help?", 40, interrupted=False)
    )


def test_a_greeting_beyond_256_kb_breaks_off_without_holes(call: Playbook) -> None:
    (call >> CallAnnounced() << DialAgent() >> WELCOME << SendSettings())
    (call >> APPLIED << CONNECTED_AT_ONCE)
    (call >> Speech(bytes(HELD_AGENT_BYTES)) >> Speech(bytes(160)) >> Speech(bytes(80)))
    (call >> AUDIO_DONE >> START << CallStarted() << AudioDropped("caller", 30, "full"))
    assert call.contract.sent == HELD_AGENT_BYTES
    (call << ... >> Speech(bytes(80)) >> Speech(bytes(80)) << Sent(160, "0:262304"))


def test_the_little_that_still_fits_does_not_follow_what_was_dropped(call: Playbook) -> None:
    (call >> CallAnnounced() << DialAgent() >> WELCOME << SendSettings())
    (call >> APPLIED << CONNECTED_AT_ONCE)
    (call >> Speech(bytes(HELD_AGENT_BYTES - 800)) >> Speech(bytes(1600)) >> Speech(bytes(160)))
    (call >> START << CallStarted() << AudioDropped("caller", 220, "full") << ...)
    assert call.contract.sent == (HELD_AGENT_BYTES - 800) // 160 * 160


def test_an_agent_leg_that_breaks_before_the_stream_is_dialled_anew(call: Playbook) -> None:
    (
        call
        >> CallAnnounced()
        << DialAgent()
        >> WELCOME
        << SendSettings()
        >> APPLIED
        << CONNECTED_AT_ONCE
        >> LegStalled("agent")
        >> deepgram.Error("SERVER_GOING_AWAY", "later")
        << AgentWarned("SERVER_GOING_AWAY", "later", fatal=True)
        << HangUpAgent()
        >> LegLost("agent", "1005")
        >> Wait(1)
        >> START
        << CallStarted()
        << DialAgent()
        >> WELCOME
        << SendSettings()
        >> APPLIED
        << CONNECTED_AT_ONCE
        >> Frame()
        << Forwarded()
    )
    # Neither the first leg's Error nor its full socket is held against the second.
    for _ in range(15):
        (call >> Wait(1) >> Frame() << Forwarded())


def test_an_error_before_the_stream_drops_the_leg_even_if_its_socket_stays(call: Playbook) -> None:
    (call >> CallAnnounced() << DialAgent() >> WELCOME << SendSettings())
    (call >> APPLIED << CONNECTED_AT_ONCE >> deepgram.Error("INTERNAL_SERVER_ERROR", ""))
    (call << AgentWarned("INTERNAL_SERVER_ERROR", "", fatal=True) << HangUpAgent())
    (call >> START << CallStarted() << DialAgent())


def test_a_call_that_is_over_before_its_stream_came(call: Playbook) -> None:
    call >> CallAnnounced() << DialAgent() >> CallOver()
    ends(call, Slug.CALLER_HUNG_UP)


# --- talking -------------------------------------------------------------------------------------


def test_a_turn_and_how_long_its_answer_took(call: Playbook) -> None:
    (
        call.talking()
        >> Wait(1)
        >> BARGE_IN
        >> caller("What time is it?")
        << CallerSaid("What time is it?")
        >> Wait(0.8)
        >> agent("It is noon.")
        >> speech(400)
        << Sent(160, "1:160")
        << Sent(1600, "1:1760")
        << Sent(1440)
        >> Wait(0.05)
        >> mark("1:160")
        << Answered(first_byte_ms=800, first_played_ms=850)
        >> speech(30)
        << Sent(160, "1:3360")
        >> AUDIO_DONE
        << Sent(80)
        << Sent(0, "1:3440")
        >> Wait(0.4)
        >> mark("1:1760")
        >> mark("1:3360")
        >> mark("1:3440")
        << AgentSaid("It is noon.", "It is noon.", 430, interrupted=False)
    )


def test_only_the_first_utterance_after_a_turn_is_its_answer(call: Playbook) -> None:
    (call.talking() >> caller("Hi.") << CallerSaid("Hi.") >> agent("One.") >> speech(20))
    (call << Sent(160, "0:160") >> mark("0:160") << Answered(0, 0) >> AUDIO_DONE << ...)
    (call >> agent("Two.") >> speech(20) << Sent(160, "0:320") >> mark("0:320"))


def test_a_reply_without_audio_was_never_heard(call: Playbook) -> None:
    (
        call.talking()
        >> agent("Only text.")
        >> AUDIO_DONE
        << AgentSaid("", "Only text.", 0, interrupted=False)
        >> AUDIO_DONE
    )


def test_a_reply_without_audio_done_ends_with_the_callers_next_turn(call: Playbook) -> None:
    (
        call.talking()
        >> agent("Hello.")
        >> speech(25)
        << Sent(160, "0:160")
        >> Wait(0.02)
        >> mark("0:160")
        >> caller("Hi.")
        << Sent(40)
        << Sent(0, "0:200")
        << CallerSaid("Hi.")
        >> Wait(0.01)
        >> mark("0:200")
        << AgentSaid("Hello.", "Hello.", 25, interrupted=False)
    )


def test_utterances_of_several_pieces_are_told_once_each(call: Playbook) -> None:
    (
        call.talking()
        >> agent("One.")
        >> speech(20)
        << Sent(160, "0:160")
        >> agent("Two.")
        >> speech(20)
        << Sent(160)
        >> AUDIO_DONE
        << Sent(0, "0:320")
        >> mark("0:320")
        << AgentSaid("One. Two.", "One. Two.", 40, interrupted=False)
        >> mark("0:320")
        >> mark("nonsense")
    )


def test_what_is_being_said_is_told_while_it_is_said(call: Playbook) -> None:
    (
        call.talking()
        >> agent("One.")
        >> speech(2500)
        << ...
        >> agent("Two.")
        >> Wait(0.02)
        >> mark("0:160")
        >> Wait(1.2)
        >> mark("0:1760")
        >> mark("0:8160")
        >> mark("0:9760")
        >> mark("0:16160")
    )
    assert call.progress == [
        AgentAnnounced(1, "One."),
        AgentAnnounced(1, "Two."),
        AgentHeard(1, 20, 0),
        AgentHeard(1, 1020, 0),
        AgentHeard(1, 2020, 0),
    ]
    (
        call
        >> AUDIO_DONE
        << ...
        >> agent("Three.")
        >> mark("0:20000")
        << AgentSaid("One. Two.", "One. Two.", 2500, interrupted=False)
    )
    assert call.progress[5:] == [AgentAnnounced(2, "Three.")]


def test_messages_on_which_nothing_hangs_change_nothing(call: Playbook) -> None:
    idle: list[Given] = [
        deepgram.History("assistant", "Hello."),
        deepgram.AgentThinking("hm"),
        deepgram.AgentStartedSpeaking(),
        deepgram.PromptUpdated(),
        deepgram.FunctionCallResponse("weather", "{}"),
        deepgram.FunctionCallCancelled([]),
        deepgram.UnknownAgentMessage("Novelty"),
        twilio.UnknownTwilioMessage("novelty"),
        WELCOME,
        APPLIED,
    ]
    call.talking()
    for message in idle:
        call >> message
    call << Phase.TALKING


def test_warnings_and_latencies_are_passed_on(call: Playbook) -> None:
    (
        call.talking()
        >> deepgram.Warning("SLOW_THINK_REQUEST", "slow")
        << AgentWarned("SLOW_THINK_REQUEST", "slow", fatal=False)
        >> deepgram.InjectionRefused("The user is speaking.")
        << AgentWarned("INJECTION_REFUSED", "The user is speaking.", fatal=False)
        >> deepgram.LatencyReport(0.1, 0.2, tts_latency=0.0704, total_latency=None)
        << LatencyReported(100, 200, 70, None)
        >> deepgram.FrustrationDetected(2, escalated=False)
        << CallerFrustrated(2, escalated=False)
        >> deepgram.ThinkLiveUpdated()
        >> deepgram.LatencyReport(stt_latency=float("nan"), total_latency=float("inf"))
        << LatencyReported(None, None, None, None)
    )


def called(*ids: str) -> deepgram.FunctionCallRequest:
    return deepgram.FunctionCallRequest([deepgram.FunctionCall(i, "weather", "{}") for i in ids])


def weather(id_: str, content: str = "sunny") -> TellAgent:
    return TellAgent(deepgram.FunctionCallResponse("weather", content, id_))


LATE = '{"error": "this takes too long; it was stopped"}'


def test_functions_are_run_and_answered_one_by_one_in_any_order(call: Playbook) -> None:
    mine, other = deepgram.FunctionCall("1", "weather", "{}"), deepgram.FunctionCall("2", "time")
    vendors = deepgram.FunctionCall("3", "search", client_side=False)
    (
        call.talking()
        >> deepgram.FunctionCallRequest([mine, vendors, other])
        << FunctionCalled("1", "weather", "{}")
        << RunTool("1", "weather", "{}")
        << FunctionCalled("2", "time", "")
        << RunTool("2", "time", "")
        >> Wait(0.5)
        >> ToolFinished("2", "noon", "answered")
        << TellAgent(deepgram.FunctionCallResponse("time", "noon", "2"))
        << FunctionAnswered("2", "time", "answered", "noon", 500)
        >> ToolFinished("1", "oops", "failed")
        << weather("1", "oops")
        << FunctionAnswered("1", "weather", "failed", "oops", 500)
        >> ToolFinished("1", "again", "answered")
    )


def test_a_function_that_is_asked_for_twice_runs_once(call: Playbook) -> None:
    (
        call.talking()
        >> called("1")
        << FunctionCalled("1", "weather", "{}")
        << RunTool("1", "weather", "{}")
        >> called("1")
    )


def test_a_function_that_is_called_off_is_not_answered(call: Playbook) -> None:
    (
        call.talking()
        >> called("1", "2")
        << ...
        >> deepgram.FunctionCallCancelled(
            [deepgram.CancelledFunction("1"), deepgram.CancelledFunction("unheard of")]
        )
        << CancelTool("1", "cancelled")
        << FunctionDropped("1", "weather", "cancelled")
        >> ToolFinished("1", "sunny", "answered")
        >> ToolFinished("2", "sunny", "answered")
        << weather("2")
        << FunctionAnswered("2", "weather", "answered", "sunny", 0)
        >> Wait(2.9)
    )


def test_a_function_that_takes_long_is_excused_once_and_stopped_at_the_limit(
    call: Playbook,
) -> None:
    def live(seconds: float) -> None:
        """Time passes, and the caller's line is alive."""
        for _ in range(round(seconds / 0.5)):
            call >> Wait(0.5) >> Frame() << Forwarded()

    call.talking() >> called("1") << ...
    live(2)
    call >> called("2") << ...
    live(0.5)
    call >> Wait(0.49) >> Wait(0.01) << inject("One moment, please.", "queue")
    live(6.5)
    (
        call
        >> Wait(0.49)
        >> Wait(0.01)
        << CancelTool("1", "too_late")
        << weather("1", LATE)
        << FunctionAnswered("1", "weather", "too_late", LATE, 10_000)
        >> Wait(1)
        >> ToolFinished("2", "sunny", "answered")
        << weather("2")
        << FunctionAnswered("2", "weather", "answered", "sunny", 9000)
        >> Wait(1)
    )


UNKNOWN = (
    "It is not known whether this was done: it takes too long, and may yet be done."
    " Do not do it again. Tell the caller that it is not certain."
)


def test_what_cannot_be_taken_back_is_never_said_to_have_been_stopped(call: Playbook) -> None:
    call.talking() >> called("1") << ... >> ToolBegan("1") >> ToolBegan("unheard of")
    (
        call
        >> Wait(10, late=True)
        << SendAudio(silence(100))
        << inject("One moment, please.", "queue")
        << CancelTool("1", "too_late")
        << weather("1", UNKNOWN)
        << FunctionAnswered("1", "weather", "outcome_unknown", UNKNOWN, 10_000)
        >> ToolFinished("1", "sunny", "answered")
    )


def test_a_thought_signature_goes_back_unchanged_and_into_the_history(call: Playbook) -> None:
    signed = deepgram.FunctionCall("1", "weather", "{}", thought_signature="c2lnbg==")
    answer = deepgram.FunctionCallResponse("weather", "sunny", "1", thought_signature="c2lnbg==")
    call.talking() >> deepgram.FunctionCallRequest([signed]) << ...
    call >> ToolFinished("1", "sunny", "answered") << TellAgent(answer) << ...
    call >> Requested(1, Leave(SendDigits("1"))) << ... >> Wait(2) << ... >> START << ...
    (
        call
        >> WELCOME
        << SendSettings(
            greeting=False,
            history=(
                deepgram.History(
                    function_calls=[
                        deepgram.FinishedFunction(
                            id="1",
                            name="weather",
                            client_side=True,
                            arguments="{}",
                            response="sunny",
                            thought_signature="c2lnbg==",
                        )
                    ]
                ),
            ),
        )
    )


def test_the_event_of_a_function_has_the_signature_that_a_history_would_take(
    call: Playbook,
) -> None:
    noted: list[FunctionCalled] = []
    call.listeners.append(
        lambda command: (
            noted.append(command.event)
            if isinstance(command, Note) and isinstance(command.event, FunctionCalled)
            else None
        )
    )
    signatures = ["s" * ENTRY_MAX, "s" * (ENTRY_MAX + 1), "", None]
    (
        call.talking()
        >> deepgram.FunctionCallRequest(
            [
                deepgram.FunctionCall(str(number), "weather", "{}", thought_signature=signature)
                for number, signature in enumerate(signatures)
            ]
        )
        << ...
    )
    assert [each.thought_signature for each in noted] == ["s" * ENTRY_MAX, UNSET, UNSET, UNSET]


def test_a_limit_noticed_late_stops_every_function_that_is_due(call: Playbook) -> None:
    call.talking() >> called("1", "2") << ... >> Wait(15, late=True)
    call << SendAudio(silence(100)) << inject("One moment, please.", "queue")
    for id_ in ("1", "2"):
        call << CancelTool(id_, "too_late") << weather(id_, LATE)
        call << FunctionAnswered(id_, "weather", "too_late", LATE, 15_000)


def test_a_hang_up_stops_functions(call: Playbook) -> None:
    (
        call.talking()
        >> called("1")
        << ...
        >> STOP
        << CancelTool("1", "call_over")
        << FunctionDropped("1", "weather", "call_over")
        << ...
    )


def test_a_function_of_an_agent_that_waits_in_vain_for_the_stream_is_called_off(
    call: Playbook,
) -> None:
    (
        call
        >> CallAnnounced()
        << DialAgent()
        >> WELCOME
        << SendSettings()
        >> APPLIED
        << CONNECTED_AT_ONCE
        >> Wait(14.9)
        << ...
        >> called("1")
        << ...
        >> Wait(0.1)
        << CancelTool("1", "cancelled")
        << FunctionDropped("1", "weather", "cancelled")
        << HangUpAgent()
        >> Wait(20)
    )


def test_functions_before_the_settings_are_not_answered(call: Playbook) -> None:
    (call >> START << CallStarted() << DialAgent())
    call >> deepgram.FunctionCallRequest([deepgram.FunctionCall("1", "weather")])


def test_nothing_from_the_caller_for_3_s_is_filled_with_silence_at_real_time(
    call: Playbook,
) -> None:
    gap = SendAudio(silence(100))
    (
        call.talking()
        >> Wait(1)
        >> Frame()
        << Forwarded()
        >> Wait(2.99)
        >> Wait(0.01)
        << gap
        >> Wait(0.099)
        >> Wait(0.001)
        << gap
        >> Frame()
        << Forwarded()
        >> Wait(2.99)
        >> Wait(1.01)
    )
    for _ in range(11):
        call << gap


def test_a_gap_noticed_late_is_not_made_up_for(call: Playbook) -> None:
    (call.under(PATIENT).talking() >> Wait(60, late=True) << SendAudio(silence(100)))


def test_a_gap_is_found_at_any_time_of_day() -> None:
    """`heard + 3 - heard` may be less than 3 in binary: that must not keep `tick` busy for ever."""
    draw = random.Random(1)
    hours = (draw.uniform(0, 1e5) for _ in range(100_000))
    awkward = [hour for hour in hours if (hour + 3.0) - hour < 3.0]
    assert awkward
    for hour in awkward:
        playbook = Playbook(PATIENT, now=hour).talking()
        (playbook >> Wait(3.05) << SendAudio(silence(100)))
        playbook.finish()


def test_pressed_keys_are_passed_on(call: Playbook) -> None:
    (call.talking() >> key("5") << KeyPressed("5") >> key("#") << KeyPressed("#") << ...)


# --- barge-in ------------------------------------------------------------------------------------


def test_a_barge_in_into_an_unfinished_utterance_cuts_it_and_drops_what_still_comes(
    call: Playbook,
) -> None:
    (
        call.talking()
        >> agent("One two three four five six.")
        >> speech(800)
        << Sent(160, "0:160")
        << Sent(1600, "0:1760")
        << Sent(1600, "0:3360")
        << Sent(1600, "0:4960")
        << Sent(1440)
        >> Wait(0.25)
        >> mark("0:160")
        >> mark("0:1760")
        >> Wait(0.125)
        >> BARGE_IN
        << ClearCaller()
        << Interrupted(345)
        << AgentSaid("One two", "One two three four five six.", 345, interrupted=True)
        >> mark("0:3360")  # cleared, not heard
        >> mark("0:4960")
        >> speech(300)
    )
    call << Phase.BARGE_IN
    (call >> AUDIO_DONE << AudioDropped("caller", 300, "late"))
    (call >> speech(20) << Sent(160, "1:160"))


def test_a_finished_utterance_is_cut_without_a_fence(call: Playbook) -> None:
    (
        call.talking()
        >> agent("One two three four.")
        >> speech(400)
        << ...
        >> AUDIO_DONE
        << Sent(0, "0:3200")
        >> mark("0:160")
        >> Wait(0.125)
        >> BARGE_IN
        << ClearCaller()
        << Interrupted(145)
        << AgentSaid("One two", "One two three four.", 145, interrupted=True)
        >> speech(20)
        << Sent(160, "1:160")
    )
    call << Phase.TALKING


def test_a_barge_in_when_all_was_heard_clears_nothing(call: Playbook) -> None:
    (
        call.talking()
        >> agent("Yes?")
        >> speech(20)
        << Sent(160, "0:160")
        >> AUDIO_DONE
        >> mark("0:160")
        << AgentSaid("Yes?", "Yes?", 20, interrupted=False)
        >> BARGE_IN
        >> BARGE_IN
    )
    call << Phase.TALKING


def test_a_last_mark_still_on_its_way_leaves_a_clear_but_no_interruption(call: Playbook) -> None:
    (
        call.talking()
        >> agent("Yes?")
        >> speech(20)
        << Sent(160, "0:160")
        >> AUDIO_DONE
        >> Wait(0.1)
        >> BARGE_IN
        << ClearCaller()
        << AgentSaid("Yes?", "Yes?", 20, interrupted=False)
        >> mark("0:160")
    )


def test_a_barge_in_between_the_pieces_of_an_utterance_clears_nothing_but_fences(
    call: Playbook,
) -> None:
    (
        call.talking()
        >> agent("One.")
        >> speech(20)
        << Sent(160, "0:160")
        >> Wait(0.02)
        >> mark("0:160")
        >> agent("Two three four.")
        >> BARGE_IN
        << Interrupted(20)
        << AgentSaid("", "One. Two three four.", 20, interrupted=True)
        >> speech(100)
        >> AUDIO_DONE
        << AudioDropped("caller", 100, "late")
    )


def test_one_barge_in_is_one_interruption_however_many_utterances_it_cuts(call: Playbook) -> None:
    (
        call.talking()
        >> agent("First.")
        >> speech(100)
        << ...
        >> AUDIO_DONE
        << ...
        >> agent("Second.")
        >> speech(100)
        << ...
        >> Wait(0.05)
        >> BARGE_IN
        << ClearCaller()
        << Interrupted(20)  # the mark after 20 ms has not come back: no more is claimed
        << AgentSaid("", "First.", 20, interrupted=True)
        << AgentSaid("", "Second.", 0, interrupted=True)
        >> AUDIO_DONE
    )


def fenced(call: Playbook) -> Playbook:
    """A call in which an unfinished utterance has just been cut."""
    (call.talking() >> agent("One two three.") >> speech(400) << ... >> BARGE_IN << ...)
    call << Phase.BARGE_IN
    return call


def test_the_next_words_of_the_agent_lift_the_fence(call: Playbook) -> None:
    (
        fenced(call)
        >> speech(100)
        >> agent("Yes, what is it?")
        << AudioDropped("caller", 100, "late")
        >> speech(20)
        << Sent(160, "1:160")
    )


def test_half_a_second_without_audio_lifts_the_fence(call: Playbook) -> None:
    (
        fenced(call)
        >> Wait(0.4)
        >> speech(100)
        >> Wait(0.4)
        >> speech(100)
        >> Wait(0.49)
        >> Wait(0.01)
        << AudioDropped("caller", 200, "late")
        >> speech(20)
        << Sent(160, "1:160")
    )


def test_a_late_timer_does_not_keep_the_fence_up(call: Playbook) -> None:
    fenced(call) >> speech(100)
    call.now += 0.6  # nobody has served the deadline
    call >> speech(20) << AudioDropped("caller", 100, "late") << Sent(160, "1:160") >> Wait(0)


def test_neither_the_callers_words_nor_more_of_them_lift_the_fence(call: Playbook) -> None:
    (fenced(call) >> caller("Stop.") << CallerSaid("Stop.") >> BARGE_IN >> speech(100))
    call << Phase.BARGE_IN
    (call >> AUDIO_DONE << AudioDropped("caller", 100, "late"))


def test_a_barge_in_storm_cuts_once_and_does_not_prolong_the_fence(call: Playbook) -> None:
    fenced(call)
    for _ in range(49):
        call >> Wait(0.01) >> BARGE_IN
    call << Phase.BARGE_IN
    call >> Wait(0.011)
    call << Phase.TALKING


def test_barge_ins_again_and_again_never_mix_their_epochs(call: Playbook) -> None:
    call.talking()
    for epoch in range(5):
        (call >> agent("Hello there.") >> speech(20) << Sent(160, f"{epoch}:160") >> Wait(1 / 64))
        (call >> BARGE_IN << ClearCaller() << Interrupted(15) << ...)
        for old in range(epoch + 1):
            call >> mark(f"{old}:160")
        (call >> speech(50) >> AUDIO_DONE << AudioDropped("caller", 50, "late"))


def test_what_was_carried_over_goes_with_the_utterance_that_is_cut(call: Playbook) -> None:
    (call.talking() >> agent("Hello.") >> speech(30) << Sent(160, "0:160") >> BARGE_IN << ...)
    (call >> agent("Yes?") >> speech(10) >> AUDIO_DONE << Sent(80) << Sent(0, "1:80"))


def test_a_barge_in_forgets_the_answer_that_it_cut(call: Playbook) -> None:
    (call.talking() >> caller("Hi.") << ... >> agent("Hello.") >> speech(20) << ... >> BARGE_IN)
    (call << ... >> AUDIO_DONE >> agent("Yes?") >> speech(20) << Sent(160, "1:160"))
    call >> mark("1:160")  # of no confirmed turn


# --- silence of the caller -----------------------------------------------------------------------


def present(call: Playbook, seconds: float) -> None:
    """Let time pass on an open line: frames keep coming, with nothing in them."""
    for _ in range(round(seconds)):
        (call >> Wait(1) >> Frame() << Forwarded())


def asked(call: Playbook) -> Playbook:
    """A caller who was silent for 30 s, and has just been asked by an agent that may be silent."""
    settings = dataclasses.replace(call.call._state.settings, answer_s=0)
    present(call.under(settings).talking(), 29)
    return call >> Wait(1) << STILL_THERE >> Frame() << ...


def seen_off(call: Playbook) -> Playbook:
    """A caller who was silent for a minute: the goodbye is on its way."""
    present(asked(call), 29)
    return call >> Wait(1) << SILENT_GOODBYE >> Frame() << ...


def test_a_silent_caller_is_asked_then_seen_off_and_hears_all_of_the_goodbye(
    call: Playbook,
) -> None:
    (
        seen_off(call)
        >> agent("I cannot hear you.")
        >> speech(20)
        << Sent(160, "0:160")
        >> agent("Goodbye.")
        >> speech(20)
        << Sent(160)
        >> AUDIO_DONE
        << Sent(0, "0:320")
        >> mark("0:160")
        >> mark("0:320")
        << AgentSaid("I cannot hear you. Goodbye.", "I cannot hear you. Goodbye.", 40, False)
    )
    ends(call, Slug.CALLER_SILENT)


def test_silence_is_counted_from_the_end_of_what_the_agent_says(call: Playbook) -> None:
    (call.talking() >> agent("A long story.") >> speech(20_000) << ... >> AUDIO_DONE << ...)
    present(call, 49)
    (call >> Wait(1) << STILL_THERE >> Frame() << Forwarded())
    (call >> agent("Are you still there?") >> speech(2_000) << ... >> AUDIO_DONE << ...)
    present(call, 31)
    (call >> Wait(1) << SILENT_GOODBYE)


@pytest.mark.parametrize(
    ("sign", "heard_of"),
    [
        (BARGE_IN, None),
        (caller("Yes."), CallerSaid("Yes.")),
        (key("#"), KeyPressed("#")),
    ],
)
def test_a_sign_of_the_caller_after_the_question_begins_the_silence_anew(
    call: Playbook, sign: Given, heard_of: CallerSaid | KeyPressed | None
) -> None:
    present(asked(call), 10)
    call >> sign
    if heard_of is not None:
        call << heard_of
    present(call, 29)
    (call >> Wait(1) << STILL_THERE)


def test_a_caller_who_speaks_into_the_goodbye_is_back(call: Playbook) -> None:
    (
        seen_off(call)
        >> agent("I cannot hear you. Goodbye.")
        >> speech(400)
        << ...
        >> Wait(0.1)
        >> BARGE_IN
        << ClearCaller()
        << Interrupted(20)
        << AgentSaid("", "I cannot hear you. Goodbye.", 20, interrupted=True)
    )
    call << Phase.BARGE_IN
    call >> AUDIO_DONE
    call << Phase.TALKING
    present(call, 29)
    (call >> Wait(1) << STILL_THERE)


def test_a_key_pressed_during_the_goodbye_brings_the_caller_back(call: Playbook) -> None:
    (seen_off(call) >> key("#") << KeyPressed("#"))
    call << Phase.TALKING
    present(call, 29)
    (call >> Wait(1) << STILL_THERE)


@pytest.mark.parametrize(
    "refusal",
    [
        deepgram.InjectionRefused("The user is speaking."),
        deepgram.Warning("INJECT_AGENT_MESSAGE_DURING_USER_SPEECH", "The user is speaking."),
    ],
)
def test_a_goodbye_refused_means_that_the_caller_speaks(
    call: Playbook, refusal: deepgram.InjectionRefused | deepgram.Warning
) -> None:
    (seen_off(call) >> refusal << ...)
    call << Phase.TALKING
    present(call, 29)
    (call >> Wait(1) << STILL_THERE)


def test_a_goodbye_that_is_never_spoken_ends_the_call_after_5_s(call: Playbook) -> None:
    present(seen_off(call), 4)
    call >> Wait(1)
    ends(call, Slug.CALLER_SILENT)


def test_without_a_limit_silence_lasts(call: Playbook) -> None:
    present(call.under(PATIENT).talking(), 600)


# --- the time limit ------------------------------------------------------------------------------

HALF_A_MINUTE = CallSettings(max_s=30, silence_s=0)


def timed_out(call: Playbook) -> Playbook:
    """A call whose time is up."""
    present(call.under(HALF_A_MINUTE).talking(), 29)
    return call >> Wait(1) << TIME_UP >> Frame() << ...


def test_after_30_minutes_the_farewell_is_heard_to_its_end(call: Playbook) -> None:
    call.under(CallSettings(silence_s=0)).talking()
    for _ in range(899):
        (call >> Wait(2) >> Frame() << Forwarded())
    (
        call
        >> Wait(2)
        << TIME_UP
        >> Frame()
        << Forwarded()
        >> agent("We have reached the end of our time.")
        >> agent("Goodbye.")
        >> speech(400)
        << ...
        >> AUDIO_DONE
        << Sent(0, "0:3200")
        >> Wait(0.4)
        >> mark("0:160")
        >> mark("0:1760")
        >> mark("0:3200")
        << AgentSaid(TIME_UP_WORDS, TIME_UP_WORDS, 400, interrupted=False)
    )
    ends(call, Slug.TIME_LIMIT)


def test_a_farewell_behind_other_speech_is_not_taken_for_it(call: Playbook) -> None:
    """The agent was in the middle of a sentence: that one's end is not the end of the call."""
    present(call.under(HALF_A_MINUTE).talking(), 29)
    (call >> agent("One two.") >> speech(600) << ... >> Wait(1) << TIME_UP >> Frame() << ...)
    (
        call
        >> speech(30)
        << Sent(160, "0:4960")
        >> AUDIO_DONE
        << Sent(80)
        << Sent(0, "0:5040")
        >> mark("0:5040")
        << AgentSaid("One two.", "One two.", 630, interrupted=False)
        >> Wait(0.5)
        >> agent("We have reached the end of our time.")
        >> agent("Goodbye.")
        >> speech(20)
        << Sent(160, "0:5200")
        >> AUDIO_DONE
        >> mark("0:5200")
        << AgentSaid(TIME_UP_WORDS, TIME_UP_WORDS, 20, interrupted=False)
    )
    ends(call, Slug.TIME_LIMIT)


def test_a_farewell_may_be_complete_only_after_it_was_heard(call: Playbook) -> None:
    (timed_out(call) >> agent(TIME_UP_WORDS) >> speech(20) << Sent(160, "0:160"))
    (call >> Wait(0.5) >> mark("0:160") >> Wait(0.5) >> AUDIO_DONE)
    call << AgentSaid(TIME_UP_WORDS, TIME_UP_WORDS, 20, interrupted=False)
    ends(call, Slug.TIME_LIMIT)


def test_a_farewell_refused_ends_the_call_after_5_s(call: Playbook) -> None:
    (timed_out(call) >> deepgram.InjectionRefused("") << ...)
    present(call, 4)
    call >> Wait(1)
    ends(call, Slug.TIME_LIMIT)


def test_the_caller_cannot_talk_the_farewell_away(call: Playbook) -> None:
    (timed_out(call) >> agent(TIME_UP_WORDS) >> speech(20) << Sent(160, "0:160") >> BARGE_IN)
    (call >> key("1") << KeyPressed("1") >> caller("Wait!") << CallerSaid("Wait!"))
    (call >> mark("0:160") << AgentSaid(TIME_UP_WORDS, TIME_UP_WORDS, 20, interrupted=False))
    ends(call, Slug.TIME_LIMIT)


def spent(call: Playbook) -> Playbook:
    """A call that has used up its spend limit."""
    present(call.under(CallSettings(spend_s=30, silence_s=0)).talking(), 29)
    return call >> Wait(1) << TIME_UP >> Frame() << ...


def test_the_spend_limit_ends_a_call_with_a_farewell_that_cannot_be_talked_away(
    call: Playbook,
) -> None:
    (spent(call) >> agent(TIME_UP_WORDS) >> speech(20) << Sent(160, "0:160") >> BARGE_IN)
    (call >> caller("Wait!") << CallerSaid("Wait!") >> deepgram.InjectionRefused("") << ...)
    (call >> mark("0:160") << AgentSaid(TIME_UP_WORDS, TIME_UP_WORDS, 20, interrupted=False))
    ends(call, Slug.SPEND_LIMIT)


def test_the_spend_limit_lets_other_last_words_end_and_holds_for_who_comes_back(
    call: Playbook,
) -> None:
    present(call.under(CallSettings(spend_s=30, silence_s=0, answer_s=0)).talking(), 29)
    press = Requested(1, Leave(SendDigits("1"), "One moment."))
    (call >> press << inject("One moment.", "queue") >> Wait(1) >> Frame() << Forwarded())
    (call >> agent("One moment.") >> speech(20) << ... >> AUDIO_DONE >> mark("0:160") << ...)
    assert call.call.phase is Phase.AWAY
    call >> START << ... >> WELCOME << ... >> APPLIED << ...
    present(call, 14)
    call >> Wait(1) << TIME_UP >> Frame() << ...


def test_nothing_is_spent_while_the_stream_is_left(call: Playbook) -> None:
    press = Requested(1, Leave(SendDigits("1")))
    present(call.under(CallSettings(spend_s=30, silence_s=0, answer_s=0)).talking(), 19)
    call >> press << ... >> Wait(10) << ... >> START << ...
    call >> WELCOME << ... >> APPLIED << ...
    present(call, 9)
    assert call.call.phase is Phase.TALKING
    call >> Wait(2) << TIME_UP >> Frame() << ...


def test_the_callers_last_words_are_told_before_the_end(call: Playbook) -> None:
    """They complete the farewell, whose AgentAudioDone did not come, and all of it was heard."""
    (timed_out(call) >> agent(TIME_UP_WORDS) >> speech(20) << Sent(160, "0:160"))
    (
        call
        >> mark("0:160")
        >> caller("Bye.")
        << AgentSaid(TIME_UP_WORDS, TIME_UP_WORDS, 20, interrupted=False)
        << CallerSaid("Bye.")
    )
    ends(call, Slug.TIME_LIMIT)


def test_a_farewell_whose_marks_never_come_gets_its_length_and_3_s(call: Playbook) -> None:
    (timed_out(call) >> Wait(1) >> agent(TIME_UP_WORDS) >> speech(4000) << ... >> AUDIO_DONE)
    call << Sent(0, "0:32000")
    present(call, 6)
    (call >> Wait(1) << ClearCaller() << AgentSaid("", TIME_UP_WORDS, 20, interrupted=True))
    ends(call, Slug.TIME_LIMIT)


def test_a_farewell_that_goes_on_and_on_is_cut_after_15_s(call: Playbook) -> None:
    (timed_out(call) >> agent(TIME_UP_WORDS))
    for second in range(1, 15):
        (call >> speech(2000) << ... >> Wait(1) >> Frame() << Forwarded() >> mark(f"0:{second}"))
    (call >> Wait(1) << ClearCaller() << ...)
    assert call.call.ending == Ending(Slug.TIME_LIMIT)


def test_time_up_while_the_silent_caller_is_seen_off(call: Playbook) -> None:
    """One farewell is enough; if the caller comes back, the other follows."""
    call.under(CallSettings(max_s=61, silence_s=60))
    present(seen_off(call), 2)
    (call >> key("#") << KeyPressed("#"))
    call << Phase.TALKING
    present(call, 13)
    (call >> Wait(1) << TIME_UP)


def test_time_up_behind_a_fence(call: Playbook) -> None:
    call.under(CallSettings(max_s=0.25, silence_s=0))
    (fenced(call) >> Wait(0.1) >> speech(100) >> Wait(0.15))
    (call << AudioDropped("caller", 100, "late") << TIME_UP)
    call << Phase.CLOSING


def test_time_up_before_the_agent_is_there(call: Playbook) -> None:
    call.under(CallSettings(max_s=5))
    (call >> START << CallStarted() << DialAgent() >> Wait(5))
    ends(call, Slug.TIME_LIMIT)


# --- the agent's leg -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "how"),
    [
        (401, Slug.AGENT_KEY_REFUSED),
        (402, Slug.AGENT_KEY_REFUSED),
        (403, Slug.AGENT_KEY_REFUSED),
        (429, Slug.AGENT_BUSY),
        (404, Slug.AGENT_UNREACHABLE),
    ],
)
def test_a_refused_upgrade(call: Playbook, status: int, how: Slug) -> None:
    (call >> CallAnnounced() << DialAgent() >> AgentLegRefused(status))
    ends(call, how, f"HTTP {status}")


@pytest.mark.parametrize("greeted", [False, True])
def test_an_agent_that_does_not_settle_within_10_s(call: Playbook, greeted: bool) -> None:
    (call >> START << CallStarted() << DialAgent())
    if greeted:
        (call >> WELCOME << SendSettings())
    (call >> Wait(9.99) >> Wait(0.01))
    ends(call, Slug.AGENT_UNREACHABLE, "no SettingsApplied within 10 s")


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("INVALID_SETTINGS", Slug.AGENT_SETTINGS_REFUSED),
        ("UNPARSABLE_CLIENT_MESSAGE", Slug.AGENT_SETTINGS_REFUSED),
        ("INVALID_AGENT_ID", Slug.AGENT_SETTINGS_REFUSED),
        ("SETTINGS_ALREADY_APPLIED", Slug.AGENT_UNREACHABLE),
    ],
)
def test_an_error_instead_of_settings_applied(call: Playbook, code: str, how: Slug) -> None:
    (call >> START << CallStarted() << DialAgent() >> WELCOME << SendSettings())
    (call >> deepgram.Error(code, "why") << AgentWarned(code, "why", fatal=True))
    ends(call, how, code)  # without waiting for the socket to close


def test_failing_to_think_is_survived(call: Playbook) -> None:
    call.under(CallSettings(silence_s=0, answer_s=0)).talking()
    call >> deepgram.Error("FAILED_TO_THINK", "why")
    call << AgentWarned("FAILED_TO_THINK", "why", fatal=True)
    present(call, 60)


# --- the caller's leg, and everything else that ends a call --------------------------------------


@pytest.mark.parametrize(
    ("last", "how", "detail"),
    [
        (STOP, Slug.CALLER_HUNG_UP, ""),
        (CallOver(), Slug.CALLER_HUNG_UP, ""),
        (LegLost("caller", "1006"), Slug.CALLER_LEG_LOST, "1006"),
        (LegLost("caller", "1009", oversized=True), Slug.CALLER_LEG_OVERSIZED, "1009"),
    ],
)
def test_a_caller_who_is_gone_needs_no_clear(
    call: Playbook, last: Given, how: Slug, detail: str
) -> None:
    (
        call.talking()
        >> agent("One two three four.")
        >> speech(400)
        << ...
        >> AUDIO_DONE
        << ...
        >> mark("0:160")
        >> Wait(0.1)
        >> last
        << AgentSaid("One two", "One two three four.", 120, interrupted=True)
    )
    ends(call, how, detail)


@pytest.mark.parametrize(
    ("last", "how", "detail"),
    [
        (ServerStopped(), Slug.SHUT_DOWN, ""),
        (CallBroke("KeyError"), Slug.INTERNAL_ERROR, "KeyError"),
        (LegLost("agent", "huge", code=1009), Slug.AGENT_LOST, "huge"),
    ],
)
def test_a_caller_who_is_still_there_hears_no_more(
    call: Playbook, last: Given, how: Slug, detail: str
) -> None:
    (call.talking() >> agent("Hello.") >> speech(400) << ... >> last << ClearCaller() << ...)
    assert call.call.ending == Ending(how, detail)


def test_a_callers_socket_that_takes_nothing_for_10_s_is_lost(call: Playbook) -> None:
    call.under(PATIENT).talking() >> LegStalled("caller")
    present(call, 9)
    (call >> LegRecovered("caller") >> Wait(1) >> Frame() << Forwarded() >> LegStalled("caller"))
    present(call, 9)
    call >> Wait(1)
    ends(call, Slug.CALLER_LEG_STUCK)


@pytest.mark.parametrize(
    ("leg", "how"), [("caller", Slug.CALLER_LEG_GARBAGE), ("agent", Slug.AGENT_LEG_GARBAGE)]
)
def test_more_than_20_faults_in_10_s_end_the_call(call: Playbook, leg: Leg, how: Slug) -> None:
    call.under(PATIENT).talking()
    other: Leg = "agent" if leg == "caller" else "caller"
    for _ in range(20):
        (call >> GarbageReceived(leg, "bad JSON") << ProtocolViolation(leg, "bad JSON"))
        (call >> GarbageReceived(other, "bad JSON") << ProtocolViolation(other, "bad JSON"))
    present(call, 10)
    call >> Wait(0.01)
    for _ in range(20):  # the old ones are forgotten
        (call >> GarbageReceived(leg, "bad JSON") << ProtocolViolation(leg, "bad JSON"))
    (call >> GarbageReceived(leg, "worse") << ProtocolViolation(leg, "worse"))
    ends(call, how, "worse")


def test_a_second_start_and_a_second_connected_are_faults(call: Playbook) -> None:
    (
        call.talking()
        >> START
        << ProtocolViolation("caller", "a second 'start'")
        >> CONNECTED
        << ProtocolViolation("caller", "a second 'connected'")
        >> Frame()
        << Forwarded()
    )


def test_what_was_held_and_what_was_late_is_counted_at_the_end(call: Playbook) -> None:
    (call >> START << CallStarted() << DialAgent())
    for frame in frames(101):
        call >> Frame(frame)
    (call >> STOP << AudioDropped("agent", 20, "full"))
    ends(call, Slug.CALLER_HUNG_UP)


def test_a_call_may_end_behind_a_fence(call: Playbook) -> None:
    (fenced(call) >> speech(100) >> STOP << AudioDropped("caller", 100, "late"))
    ends(call, Slug.CALLER_HUNG_UP)


def test_nothing_follows_the_end(call: Playbook) -> None:
    (call.talking() >> STOP << ...)
    assert call.call.ending == Ending(Slug.CALLER_HUNG_UP)
    assert call.call.deadline() is None
    after: list[Given] = [
        STOP,
        START,
        CallAnnounced(),
        LegLost("agent"),
        LegLost("caller"),
        ServerStopped(),
        CallBroke("?"),
        BARGE_IN,
        caller("Hello?"),
        agent("Hello?"),
        AUDIO_DONE,
        Frame(),
        speech(400),
        GarbageReceived("caller", "bad JSON"),
        LegStalled("agent"),
        Wait(3600),
    ]
    for message in after:
        call >> message
    assert call.call.ending == Ending(Slug.CALLER_HUNG_UP)
    assert call.call.deadline() is None


def test_chunks_smaller_than_a_frame_wait_for_the_rest(call: Playbook) -> None:
    call.talking() >> agent("Hi.")
    for _ in range(159):
        call >> Speech(b"\x02")
    (call >> Speech(bytes(2)) << Sent(160, "0:160") >> AUDIO_DONE << Sent(1) << Sent(0, "0:161"))


@pytest.mark.parametrize(
    "cut",
    [
        BARGE_IN,
        Requested(1, Mute(True)),
        Requested(1, HangUp("operator")),
        ServerStopped(),
    ],
    ids=lambda cut: type(getattr(cut, "request", cut)).__name__,
)
def test_the_clear_is_commanded_before_anybody_weighs_what_was_heard(
    cut: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighed: list[object] = []

    def weigh(passages: object, *given: object, **options: object) -> str:
        weighed.append(passages)
        return "One"

    monkeypatch.setattr(playback, "heard_words", weigh)
    playbook = Playbook()
    commanded: list[tuple[Command, bool]] = []
    playbook.call = Call(
        CallSettings(),
        playbook.now,
        lambda command: commanded.append((command, bool(weighed))),
    )
    for given in (CallAnnounced(), WELCOME, APPLIED, START, agent("One two."), speech(2000)):
        playbook >> given << ...
    playbook.now += 0.5
    commanded.clear()
    playbook >> cut << ...
    assert (ClearCaller(), False) in commanded
    said = [was for each, was in commanded if isinstance(getattr(each, "event", None), AgentSaid)]
    assert said == [True]


def test_a_flood_of_words_for_one_utterance_is_cut_visibly(call: Playbook) -> None:
    call.talking()
    for _ in range(100):
        call >> agent("word " * 1000)
    for _ in range(100):
        call >> agent("")
    call >> speech(2000) << ...
    call.call.receive(BARGE_IN, call.now)
    notes = [each.event for each in call.commanded() if isinstance(each, Note)]
    (said,) = (each for each in notes if isinstance(each, AgentSaid))
    assert said.intended.endswith(" …")
    assert len(said.intended) < 1.1 * playback.TEXT_MAX


@pytest.mark.parametrize("at_once", [True, False])
def test_a_flood_of_functions_ends_its_call(call: Playbook, at_once: bool) -> None:
    functions = [deepgram.FunctionCall(str(number), "weather") for number in range(10_000)]
    call.talking()
    if at_once:
        requests = [deepgram.FunctionCallRequest(functions)]
    else:
        requests = [deepgram.FunctionCallRequest([each]) for each in functions]
    for request in requests:
        call.call.receive(request, call.now)
    commands = call.commanded()
    call.contract.leave(commands)
    assert sum(isinstance(each, RunTool) for each in commands) == OPEN_MAX
    assert call.call.ending == Ending(Slug.AGENT_LEG_GARBAGE, "too many function calls")
    assert len(commands) < 300


def test_a_flood_of_functions_that_are_answered_at_once_ends_its_call_too(call: Playbook) -> None:
    call.talking()
    ran = 0
    for number in range(10_000):
        call_id = str(number)
        call.call.receive(called(call_id), call.now)
        if any(isinstance(each, RunTool) for each in call.commanded()):
            ran += 1
            call.call.receive(ToolFinished(call_id, "sunny", "answered"), call.now)
            call.commanded()
    assert ran == CALLS_MAX
    assert call.call.ending == Ending(Slug.AGENT_LEG_GARBAGE, "too many function calls")


def test_functions_over_an_hour_are_not_a_flood(call: Playbook) -> None:
    call.under(CallSettings(silence_s=0, max_s=7200)).talking()
    for number in range(200):
        call >> called(str(number)) << ... >> ToolFinished(str(number), "sunny", "answered") << ...
        call >> Wait(1, late=True) << ...
    assert call.call.ending is None


def test_what_is_huge_is_answered_and_not_run(call: Playbook) -> None:
    (
        call.talking()
        >> deepgram.FunctionCallRequest([deepgram.FunctionCall("1", "weather", "x" * 900_000)])
        << FunctionCalled("1", "weather", "x" * 256 + " …")
        << weather("1", '{"error": "the arguments are too long"}')
        << FunctionAnswered("1", "weather", "failed", '{"error": "the arguments are too long"}', 0)
        >> deepgram.FunctionCallRequest([deepgram.FunctionCall("2", "x" * 900_000)])
        << ProtocolViolation("agent", "a function whose name or id is too long")
    )
