"""Handlers of a call: which one serves each input in each phase.

A pair of phase and input is in HANDLERS, or in IGNORED, on purpose. One that is in neither is our
own mistake (UnexpectedInputError). docs/design/call-tables.md draws the table.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from offhook.call import inputs, requests
from offhook.call.answer_watch import TRIES_NEXT
from offhook.call.commands import Reply
from offhook.call.ending import Slug
from offhook.call.pending_requests import Acknowledgement
from offhook.call.phases import Phase
from offhook.call.rollover import APPROACHING
from offhook.deepgram import messages as deepgram
from offhook.events.types import AgentWarned, CallerFrustrated, CallerSpeechBegan
from offhook.twilio import messages as twilio

if TYPE_CHECKING:
    from offhook.call.call import Call

Handler: TypeAlias = Callable[["Call", Any, float], None]
Pair: TypeAlias = tuple[Phase, type]

_DURING_AGENT_SPEECH: Final = "INJECT_AGENT_MESSAGE_DURING_AGENT_SPEECH"
_INJECTION_REFUSED: Final = frozenset(
    {"INJECT_AGENT_MESSAGE_DURING_USER_SPEECH", _DURING_AGENT_SPEECH}
)


class UnexpectedInputError(Exception):
    """Raised for an input that has no handler in this phase and is not ignored."""


# --- the stream ----------------------------------------------------------------------------------


def _announce_stream(call: "Call", announced: inputs.CallAnnounced, now: float) -> None:
    call.handoff.announce(announced, now)


def _start_stream(call: "Call", start: twilio.Start, now: float) -> None:
    if _can_be_heard(call, start, now):
        call.handoff.start_stream(now)


def _come_back(call: "Call", start: twilio.Start, now: float) -> None:
    if _can_be_heard(call, start, now):
        call.handoff.come_back(now)


def _can_be_heard(call: "Call", start: twilio.Start, now: float) -> bool:
    """Return whether a stream has the audio of a telephone, which both sides would else mishear."""
    foreign = start.start.media_format.foreign
    if foreign is not None:
        call.end(Slug.CALLER_LEG_FORMAT, foreign, now)
    return foreign is None


def _take_over(call: "Call", died: inputs.ProcessDied, now: float) -> None:
    call.take_over(died, now)


def _expect_back(call: "Call", _: inputs.CallerReturning, now: float) -> None:
    call.handoff.expect_back(now)


def _refuse_second_start(call: "Call", _: twilio.Start, now: float) -> None:
    call.health.violate("caller", "a second 'start'", now)


def _refuse_second_connected(call: "Call", _: twilio.Connected, now: float) -> None:
    call.health.violate("caller", "a second 'connected'", now)


def _begin_handoff(call: "Call", _: inputs.HandoffBegun, now: float) -> None:
    call.handoff.begin(now)


def _finish_handoff(call: "Call", done: inputs.HandoffDone, now: float) -> None:
    call.handoff.finish(done, now)


def _end_handoff(call: "Call", _: inputs.CallOver, now: float) -> None:
    call.handoff.end_call(now)


# --- the agent's leg -----------------------------------------------------------------------------


def _welcome(call: "Call", message: deepgram.Welcome, now: float) -> None:
    if call.link.welcome(message):
        call.recovery.send_settings(now)


def _apply_settings(call: "Call", _: deepgram.SettingsApplied, now: float) -> None:
    call.link.apply_settings(now)


def _refuse_agent(call: "Call", refused: inputs.AgentLegRefused, now: float) -> None:
    call.link.refuse(refused, now)


def _give_up_agent(call: "Call", unreachable: inputs.AgentLegUnreachable, now: float) -> None:
    call.link.fail_to_reach(unreachable, now)


def _fail_agent(call: "Call", error: deepgram.Error, now: float) -> None:
    call.link.fail(error, now)
    call.answers.fail(error, now)


def _settle_spare(call: "Call", welcomed: inputs.SpareWelcomed, now: float) -> None:
    call.rollover.settle(welcomed, now)


def _use_spare(call: "Call", _: inputs.SpareReady, now: float) -> None:
    call.rollover.use(now)


def _lose_spare(call: "Call", lost: inputs.SpareLost, now: float) -> None:
    call.rollover.lose(lost, now)


# --- talk ----------------------------------------------------------------------------------------


def _hold_text(call: "Call", text: deepgram.ConversationText, _: float) -> None:
    call.link.hold_speech(text, len(text.content))


def _take_text(call: "Call", text: deepgram.ConversationText, now: float) -> None:
    if text.role == "assistant":
        last = text.content.strip()
        call.turns.announce(text.content, text.behavior)
        call.interruptions.begin_answer()
        call.farewell.announce(last)
        call.answers.hear(last)
        call.pending.spoken(last)
        return
    # A reply can end without AgentAudioDone (deepgram.md §3.2); the next turn of the caller, or
    # the next text told to the agent in the caller's stead, ends it at the latest.
    call.turns.finish(now)
    if not call.pending.told(text.content):
        call.interruptions.end_turn(now)
        call.turns.confirm(text.content, text.behavior, now)
        call.hear_caller(now)
        call.answers.take_turn(text.content, now)
        call.farewell.look(now)


def _take_late_turn(call: "Call", turn: inputs.LateTurn, _: float) -> None:
    if not call.pending.was_told(turn.text):
        call.broken_stream.take_late(turn)


def _hold_audio_done(call: "Call", done: deepgram.AgentAudioDone, _: float) -> None:
    call.link.hold_speech(done, 0)


def _end_late_audio(call: "Call", _: deepgram.AgentAudioDone, __: float) -> None:
    call.turns.lift_fence()


def _finish_utterance(call: "Call", _: deepgram.AgentAudioDone, now: float) -> None:
    call.turns.finish(now)
    call.farewell.look(now)
    call.keys.tell(now)


def _echo_mark(call: "Call", message: twilio.Mark, now: float) -> None:
    if call.turns.echo(message.mark.name, now):
        call.farewell.look(now)


def _hear_speech(call: "Call", _: deepgram.UserStartedSpeaking, now: float) -> None:
    call.answers.begin_speech()
    is_new = call.turns.begin_speech(now)
    call.hear_caller(now)
    if is_new:
        call.note(CallerSpeechBegan())


def _interrupt(call: "Call", _: deepgram.UserStartedSpeaking, now: float) -> None:
    call.answers.begin_speech()
    is_new = call.turns.begin_speech(now)
    call.interruptions.begin_speech(now)
    if is_new:  # Told last: nothing comes before the `clear`.
        call.note(CallerSpeechBegan())


def _report_latency(call: "Call", report: deepgram.LatencyReport, _: float) -> None:
    call.turns.report_latency(report)


def _note_frustration(call: "Call", found: deepgram.FrustrationDetected, _: float) -> None:
    call.note(CallerFrustrated(found.count, found.escalated))


# --- keys ----------------------------------------------------------------------------------------


def _note_key(call: "Call", message: twilio.Dtmf, now: float) -> None:
    call.keys.note_press(message.dtmf.digit)
    call.hear_caller(now)


def _press_key(call: "Call", message: twilio.Dtmf, now: float) -> None:
    _note_key(call, message, now)
    call.keys.press(message.dtmf.digit, now)


# --- functions -----------------------------------------------------------------------------------


def _call_functions(call: "Call", request: deepgram.FunctionCallRequest, now: float) -> None:
    call.answers.call_functions(request)
    for function in request.functions:
        if not call.link.is_ready:
            break  # The agent is not ready, or its violations have ended the call.
        wrong = call.functions.call(function, now)
        if wrong is not None:
            call.health.violate("agent", wrong, now)


def _cancel_functions(call: "Call", cancelled: deepgram.FunctionCallCancelled, _: float) -> None:
    call.functions.cancel(cancelled)
    call.answers.cancel_functions()


def _end_endpoint(call: "Call", _: deepgram.FunctionCallResponse, now: float) -> None:
    call.answers.end_endpoint(now)


def _begin_function(call: "Call", began: inputs.ToolBegan, _: float) -> None:
    call.functions.begin(began.id)


def _finish_function(call: "Call", finished: inputs.ToolFinished, now: float) -> None:
    call.functions.finish(finished, now)


# --- requests ------------------------------------------------------------------------------------


def _take_request(call: "Call", requested: inputs.Requested, now: float) -> None:
    request_id, request = requested.id, requested.request
    refusal = call.refusal(request)
    if refusal is not None:
        call.do(Reply(request_id, False, refusal))
        return
    match request:
        case requests.HangUp(by="operator", farewell=""):
            call.do(Reply(request_id, True, call.phrases.call_over))
            call.end(Slug.OPERATOR_HUNG_UP, "", now)
        case requests.HangUp():
            how = Slug.AGENT_HUNG_UP if request.by == "agent" else Slug.OPERATOR_HUNG_UP
            call.farewell.close(how, request.farewell, now, request_id)
        case requests.Leave() if call.is_taken:
            call.handoff.leave(request.action, now)
            call.do(Reply(request_id, True, call.phrases.done))
        case requests.Leave():
            call.farewell.close(request.action, request.first, now, request_id)
        case requests.SwitchAgent():
            call.farewell.close(request, request.first, now, request_id)
        case requests.Say():
            say = deepgram.InjectAgentMessage(message=request.text, behavior=request.behavior)
            call.pending.send(say, request_id, now)
        case requests.Tell():
            call.pending.tell(request.text, request_id, now)
        case requests.Update():
            call.pending.send(request.message, request_id, now)
        case requests.TakeOver():
            call.operator.take(request.by, request_id, now)
        case requests.HandBack():
            call.operator.give_back(request.note, request_id, now)
        case requests.AskDigits():
            call.keys.ask_secret(request_id, request, now)
        case requests.Mute():
            call.turns.mute(request.on, now)
            call.answers.expect_nothing()
            what = call.phrases.muted if request.on else call.phrases.unmuted
            call.do(Reply(request_id, True, what))


def _cancel_request(call: "Call", cancelled: inputs.RequestCancelled, now: float) -> None:
    call.keys.cancel(cancelled.id, now)
    call.farewell.cancel(cancelled.id, now)


def _lose_operator(call: "Call", _: inputs.OperatorLost, now: float) -> None:
    call.operator.lose(now)


def _acknowledge(call: "Call", message: Acknowledgement, _: float) -> None:
    call.pending.acknowledge(message)
    if isinstance(message, deepgram.SpeakUpdated):
        call.turns.forget_voice()


def _take_warning(call: "Call", warning: deepgram.Warning, now: float) -> None:
    call.note(AgentWarned(warning.code, warning.description, fatal=False))
    if warning.code in _INJECTION_REFUSED:
        _refuse_injected(call, warning.code, warning.description, now)
    elif warning.code in TRIES_NEXT:
        call.answers.put_off(now)
    elif warning.code == APPROACHING:
        call.rollover.warn()
    elif warning.code == "UPDATE_LISTEN_UNSUPPORTED_FIELDS_CHANGED":
        call.pending.refuse_listen(warning.description)


def _refuse_injection(call: "Call", refused: deepgram.InjectionRefused, now: float) -> None:
    call.note(AgentWarned("INJECTION_REFUSED", refused.message, fatal=False))
    _refuse_injected(call, "", refused.message, now)


def _refuse_injected(call: "Call", code: str, why: str, now: float) -> None:
    refused = call.pending.refuse(why, while_agent_speaks=code == _DURING_AGENT_SPEECH)
    if refused is not None:
        call.answers.expect_nothing()
    if refused is not None and refused.request_id is None:
        if isinstance(refused.message, deepgram.InjectUserMessage):
            call.keys.tell_later(refused.message)
        else:
            call.keys.refuse_prompt(refused.message, now)
    # Queued speech, such as last words, is refused only while the caller speaks
    # (deepgram.md §2.14): so the caller is there and is speaking.
    if call.farewell.is_closing:
        call.hear_caller(now)
        call.farewell.refuse(now)


# --- trouble, and the end ------------------------------------------------------------------------


def _lose_leg(call: "Call", lost: inputs.LegLost, now: float) -> None:
    if lost.leg == "agent":
        call.link.lose(lost, now)
    elif lost.oversized:
        call.end(Slug.CALLER_LEG_OVERSIZED, lost.why, now)
    else:
        call.broken_stream.lose(lost.why, now)


def _lose_agent(call: "Call", lost: inputs.LegLost, now: float) -> None:
    # The call left the stream, so its closing is expected.
    if lost.leg == "agent":
        call.link.lose(lost, now)


def _stall_leg(call: "Call", stalled: inputs.LegStalled, now: float) -> None:
    call.health.stall(stalled, now)


def _recover_leg(call: "Call", recovered: inputs.LegRecovered, _: float) -> None:
    call.health.recover(recovered)


def _count_garbage(call: "Call", received: inputs.GarbageReceived, now: float) -> None:
    call.health.violate(received.leg, received.what, now)


def _hang_up(call: "Call", _: twilio.Stop | inputs.CallOver, now: float) -> None:
    call.end(Slug.CALLER_HUNG_UP, "", now)


def _reach_nobody(call: "Call", reached: inputs.NobodyReached, now: float) -> None:
    call.end(reached.how, reached.detail, now)


def _shut_down(call: "Call", _: inputs.ServerStopped, now: float) -> None:
    call.end(Slug.SHUT_DOWN, "", now)


def _release(call: "Call", released: inputs.Released, now: float) -> None:
    call.release(released, now)


def _break_down(call: "Call", broke: inputs.CallBroke, now: float) -> None:
    call.end(Slug.INTERNAL_ERROR, broke.what, now)


# --- the tables ----------------------------------------------------------------------------------

_W, _S, _T, _B, _C, _A = (
    Phase.WAITING,
    Phase.SETTLING,
    Phase.TALKING,
    Phase.BARGE_IN,
    Phase.CLOSING,
    Phase.AWAY,
)
_LIVE: Final = (_W, _S, _T, _B, _C, _A)

_HANDLED: Final[tuple[tuple[Handler, tuple[type, ...], tuple[Phase, ...]], ...]] = (
    (_announce_stream, (inputs.CallAnnounced,), (_W,)),
    (_take_over, (inputs.ProcessDied,), (_W,)),
    (_expect_back, (inputs.CallerReturning,), (_W, _A)),
    (_start_stream, (twilio.Start,), (_W,)),
    (_come_back, (twilio.Start,), (_A,)),
    (_refuse_second_start, (twilio.Start,), (_S, _T, _B, _C)),
    (_refuse_second_connected, (twilio.Connected,), _LIVE),
    (_begin_handoff, (inputs.HandoffBegun,), (_A,)),
    (_finish_handoff, (inputs.HandoffDone,), (_A,)),
    (_end_handoff, (inputs.CallOver,), (_A,)),
    (_welcome, (deepgram.Welcome,), (_W, _S, _A)),
    (_apply_settings, (deepgram.SettingsApplied,), (_W, _S, _A)),
    (_refuse_agent, (inputs.AgentLegRefused,), _LIVE),
    (_give_up_agent, (inputs.AgentLegUnreachable,), _LIVE),
    (_fail_agent, (deepgram.Error,), _LIVE),
    (_settle_spare, (inputs.SpareWelcomed,), _LIVE),
    (_use_spare, (inputs.SpareReady,), _LIVE),
    (_lose_spare, (inputs.SpareLost,), _LIVE),
    (_hold_text, (deepgram.ConversationText,), (_W,)),
    (_take_text, (deepgram.ConversationText,), (_S, _T, _B, _C, _A)),
    (_take_late_turn, (inputs.LateTurn,), _LIVE),
    (_hold_audio_done, (deepgram.AgentAudioDone,), (_W,)),
    (_end_late_audio, (deepgram.AgentAudioDone,), (_B,)),
    (_finish_utterance, (deepgram.AgentAudioDone,), (_S, _T, _C, _A)),
    (_echo_mark, (twilio.Mark,), (_S, _T, _B, _C)),
    (_hear_speech, (deepgram.UserStartedSpeaking,), (_W, _S, _B, _A)),
    (_interrupt, (deepgram.UserStartedSpeaking,), (_T, _C)),
    (_report_latency, (deepgram.LatencyReport,), _LIVE),
    (_note_frustration, (deepgram.FrustrationDetected,), _LIVE),
    (_note_key, (twilio.Dtmf,), (_W, _A)),
    (_press_key, (twilio.Dtmf,), (_S, _T, _B, _C)),
    (_call_functions, (deepgram.FunctionCallRequest,), (_W, _T, _B, _C, _A)),
    (_cancel_functions, (deepgram.FunctionCallCancelled,), _LIVE),
    (_end_endpoint, (deepgram.FunctionCallResponse,), _LIVE),
    (_begin_function, (inputs.ToolBegan,), _LIVE),
    (_finish_function, (inputs.ToolFinished,), _LIVE),
    (_take_request, (inputs.Requested,), _LIVE),
    (_cancel_request, (inputs.RequestCancelled,), _LIVE),
    (_lose_operator, (inputs.OperatorLost,), _LIVE),
    (
        _acknowledge,
        (
            deepgram.PromptUpdated,
            deepgram.ThinkUpdated,
            deepgram.SpeakUpdated,
            deepgram.ListenUpdated,
        ),
        _LIVE,
    ),
    (_take_warning, (deepgram.Warning,), _LIVE),
    (_refuse_injection, (deepgram.InjectionRefused,), _LIVE),
    (_lose_leg, (inputs.LegLost,), (_W, _S, _T, _B, _C)),
    (_lose_agent, (inputs.LegLost,), (_A,)),
    (_stall_leg, (inputs.LegStalled,), _LIVE),
    (_recover_leg, (inputs.LegRecovered,), _LIVE),
    (_count_garbage, (inputs.GarbageReceived,), _LIVE),
    (_hang_up, (twilio.Stop,), (_W, _S, _T, _B, _C)),
    (_hang_up, (inputs.CallOver,), (_W, _S, _T, _B, _C)),
    (_reach_nobody, (inputs.NobodyReached,), _LIVE),
    (_shut_down, (inputs.ServerStopped,), _LIVE),
    (_release, (inputs.Released,), _LIVE),
    (_break_down, (inputs.CallBroke,), _LIVE),
)

_IGNORED: Final[tuple[tuple[str, tuple[type, ...], tuple[Phase, ...]], ...]] = (
    (
        "Twilio asked the webhook again: the call is what it was.",
        (inputs.CallAnnounced,),
        (_S, _T, _B, _C, _A),
    ),
    ("This process has the call.", (inputs.ProcessDied,), (_S, _T, _B, _C, _A)),
    ("The caller is back.", (inputs.CallerReturning,), (_S, _T, _B, _C)),
    ("It is of the stream that was left.", (twilio.Stop,), (_A,)),
    (
        "Nothing was sent to Twilio since the stream began or was left.",
        (twilio.Mark,),
        (_W, _A),
    ),
    (
        "The stream is back already.",
        (inputs.HandoffBegun, inputs.HandoffDone),
        (_W, _S, _T, _B, _C),
    ),
    ("The agent is ready.", (deepgram.Welcome, deepgram.SettingsApplied), (_T, _B, _C)),
    ("The agent is not ready.", (deepgram.FunctionCallRequest,), (_S,)),
    ("Audio comes in by `hear`.", (twilio.Media,), _LIVE),
    (
        "Nothing hangs on it.",
        (
            deepgram.AgentThinking,
            deepgram.AgentStartedSpeaking,
            deepgram.CustomFromThinkProvider,
            deepgram.History,
            deepgram.ThinkLiveUpdated,
        ),
        _LIVE,
    ),
    (
        "Vendors may add messages (deepgram.md §3.11).",
        (twilio.UnknownTwilioMessage, deepgram.UnknownAgentMessage),
        _LIVE,
    ),
)


def _handlers() -> dict[Pair, Handler]:
    table: dict[Pair, Handler] = {}
    for handler, kinds, phases in _HANDLED:
        for pair in _pairs(kinds, phases):
            assert pair not in table, f"two handlers for {pair}"
            table[pair] = handler
    return table


def _ignored() -> dict[Pair, str]:
    table = {pair: why for why, kinds, phases in _IGNORED for pair in _pairs(kinds, phases)}
    every = {kind for _, kinds, _ in (*_HANDLED, *_IGNORED) for kind in kinds}
    return table | {(Phase.ENDED, kind): "Nothing follows the end." for kind in every}


def _pairs(kinds: tuple[type, ...], phases: tuple[Phase, ...]) -> Iterator[Pair]:
    return ((phase, kind) for kind in kinds for phase in phases)


HANDLERS: Final = _handlers()
IGNORED: Final = _ignored()
"""Pairs of phase and input that are ignored on purpose, with the reason."""
