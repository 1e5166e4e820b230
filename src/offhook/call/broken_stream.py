"""A caller's stream that breaks off: the caller comes back on another one, or the call ends.

Twilio opens no stream again by itself, but asks what comes after one that is gone (twilio.md §1.7).
Meanwhile the agent's leg is hung up; the next session gets the conversation so far, and answers
what the caller asked last.
"""

from typing import Final

from offhook.call.agent_link import AgentLink
from offhook.call.call_state import CallState
from offhook.call.commands import AwaitCaller
from offhook.call.ending import Slug
from offhook.call.farewell import Farewell
from offhook.call.functions import Functions
from offhook.call.handoff import Handoff
from offhook.call.history import ConversationHistory
from offhook.call.inputs import LateTurn
from offhook.call.key_input import KeyInput
from offhook.call.leg_health import LegHealth
from offhook.call.limits import Limits
from offhook.call.owed_text import OwedText
from offhook.call.phases import Phase, Step
from offhook.call.turns import Turns
from offhook.events.types import CallerSaid, StreamBroke

BREAKS_MAX: Final = 3
"""Streams of one call that may break off within BREAKS_WINDOW_S; one more ends the call."""
BREAKS_WINDOW_S: Final = 60.0

_ON_STREAM: Final = frozenset({Phase.SETTLING, Phase.TALKING, Phase.BARGE_IN})
_OFF_STREAM: Final = frozenset({Phase.AWAY, Phase.ENDED})


class BrokenStream:
    """Broken streams of one call.

    `asks_after`: Twilio asks by itself what comes after a stream, so the caller can come back.
    """

    def __init__(
        self,
        state: CallState,
        history: ConversationHistory,
        functions: Functions,
        link: AgentLink,
        turns: Turns,
        limits: Limits,
        keys: KeyInput,
        health: LegHealth,
        handoff: Handoff,
        farewell: Farewell,
        *,
        asks_after: bool,
    ) -> None:
        self._state = state
        self._history = history
        self._functions = functions
        self._link = link
        self._turns = turns
        self._limits = limits
        self._keys = keys
        self._health = health
        self._handoff = handoff
        self._farewell = farewell
        self._asks_after = asks_after
        self._breaks: list[float] = []
        """Times of recent breaks, in seconds."""
        self._owed: OwedText | None = None
        """Text that the next agent is told first because of the last break."""

    def lose(self, why: str, now: float) -> None:
        """Expect a caller back whose stream broke off; end the call if none can come back.

        Last words are not repeated: what was to follow them follows at once.
        """
        if self._asks_after and self._state.phase is Phase.CLOSING:
            self._farewell.lose_caller(now)
        phase = self._state.phase
        if phase in _OFF_STREAM:
            return
        if phase not in _ON_STREAM or not self._may_return(now):
            self._state.steps.end(Slug.CALLER_LEG_LOST, why, now)
            return
        self._state.note(StreamBroke(why))
        self._keys.end_secret(self._state.phrases.digits_cut_short, now)
        # Before the agent's leg is let go, as it tells what the agent was doing.
        self._owed = self._take_stock(now) or self._owed
        self._state.step(Step.STREAM_BROKE)
        self._limits.leave(now)
        self._health.forget_caller()
        self._link.leave_stream()
        self._keys.forget()
        self._handoff.await_return(self._owed, why, now)
        self._state.do(AwaitCaller())

    def take_late(self, turn: LateTurn) -> None:
        """Record what the caller said to an agent that was hung up; the next one answers it.

        It is not answered once the next stream is there, or if the agent is owed something else.
        """
        said = CallerSaid(turn.text, behavior=turn.behavior)
        self._state.note(said)
        owed = self._handoff.owed
        owes_other = owed is not None and owed is not self._owed
        if owes_other or self._link.greets or not self._handoff.is_broken:
            self._history.said(said)
            return
        if owed is not None and owed.is_turn:
            self._history.said(CallerSaid(owed.text))  # Both are one question.
        self._history.said(said)
        self._owed = self._question() or OwedText(self._state.phrases.go_on)
        self._handoff.owed = self._owed

    def _may_return(self, now: float) -> bool:
        self._breaks = [at for at in self._breaks if now < at + BREAKS_WINDOW_S]
        self._breaks.append(now)
        return self._asks_after and len(self._breaks) <= BREAKS_MAX

    def _take_stock(self, now: float) -> OwedText | None:
        """Return what the next agent is told: a turn to answer, or what happened; or None."""
        outage, phrases = self._link.outage, self._state.phrases
        was_speaking, was_cut = self._turns.is_caller_speaking, self._turns.lose_caller(now)
        in_talk = self._link.is_ready
        if outage is not None and outage.in_talk:
            in_talk = True
            was_speaking |= outage.was_caller_speaking
            was_cut |= outage.was_cut
        self._functions.hold()  # The agent goes, so it gets no answer.
        owes = self._functions.end_open(now)
        if in_talk and (self._turns.has_spoken or self._history.so_far()):
            self._link.greets = False
        if self._link.greets or self._handoff.owed is not None:
            return None
        question = self._question()
        if question is not None:
            return question
        if owes or was_cut or self._history.unanswered():
            return OwedText(phrases.go_on)
        return OwedText(phrases.ask_again) if was_speaking else None

    def _question(self) -> OwedText | None:
        """Take what the caller said last out of the conversation, if nobody answered it."""
        question = self._history.take_question()
        return OwedText(question, is_turn=True) if question else None
