"""Rules of one phone call: inputs go in, commands come out.

Start reading at `receive`. No code here waits, reads a clock or uses a socket: time is an
argument, in seconds. Commands are passed to `do`, in order and at once; `do` must not call any
method of the call. After every `receive` and `tick`, set a timer for `deadline()`.
"""

from collections.abc import Callable
from typing import Final

from offhook.call import inputs
from offhook.call.agent_link import AgentLink
from offhook.call.agent_loss import AgentLoss
from offhook.call.answer_watch import AnswerWatch
from offhook.call.broken_stream import BrokenStream
from offhook.call.call_settings import CallSettings
from offhook.call.call_state import CallPart, CallState, CallSteps
from offhook.call.commands import ChangeAgent, Command, Piece, Play
from offhook.call.ending import Ending, Slug
from offhook.call.farewell import Farewell
from offhook.call.functions import Functions
from offhook.call.handlers import HANDLERS, IGNORED, UnexpectedInputError
from offhook.call.handoff import Handoff
from offhook.call.history import ConversationHistory
from offhook.call.hold_sound import HoldSound
from offhook.call.inputs import Input
from offhook.call.interruptions import Interruptions
from offhook.call.key_input import KeyInput
from offhook.call.leg_health import LegHealth
from offhook.call.limits import Limits
from offhook.call.operator_voice import OperatorVoice
from offhook.call.pending_requests import PendingRequests
from offhook.call.phases import Phase, Step
from offhook.call.phrases import Phrases
from offhook.call.recovery import Recovery
from offhook.call.requests import CallRequest, SwitchAgent, TakeOver, refusal
from offhook.call.rollover import SESSION_S, Rollover
from offhook.call.turns import Turns
from offhook.events.types import AgentSwitched, CallTakenOver, InterruptionCause

ROUNDS_MAX: Final = 100
"""Rounds in which `tick` must have served all that is due; more show a fault in a part."""

_CALLER_GONE: Final = frozenset(
    {
        Slug.CALLER_HUNG_UP,
        Slug.CALLER_LEG_LOST,
        Slug.CALLER_LEG_STUCK,
        Slug.CALLER_LEG_OVERSIZED,
    }
)


