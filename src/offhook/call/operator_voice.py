"""An operator who speaks with the caller in the agent's place, and hands the caller back.

The agent hears the caller all the while and is muted, as what it would say is no answer to the
operator's words, which it cannot hear. Its functions are not run: the caller's words are meant for
the operator. Limits of the call wait until the caller is with the agent again.

The caller must not be left in silence, so an operator whose socket is gone, or carries no sound, is
taken to have handed the caller back.
"""

from typing import Final

from offhook.audio import FRAME_BYTES, milliseconds
from offhook.call.agent_link import AgentLink
from offhook.call.answer_watch import AnswerWatch
from offhook.call.call_state import CallState, is_due, to_ms
from offhook.call.commands import Piece, Play, ReleaseOperator, Reply
from offhook.call.farewell import Farewell
from offhook.call.key_input import KeyInput
from offhook.call.limits import Limits
from offhook.call.pending_requests import PendingRequests
from offhook.call.phases import OperatorState, OperatorStep, Phase, operator_after
from offhook.call.phrases import fill
from offhook.call.recovery import Recovery
from offhook.call.resumed import ResumedCall
from offhook.call.turns import Turns
from offhook.events.types import (
    AudioDropped,
    HandBackCause,
    OperatorHandedBack,
    OperatorTookOver,
)

RETURN_S: Final = 3.0
"""Seconds that an operator whose socket is gone has to come back, before the agent goes on."""
SILENT_S: Final = 5.0
"""Seconds without a frame of the operator's after which the agent goes on."""
LAG_S: Final = 0.5
"""Seconds of the operator's audio that may wait to be played; beyond, frames are dropped.

A network that held frames back would else keep the operator late until the end.
"""

ON_STREAM: Final = frozenset({Phase.SETTLING, Phase.TALKING, Phase.BARGE_IN, Phase.CLOSING})
"""Phases in which the caller is on a stream, and can be taken over."""
_HEARD: Final = ON_STREAM - {Phase.CLOSING}
_LISTENING: Final = frozenset({Phase.TALKING, Phase.BARGE_IN})


