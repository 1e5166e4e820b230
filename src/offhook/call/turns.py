"""Turns of both sides: the agent's audio to the caller, the caller's turns, and barge-ins."""

import math
from typing import Final

from offhook.audio import milliseconds
from offhook.call.agent_link import AgentLink
from offhook.call.call_state import CallState, to_ms
from offhook.call.commands import ClearCaller, Piece, Play
from offhook.call.history import ConversationHistory
from offhook.call.phases import Phase, Step
from offhook.call.playback import Playback
from offhook.call.resumed import ResumedCall
from offhook.deepgram import messages as deepgram
from offhook.events.types import (
    AgentMuted,
    AgentSaid,
    Answered,
    AudioDropped,
    CallerSaid,
    Interrupted,
    InterruptionCause,
    LatencyReported,
)

UNENDED_S: Final = 1.0
"""Seconds after its last sound was played in which an utterance counts as unfinished."""

FENCE_QUIET_S: Final = 0.5
"""Seconds without late audio of a cut utterance after which that audio counts as over."""

# Kept here for speed: an enum class looks up its attributes through the metaclass.
_WAITING: Final = Phase.WAITING
_TALKING: Final = Phase.TALKING
_BARGE_IN: Final = Phase.BARGE_IN
_CLOSING: Final = Phase.CLOSING