class Call:
    """Rules and state of one phone call, begun at `now` in seconds. `do` gets each command.

    `session_s` are the seconds of an agent session after which another one takes over.
    `spread`, at random from 0 up to 1, spreads the dials of calls that lose their agents together.
    `asks_after`: Twilio asks by itself what comes after a stream. `dials_ahead`: the next stream
    comes to this process, so that the agent is dialled before it.
    """

    def __init__(
        self,
        settings: CallSettings,
        now: float,
        do: Callable[[Command], None],
        *,
        session_s: float = SESSION_S,
        spread: float = 0.0,
        asks_after: bool = False,
        dials_ahead: bool = True,
    ) -> None:
        steps = CallSteps(
            self.end,
            self._close,
            self._switch,
            self._begin_talking,
            self._interrupt,
            self._lose_agent,
            self._go_on,
            self._expect_answer,
            self._end_functions,
        )
        state = self._state = CallState(settings, now, do, steps)
        history = self.history = ConversationHistory()
        self.do = state.do
        self.note = state.note
        self.health = LegHealth(state)
        self.pending = PendingRequests(state, history)
        self.functions = Functions(state, history, self.pending)
        self.link = AgentLink(
            state, self.functions, self.pending, self.health, now, dials_ahead=dials_ahead
        )
        self.turns = Turns(state, self.link, history, now)
        self.interruptions = Interruptions(state, self.link, self.turns)
        self.recovery = Recovery(
            state, history, self.functions, self.pending, self.link, self.turns, spread
        )
        self.hold_sound = HoldSound(state, self.link, self.turns)
        self.answers = AnswerWatch(state, self.functions, self.pending, self.link, self.turns)
        self.limits = Limits(state, self.turns, self.pending, now)
        self.keys = KeyInput(
            state,
            history,
            self.pending,
            self.functions,
            self.link,
            self.turns,
            self.limits,
        )
        self.rollover = Rollover(
            state,
            history,
            self.pending,
            self.functions,
            self.link,
            self.turns,
            self.limits,
            self.keys,
            self.recovery,
            session_s,
        )
        self.handoff = Handoff(
            state, self.link, self.turns, self.limits, self.keys, self.health, self.pending
        )
        self.farewell = Farewell(
            state,
            self.turns,
            self.pending,
            self.functions,
            self.limits,
            self.keys,
            self.handoff,
        )
        self.operator = OperatorVoice(
            state,
            self.link,
            self.turns,
            self.pending,
            self.recovery,
            self.answers,
            self.limits,
            self.keys,
            self.farewell,
        )
        self.broken_stream = BrokenStream(
            state,
            history,
            self.functions,
            self.link,
            self.turns,
            self.limits,
            self.keys,
            self.health,
            self.handoff,
            self.farewell,
            asks_after=asks_after,
        )
        self._parts: tuple[CallPart, ...] = (
            self.handoff,
            self.link,
            self.recovery,
            self.hold_sound,
            self.turns,
            self.interruptions,
            self.limits,
            self.farewell,
            self.operator,
            self.keys,
            self.functions,
            self.pending,
            self.health,
            self.rollover,
            self.answers,
        )
        self._lay_audio_path()

    def _lay_audio_path(self) -> None:
        """Let the session call the parts that handle audio directly, one call less for a frame."""
        part = self.interruptions if self.interruptions.needs_audio else None
        self.hear: Callable[[bytes, float], bytes | None] = (part or self.link).hear
        """Take audio of the caller; return what to forward to the agent at once, if anything."""
        self.speak: Callable[[bytes, float], list[Piece]] = (part or self.turns).speak
        """Take audio of the agent; return what to send to Twilio at once, with which marks."""

    def relay(self, audio: bytes, now: float) -> list[Piece]:
        """Take audio of an operator; return what to send to Twilio at once, with which marks."""
        return self.operator.speak(audio, now)

    def unheard(self, now: float) -> bytes:
        """Return what was sent to Twilio and is not played yet, mu-law."""
        return self.turns.playback.unheard(now)

    @property
    def phase(self) -> Phase:
        """The phase of the call."""
        return self._state.phase

    @property
    def ending(self) -> Ending | None:
        """The ending of the call; None while it lasts."""
        return self._state.ending

    @property
    def is_taken(self) -> bool:
        """True while an operator speaks with the caller, or was lost a moment ago."""
        return self._state.is_taken

    @property
    def taken_by(self) -> str:
        """Name of that operator; empty while the agent speaks with the caller."""
        return self._state.taken_by

    def refusal(self, request: CallRequest) -> str | None:
        """Return why a request would be refused now, in the agent's words; None when it is not."""
        state = self._state
        if isinstance(request, TakeOver):
            return self.operator.refusal(request.by)
        return refusal(
            request,
            state.phase,
            state.phrases,
            is_secret=self.keys.is_secret,
            operator_speaks=state.operator_speaks,
        )

    @property
    def phrases(self) -> Phrases:
        """The phrases of the call's agent."""
        return self._state.phrases

    # --- in ------------------------------------------------------------------------------------

    def receive(self, message: Input, now: float) -> None:
        """Handle one input of the call.

        Raises UnexpectedInputError when no handler takes it in this phase and it is not ignored.
        """
        pair = (self._state.phase, type(message))
        handler = HANDLERS.get(pair)
        if handler is not None:
            handler(self, message, now)
        elif pair not in IGNORED:
            raise UnexpectedInputError(f"{pair[1].__name__} while {pair[0].value}")

    def deadline(self) -> float | None:
        """Return when `tick` must be called at the latest, in seconds; None: never."""
        if self._state.phase is Phase.ENDED:
            return None
        first: float | None = None
        for part in self._parts:
            due = part.due()
            if due is not None and (first is None or due < first):
                first = due
        return first

    def tick(self, now: float) -> None:
        """Do what is due by now."""
        for _ in range(ROUNDS_MAX):
            due = self.deadline()
            if due is None or now < due:
                return
            for part in self._parts:
                part.tick(now)
        raise AssertionError("a part of a call is due whatever is done")

    # --- what concerns several parts -----------------------------------------------------------

    def hear_caller(self, now: float) -> None:
        """Note a sign of the caller, who may have been considered silent."""
        self.limits.hear_caller(now)
        self.recovery.hear_caller()
        self.farewell.hear_caller(now)

    def _interrupt(self, cause: InterruptionCause, now: float) -> None:
        """Cut the agent, as the caller speaks, unless it says last words."""
        self.hear_caller(now)
        if self._state.is_taken:
            return  # What is played is an operator's, whom the caller may speak over.
        # Last words at the time limit are not cut. A caller who was considered silent goes on.
        if self._state.phase is Phase.TALKING:
            self.answers.settle()
            self.turns.interrupt(cause, now)

    def take_over(self, died: inputs.ProcessDied, now: float) -> None:
        """Go on with a call whose process has died, as it was then."""
        resumed = died.call
        self.link.is_resumed = True
        after_ms = max(0, self._state.ms_since_start(now) - resumed.last_ms)
        self.note(CallTakenOver(after_ms, died.epoch, died.node))
        self.pending.restore(died.changes)
        unknown = self.functions.settle(resumed, died.unrepeatable, now)
        retold = resumed.retold(self.phrases, unknown)
        self.history.restore(retold.turns)
        self.turns.resume(resumed)
        self.operator.resume(resumed, now)
        if resumed.started_ms is not None:
            started = self._state.at(resumed.started_ms)
            self.limits.resume(started, resumed.streamed_ms / 1000)
        self.handoff.resume(died, retold, now)

    def _begin_talking(self, now: float) -> None:
        """Let both sides hear each other, as both legs are up."""
        self._state.step(Step.AGENT_READY)
        self.limits.listen(now)
        self.interruptions.begin_talking()
        self.answers.begin_talking()
        self.recovery.finish(now)
        self.link.forward(now)
        # Speech from before the stream is handled like any other.
        for speech in self.link.take_speech():
            if isinstance(speech, bytes):
                self.do(Play(self.speak(speech, now)))
            else:
                self.receive(speech, now)
        if self._state.settings.is_stored:
            self.pending.repeat_changes()
        self.handoff.tell(now)
        self.operator.tell(now)
        self.keys.tell(now)

    def _switch(self, request: SwitchAgent, now: float) -> None:
        """Hang up on the agent and dial another one, which greets the caller."""
        self._state.step(Step.AGENT_SWITCHED)
        self.turns.cut(now, clear=False)
        self.answers.meet()
        self.link.hang_up()
        self.link.greets = True
        self.pending.forget_changes()
        self._state.settings = request.settings
        self.turns.forget_voice()
        self.keys.use_settings()
        self._lay_audio_path()
        self.note(AgentSwitched(request.agent))
        self.do(ChangeAgent(request.agent))
        self.link.dial(now)

    def _lose_agent(self, loss: AgentLoss, now: float) -> None:
        if not self.link.has_leg:
            return  # Offhook has closed it.
        self.answers.settle()
        self.recovery.lose(loss, now)
        self.rollover.replace_lost(now)
        if self.phase is Phase.CLOSING:
            self.farewell.lose_agent(now)

    def _go_on(self, now: float) -> None:
        self.answers.expect_nothing()
        self.recovery.seek(now)

    def _expect_answer(self, now: float) -> None:
        self.answers.expect(now)

    def _end_functions(self, now: float) -> None:
        self.answers.end_functions(now)

    def _close(self, how: Slug, text: str, now: float) -> None:
        self.farewell.close(how, text, now)

    # --- the end -------------------------------------------------------------------------------

    def end(self, how: Slug, detail: str, now: float) -> None:
        """End the call, once; later endings are ignored."""
        state = self._state
        if state.phase is Phase.ENDED:
            return
        self.turns.note_late()
        self.operator.end(now)
        self.turns.cut(now, clear=how not in _CALLER_GONE)
        self.link.note_overflow()
        self.keys.end_secret(state.phrases.call_over, now)
        self.functions.drop("call_over")
        self.pending.forget(state.phrases.call_over)
        self.farewell.drop()
        state.step(Step.ENDED)
        self.link.close()
        ending = Ending(how, detail)
        self.note(ending.event(self.handoff.length_ms(now)))
        state.finish(ending)

    def release(self, released: inputs.Released, now: float) -> None:
        """Give the call up, as another process goes on with it: it has no ending here.

        Of the agent's speech counts what was heard. Functions are called off, or their outcome is
        unknown, as when an agent is lost.
        """
        state = self._state
        self.turns.note_late()
        self.turns.cut(now, clear=False)
        self.link.note_overflow()
        self.keys.end_secret(state.phrases.digits_cut_short, now)
        self.functions.hold()
        self.functions.end_open(now)
        self.pending.forget(state.phrases.agent_gone)
        self.farewell.drop()
        state.step(Step.ENDED)
        self.link.close()
        self.note(released.event)
        state.let_go()

    def give_up(self, what: str, now: float) -> Ending:
        """End the call after a fault in its rules, with its last event and End only.

        For the caller of `receive`, when that raises.
        """
        state = self._state
        state.phase = Phase.ENDED
        ending = Ending(Slug.INTERNAL_ERROR, what)
        state.note(ending.event(state.ms_since_start(now)))
        state.finish(ending)
        return ending
