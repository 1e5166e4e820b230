"""Recovery of a call whose agent's leg is lost: another leg goes on with the conversation.

Source: deepgram.md §5.4. A session cannot be resumed, so the next one gets the conversation so far,
and no greeting. What the caller asked last, and nobody answered, is left out of it and pushed: an
agent does not answer what it is only told to have heard.
"""

from typing import Final

from offhook.audio import milliseconds
from offhook.call.agent_link import AgentLink
from offhook.call.agent_loss import HOLD_AFTER_S, AgentLoss, Outage
from offhook.call.call_state import CallState, earliest, is_due, to_ms
from offhook.call.commands import SendSettings, SettleSpare
from offhook.call.functions import Functions
from offhook.call.history import ConversationHistory
from offhook.call.owed_text import OwedText
from offhook.call.pending_requests import PendingRequests
from offhook.call.phases import Phase, Step
from offhook.call.turns import Turns
from offhook.deepgram import messages as deepgram
from offhook.deepgram.retry import Retry
from offhook.events.types import AgentLost, AgentResumed

WINDOW_S: Final = 10.0
"""Seconds in which another leg must be ready; also those in which attempts are counted."""
ATTEMPT_S: Final = 3.0
"""Seconds that an attempt may take from dialling to SettingsApplied."""
WAITS_S: Final = ((0.0, 0.25), (0.5, 1.0), (1.5, 2.5))
"""Shortest and longest wait before each attempt, in seconds. There are as many attempts."""
BUSY_S: Final = 30.0
"""Seconds for which a 429 is tried again while Deepgram may still count a session of the call's.

That is so after a take-over, when the process before died with its legs (deepgram.md §1.3), and
when a leg was closed so that the next one finds room.
"""
BUSY_WAIT_S: Final = (1.0, 2.0)
"""Shortest and longest wait before each of those attempts, in seconds."""
ONCE_S: Final = 60.0
"""Seconds in which a loss that may be our own mistake is followed by another leg only once."""
ASK_AGAIN_S: Final = 1.0
"""Seconds in which the caller, cut off in mid-turn, must be heard again, or is asked."""

_TALKING: Final = frozenset({Phase.TALKING, Phase.BARGE_IN})
_WITHOUT_STREAM: Final = frozenset({Phase.WAITING, Phase.AWAY})