class OperatorVoice:
    """The operator of one call, if any speaks with its caller."""

    def __init__(
        self,
        state: CallState,
        link: AgentLink,
        turns: Turns,
        pending: PendingRequests,
        recovery: Recovery,
        answers: AnswerWatch,
        limits: Limits,
        keys: KeyInput,
        farewell: Farewell,
    ) -> None:
        self._state = state
        self._link = link
        self._turns = turns
        self._pending = pending
        self._recovery = recovery
        self._answers = answers
        self._limits = limits
        self._keys = keys
        self._farewell = farewell
        self._since = 0.0
        self._due = 0.0
        """Time in seconds at which the operator, silent or lost until then, hands back."""
        self._late_bytes = 0
        self._news = ""

    # --- the audio path ------------------------------------------------------------------------

    def speak(self, audio: bytes, now: float) -> list[Piece]:
        """Take audio of the operator; return what to send to Twilio at once, with which marks.

        It is no utterance of the agent's: no AgentSaid has it.
        """
        if self._state.operator is not OperatorState.SPEAKING:
            return []
        self._due = now + SILENT_S
        if self._state.phase not in _HEARD:
            return []
        if self._turns.ends_at > now + LAG_S:
            self._late_bytes += len(audio)
            return []
        return self._turns.playback.relay(audio, now)

    # --- requests ------------------------------------------------------------------------------

    def refusal(self, by: str) -> str | None:
        """Return why an operator cannot take over now; None when they can."""
        state = self._state
        if state.operator is OperatorState.SPEAKING and state.taken_by != by:
            return state.operator_speaks
        if state.operator is OperatorState.ABSENT and state.phase not in ON_STREAM:
            return state.phrases.no_caller
        return None

    def take(self, by: str, request_id: int, now: float) -> None:
        """Let an operator speak with the caller. Only what `refusal` does not refuse comes here."""
        state = self._state
        if state.taken_by != by:
            if state.operator is OperatorState.LOST:
                self._note_end("", "lost", now)
            self._since = now
            state.note(OperatorTookOver(by))
        was_absent = state.operator is OperatorState.ABSENT
        state.taken_by = by
        self._step(OperatorStep.TOOK_OVER)
        self._due = now + SILENT_S
        self._news = ""
        if was_absent:
            self._silence_agent(now)
        state.do(Reply(request_id, True, state.phrases.taken_over))

    def _silence_agent(self, now: float) -> None:
        self._keys.end_secret(self._state.operator_speaks, now)
        self._farewell.call_off(now)
        self._turns.mute(True, now)
        self._answers.expect_nothing()
        self._link.greets = False  # The caller has been spoken to.

    def give_back(self, note: str, request_id: int, now: float) -> None:
        """Give the caller back to the agent, which is told the note."""
        state = self._state
        if not state.is_taken:
            state.do(Reply(request_id, False, state.phrases.not_taken_over))
            return
        words = fill(state.phrases.handed_back_note, note=note) if note else ""
        self._hand_back(note, "asked", fill(state.phrases.handed_back, note=words), now)
        state.do(Reply(request_id, True, state.phrases.agent_has_caller))

    # --- what happens --------------------------------------------------------------------------

    def lose(self, now: float) -> None:
        """Note that the operator's socket is gone."""
        if self._state.operator is OperatorState.SPEAKING:
            self._step(OperatorStep.LOST)
            self._due = now + RETURN_S

    def resume(self, resumed: ResumedCall, now: float) -> None:
        """Hand back a caller whose operator was lost with the process of the call."""
        if resumed.taken is not None:
            by, at_ms = resumed.taken
            after_ms = self._state.ms_since_start(now) - at_ms
            self._state.note(OperatorHandedBack(by, "", after_ms, "process_died"))
            self._news = self._state.phrases.operator_lost

    def tell(self, now: float) -> None:
        """Tell the agent what happened, once it listens."""
        news, self._news = self._news, ""
        if news:
            self._pending.tell(news, None, now)

    def end(self, now: float) -> None:
        """Note that the call, and with it the operator's part, is over."""
        if self._state.is_taken:
            self._leave("", "call_over", now)

    # --- time ----------------------------------------------------------------------------------

    def due(self) -> float | None:
        """Return when a silent or lost operator hands the caller back, in seconds; None: never."""
        return self._due if self._state.is_taken else None

    def tick(self, now: float) -> None:
        """Hand back the caller of an operator who is silent or lost."""
        if is_due(self.due(), now):
            is_lost = self._state.operator is OperatorState.LOST
            why: HandBackCause = "lost" if is_lost else "silent"
            self._hand_back("", why, self._state.phrases.operator_lost, now)

    # --- inside --------------------------------------------------------------------------------

    def _hand_back(self, note: str, why: HandBackCause, news: str, now: float) -> None:
        self._leave(note, why, now)
        if self._state.phase in ON_STREAM:
            rest = self._turns.playback.end_relay()
            if rest:
                self._state.do(Play(rest))
        self._turns.hand_back(now)
        self._limits.hand_back(now)
        self._recovery.hand_back(now)
        self._news = news
        if self._state.phase in _LISTENING:
            self.tell(now)

    def _leave(self, note: str, why: HandBackCause, now: float) -> None:
        self._note_end(note, why, now)
        self._step(OperatorStep.HANDED_BACK)
        self._state.taken_by = ""
        self._state.do(ReleaseOperator(why))

    def _note_end(self, note: str, why: HandBackCause, now: float) -> None:
        if self._late_bytes:
            self._state.note(AudioDropped("caller", milliseconds(self._late_bytes), "full"))
            self._late_bytes = 0
        after_ms = to_ms(now - self._since)
        self._state.note(OperatorHandedBack(self._state.taken_by, note, after_ms, why))

    def _step(self, step: OperatorStep) -> None:
        self._state.operator = operator_after(self._state.operator, step)


def is_frame(audio: bytes) -> bool:
    """Return whether audio of an operator has a size that can be passed on: 20 to 200 ms."""
    return 0 < len(audio) <= 10 * FRAME_BYTES and not len(audio) % FRAME_BYTES