class Turns:
    """Speech of both sides in one call."""

    def __init__(
        self, state: CallState, link: AgentLink, history: ConversationHistory, now: float
    ) -> None:
        self.playback: Final = Playback(now)
        self._state = state
        self._link = link
        self._history = history
        self._is_muted = False
        self._muted_bytes = 0
        self._late_at = now
        self._late_bytes = 0
        self._speech_start_ms: int | None = None
        self._turn_at: float | None = None
        self._answer: tuple[str, float, float] | None = None
        self._was_heard = False

    @property
    def has_spoken(self) -> bool:
        """True once the caller has heard something of the agent, or is about to."""
        return self._was_heard or self.playback.has_speech

    @property
    def ends_at(self) -> float:
        """Time in seconds at which all sent audio will have been played; in the past when idle."""
        return self.playback.ends_at

    @property
    def is_agent_idle(self) -> bool:
        """True if the agent is in no utterance and the caller has heard all that was sent."""
        return not self.playback.unfinished and not self.playback.unconfirmed

    @property
    def is_caller_speaking(self) -> bool:
        """True from the beginning of the caller's speech until the turn is confirmed."""
        return self._speech_start_ms is not None

    @property
    def owes_answer(self) -> bool:
        """True from the end of a caller's turn until the answer begins to be heard."""
        return self._turn_at is not None

    @property
    def is_muted(self) -> bool:
        """True while the caller hears nothing of the agent."""
        return self._is_muted

    @property
    def utterances(self) -> int:
        """Number of utterances that the agent has begun."""
        return self.playback.begun

    def resume(self, resumed: ResumedCall) -> None:
        """Go on with the utterances of a call that another process had."""
        for said in resumed.cut:
            self._state.note(said)
        self.playback.resume(resumed.utterances)
        self._is_muted = resumed.is_muted and resumed.taken is None
        if resumed.is_muted and not self._is_muted:
            self._state.note(AgentMuted(False))

    # --- the agent -----------------------------------------------------------------------------

    def speak(self, chunk: bytes, now: float) -> list[Piece]:
        """Take audio of the agent; return what to send to Twilio at once, with which marks."""
        if self._is_muted:
            self._muted_bytes += len(chunk)
            return []
        phase = self._state.phase
        if phase is _BARGE_IN:
            if now - self._late_at < FENCE_QUIET_S:
                self._late_at = now
                self._late_bytes += len(chunk)
                return []
            self.lift_fence()  # The timer fired late.
        elif phase is not _TALKING and phase is not _CLOSING:
            if phase is _WAITING:
                self._link.hold_speech(chunk, len(chunk))
            return []
        pieces = self.playback.play(chunk, now)
        if self._turn_at is not None and self._answer is None:
            self._answer = (self.playback.first_mark(), self._turn_at, now)
        return pieces

    def announce(self, text: str, behavior: str) -> None:
        """Note what the agent is about to say, or is saying, and why (deepgram.md §3.2)."""
        if self._state.phase is _BARGE_IN:
            self.lift_fence()
        else:
            self._speech_start_ms = None  # The sound was not speech: the agent takes its turn.
        if not self._is_muted:
            is_kept = text.strip() == self._state.phrases.one_moment.strip()
            announced = self.playback.say(text, behavior, is_kept=is_kept)
            if announced is not None:
                self._state.note(announced)

    def forget_voice(self) -> None:
        """Forget what was kept of the agent's speech, as it speaks with another voice now."""
        self.playback.kept = b""

    def finish(self, now: float) -> None:
        """End the agent's utterance; play what remains of it."""
        pieces, said = self.playback.finish(now)
        if pieces:
            self._state.do(Play(pieces))
        self._tell(said)

    def echo(self, mark: str, now: float) -> bool:
        """Take a mark that Twilio has played up to; return whether it is of this epoch."""
        said = self.playback.confirm(mark, now)
        if said is None:
            return False
        if self._answer is not None and self._answer[0] == mark:
            _, asked_at, first_byte_at = self._answer
            self._state.note(Answered(to_ms(first_byte_at - asked_at), to_ms(now - asked_at)))
            self._answer = self._turn_at = None
        self._tell(said)
        heard = self.playback.report()
        if heard is not None:
            self._state.note(heard)
        return True

    # --- the caller ----------------------------------------------------------------------------

    def begin_speech(self, now: float) -> bool:
        """Note that the caller has begun to speak; return False if that was known."""
        is_new = self._speech_start_ms is None
        if is_new:
            self._speech_start_ms = self._state.ms_since_start(now)
        return is_new

    def confirm(self, text: str, behavior: str, now: float) -> None:
        """Take a finished turn of the caller, with Deepgram's name for its kind."""
        said = CallerSaid(text, self._speech_start_ms, behavior)
        self._state.note(said)
        self._history.said(said)
        self._speech_start_ms = None
        self._turn_at = now
        self._answer = None

    def interrupt(self, cause: InterruptionCause, now: float) -> None:
        """Cut what the agent says, as the caller speaks."""
        is_unfinished = self.playback.unfinished
        said = self._cut(now, clear=True)
        if is_unfinished:
            self._state.step(Step.INTERRUPTED)
            self._late_at = now
        cut = next((utterance for utterance in said if utterance.interrupted), None)
        if cut is not None:
            self._state.note(Interrupted(cut.heard_ms, cause))
        self._tell(said)

    # --- both ----------------------------------------------------------------------------------

    def cut(self, now: float, *, clear: bool) -> None:
        """Cut the agent's speech, and publish what was heard; `clear`: the caller is there."""
        self._tell(self._cut(now, clear=clear))

    def lose_agent(self, now: float) -> bool:
        """Stop what a lost agent was saying; return whether that cut it short.

        An utterance that came whole is played to its end.
        """
        self.note_late()
        self._speech_start_ms = None
        if not self.playback.unfinished:
            return False
        is_over = now >= self.playback.ends_at + UNENDED_S
        if is_over and not self.playback.falls_short:
            # A reply can end without AgentAudioDone (deepgram.md §3.2).
            self.finish(now)
            return False
        self.cut(now, clear=True)
        return True

    def lose_caller(self, now: float) -> bool:
        """Cut the agent's speech to a caller whose stream is gone; return whether it was cut."""
        self.note_late()
        self._speech_start_ms = None
        said = self._cut(now, clear=False)
        self._tell(said)
        return any(utterance.interrupted for utterance in said)

    def mute(self, on: bool, now: float) -> None:
        """Keep the agent from being heard by the caller, or let it be heard again."""
        if on == self._is_muted:
            return
        self._is_muted = on
        if on:
            self.cut(now, clear=True)
        elif self._muted_bytes:
            ms = milliseconds(self._muted_bytes)
            self._state.note(AudioDropped("caller", ms, "muted"))
            self._muted_bytes = 0
        self._state.note(AgentMuted(on))

    def hand_back(self, now: float) -> None:
        """Let the agent be heard again, from its next utterance on, after an operator has spoken.

        What it is saying was meant for nobody.
        """
        self.mute(False, now)
        self._answer = self._turn_at = None
        if self._state.phase is Phase.TALKING:
            self._state.step(Step.INTERRUPTED)
        self._late_at = now

    def report_latency(self, report: deepgram.LatencyReport) -> None:
        """Publish Deepgram's latency report of a turn."""
        self._state.note(
            LatencyReported(
                _optional_ms(report.stt_latency),
                _optional_ms(report.ttt_token_latency),
                _optional_ms(report.tts_latency),
                _optional_ms(report.total_latency),
            )
        )

    def lift_fence(self) -> None:
        """Let the agent be heard again after a barge-in."""
        self._state.step(Step.FENCE_LIFTED)
        self.note_late()

    def note_late(self) -> None:
        """Publish the amount of late audio that was dropped after a barge-in."""
        if self._late_bytes:
            ms = milliseconds(self._late_bytes)
            self._state.note(AudioDropped("caller", ms, "late"))
            self._late_bytes = 0

    # --- time ----------------------------------------------------------------------------------

    def due(self) -> float | None:
        """Return when late audio counts as over, in seconds; None: never."""
        return self._late_at + FENCE_QUIET_S if self._state.phase is _BARGE_IN else None

    def tick(self, now: float) -> None:
        """Let the agent be heard again, as no late audio comes any more."""
        if self._state.phase is _BARGE_IN and now >= self._late_at + FENCE_QUIET_S:
            self.lift_fence()

    # --- inside --------------------------------------------------------------------------------

    def _cut(self, now: float, *, clear: bool) -> list[AgentSaid]:
        # Send the clear to Twilio before the slow estimate of the words that were heard.
        if clear and self.playback.unconfirmed:
            self._state.do(ClearCaller())
        self._answer = self._turn_at = None
        return self.playback.cut(now)

    def _tell(self, said: list[AgentSaid]) -> None:
        for utterance in said:
            self._was_heard |= utterance.heard_ms > 0
            self._state.note(utterance)
            self._history.said(utterance)


def _optional_ms(seconds: float | None) -> int | None:
    # A number may come as a string (deepgram.md §3.9), and so may "nan".
    return to_ms(seconds) if seconds is not None and math.isfinite(seconds * 1000) else None