class Recovery:
    """Recovery of one call. `spread`, from 0 up to 1, chooses the wait before each attempt."""

    def __init__(
        self,
        state: CallState,
        history: ConversationHistory,
        functions: Functions,
        pending: PendingRequests,
        link: AgentLink,
        turns: Turns,
        spread: float,
    ) -> None:
        self._state = state
        self._history = history
        self._functions = functions
        self._pending = pending
        self._link = link
        self._turns = turns
        self._spread = spread
        self._attempts: list[float] = []
        self._tried_once_at: float | None = None
        self._ask_again_at: float | None = None

    # --- the loss ------------------------------------------------------------------------------

    def lose(self, loss: AgentLoss, now: float) -> None:
        """Prepare to dial another leg; end the call if none may be dialled.

        During last words no leg is dialled: what follows may not need one. While an operator speaks
        with the caller, the call does not end for want of an agent.
        """
        phase = self._state.phase
        if phase in _WITHOUT_STREAM and self._link.is_ready:
            self._link.hang_up()  # The next stream dials another one.
        elif phase is Phase.CLOSING:
            self._begin(loss, now)
        else:
            wait = self._wait(loss, now)
            if wait is not None:
                self._begin(loss, now).dial_at = now + wait
            elif self._state.is_taken:
                self._begin(loss, now)
            else:
                self._give_up(loss, now)

    def seek(self, now: float) -> None:
        """Dial a leg for a caller who goes on after last words during which the leg was lost."""
        outage = self._link.outage
        if outage is None:
            return
        wait = self._wait(outage.loss, now)
        if wait is None and not self._state.is_taken:
            self._give_up(outage.loss, now)
        else:
            self._state.step(Step.AGENT_LOST)
            self._tell(outage.loss)
            outage.dial_at = None if wait is None else now + wait

    def hand_back(self, now: float) -> None:
        """Dial a leg for a caller whom an operator hands back, if none could be had meanwhile."""
        outage = self._link.outage
        if outage is not None and not self._link.has_leg and outage.dial_at is None:
            self._attempts.clear()
            self._tried_once_at = None
            outage.began_at = outage.dial_at = now
            outage.attempts = 0

    def _wait(self, loss: AgentLoss, now: float) -> float | None:
        """Return how many seconds to wait before the next attempt; None: no further attempt."""
        if loss.retry is Retry.NEVER:
            return None
        if loss.retry is Retry.ONCE:
            if self._tried_once_at is not None and now < self._tried_once_at + ONCE_S:
                return None
            self._tried_once_at = now
        outage = self._link.outage
        self._attempts = [at for at in self._attempts if now < at + WINDOW_S]
        # Attempts count across outages: a leg that is lost as soon as it is ready is no success.
        made = max(len(self._attempts), outage.attempts if outage is not None else 0)
        window_s = self._window_s(loss)
        if made < len(WAITS_S):
            shortest, longest = WAITS_S[made]
        elif window_s > WINDOW_S:
            shortest, longest = BUSY_WAIT_S
        else:
            return None
        wait = shortest + (longest - shortest) * self._spread
        return wait if now + wait < self._began_at(now) + window_s else None

    def _window_s(self, loss: AgentLoss) -> float:
        """Return the seconds from the first loss in which another leg must be ready."""
        first = loss if self._link.outage is None else self._link.outage.loss
        is_busy = first.why == "no_spare" or (first.code == "429" and self._link.is_resumed)
        return BUSY_S if is_busy else WINDOW_S

    def _began_at(self, now: float) -> float:
        """Return since when the call has had no agent, in seconds."""
        if self._link.outage is not None:
            return self._link.outage.began_at
        return now if self._link.is_ready else self._link.dialled_at

    def _begin(self, loss: AgentLoss, now: float) -> Outage:
        """Begin an outage, or go on with it after an attempt that failed."""
        outage = self._link.outage
        if outage is None:
            outage = Outage(loss, self._began_at(now), now + HOLD_AFTER_S)
        phase = self._state.phase
        if self._link.is_ready:
            outage.in_talk = True
            outage.was_caller_speaking = self._turns.is_caller_speaking
            outage.was_cut = self._turns.lose_agent(now)
            outage.functions_done = self._history.functions_done
            if self._turns.has_spoken or self._history.so_far():
                self._link.greets = False
        if phase in _TALKING:
            self._state.step(Step.AGENT_LOST)
        if phase is not Phase.CLOSING:
            self._tell(loss)
        self._ask_again_at = None
        self._link.leave_lost(outage)
        return outage

    def _tell(self, loss: AgentLoss) -> None:
        self._state.note(AgentLost(loss.why, loss.code))

    def _give_up(self, loss: AgentLoss, now: float) -> None:
        outage = self._link.outage
        ending = loss.ending
        if outage is not None and loss.retry is not Retry.NEVER:
            # The failures since were failures to repair the first one.
            ending = outage.loss.ending
        self._state.steps.end(ending, loss.detail, now)

    # --- the next session ----------------------------------------------------------------------

    def send_settings(self, now: float) -> None:
        """Send the Settings of a session that begins the conversation, or goes on with it."""
        history = self._conversation(now)
        self._state.do(SendSettings(self._link.greets, history, self._pending.changes))

    def settings_of_spare(self, now: float) -> SettleSpare | None:
        """Return what a spare leg must have been sent to go on now; None: it could not greet."""
        if self._link.greets:
            return None
        return SettleSpare(self._conversation(now), self._pending.changes)

    def use_spare(
        self, request_id: str | None, dialled_at: float, ready_by: float, now: float
    ) -> None:
        """Use a spare leg, which must be ready by `ready_by`, in place of the next one.

        `request_id` is Deepgram's, if it was sent its Settings. It is an attempt like any other.
        """
        outage = self._link.outage
        assert outage is not None, "a spare leg for nothing"
        self._begin_attempt(outage, now)
        self._link.replace_lost(request_id, dialled_at, ready_by)

    def _begin_attempt(self, outage: Outage, now: float) -> None:
        """Count an attempt that begins now."""
        outage.dial_at = None
        outage.attempts += 1
        self._attempts.append(now)

    def _conversation(self, now: float) -> tuple[deepgram.History, ...]:
        outage = self._link.outage
        if outage is not None and outage.in_talk:
            return self._take_stock(outage, now)
        return self._history.so_far()

    def _take_stock(self, outage: Outage, now: float) -> tuple[deepgram.History, ...]:
        """Return the conversation for a new session; decide what that is told to begin with.

        That is what the caller asked last and nobody answered, in the caller's own words; or
        that it must go on, where the order of words and functions forbids that.
        """
        owes = self._functions.end_open(now)
        history = self._history.so_far()
        outage.owed = None
        if self._link.greets:
            return history
        owes |= self._history.functions_done > outage.functions_done
        playing = self._turns.playback.to_be_heard
        unanswered = () if playing else self._history.unanswered()
        question = "" if playing else self._history.question()
        if question:
            outage.owed = OwedText(question, is_turn=True)
            return history[: -len(unanswered)]
        # A silent session was given up because it owed an answer.
        owes |= outage.loss.why == "silent"
        if owes or unanswered or outage.was_cut:
            outage.owed = OwedText(self._state.phrases.go_on)
        # What the caller is still to hear counts as said: the next agent must not say it again.
        heard = (deepgram.History(role="assistant", content=text) for text in playing)
        return (*history, *heard)

    def finish(self, now: float) -> None:
        """End the outage, as another leg is ready; push what nobody answered."""
        outage, self._link.outage = self._link.outage, None
        if outage is None or not outage.in_talk:
            return
        after_ms, held = to_ms(now - outage.began_at), self._link.held_caller_bytes
        self._state.note(AgentResumed(outage.attempts, after_ms, milliseconds(held)))
        owed = outage.owed
        if owed is not None and owed.is_turn:
            # Answered as if the caller said it now (deepgram.md §2.15); the record has it already.
            again = deepgram.InjectUserMessage(content=owed.text)
            self._pending.send(again, None, now)
        elif owed is not None:
            self._pending.tell(owed.text, None, now)
        elif outage.was_caller_speaking:
            self._ask_again_at = now + ASK_AGAIN_S

    def hear_caller(self) -> None:
        """Note a sign of the caller, who need not be asked again."""
        self._ask_again_at = None

    # --- time ----------------------------------------------------------------------------------

    def due(self) -> float | None:
        """Return when a leg is dialled or the caller is asked again, in seconds; None: never."""
        outage = self._link.outage
        return earliest(outage.dial_at if outage is not None else None, self._ask_again_due())

    def tick(self, now: float) -> None:
        """Dial another leg, or have the caller asked to say it again."""
        outage = self._link.outage
        if outage is not None and is_due(outage.dial_at, now):
            self._begin_attempt(outage, now)
            # Never below zero: the timer may be served late.
            left_s = max(0.0, outage.began_at + self._window_s(outage.loss) - now)
            self._link.dial(now, min(ATTEMPT_S, left_s))
        if is_due(self._ask_again_due(), now):
            self._ask_again_at = None
            self._pending.tell(self._state.phrases.ask_again, None, now)

    def _ask_again_due(self) -> float | None:
        return self._ask_again_at if self._state.phase in _TALKING else None
