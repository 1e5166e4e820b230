"""Handoffs of one call: what Twilio does while the stream is left, and the next stream.

A stream can neither dial nor press keys (twilio.md §5.4). Meanwhile the agent's leg is hung up;
when the caller returns, the agent gets the conversation so far, and is told what happened.
"""

from typing import Final, NamedTuple

from offhook.call import handoff_actions, inputs
from offhook.call.agent_link import AgentLink
from offhook.call.call_state import CallState, earliest, is_due
from offhook.call.commands import LeaveStream
from offhook.call.ending import Ending, Slug
from offhook.call.handoff_actions import HandoffAction
from offhook.call.key_input import KeyInput
from offhook.call.leg_health import LegHealth
from offhook.call.limits import Limits
from offhook.call.owed_text import OwedText
from offhook.call.pending_requests import PendingRequests
from offhook.call.phases import Step
from offhook.call.phrases import transfer_failed
from offhook.call.resumed import Retold
from offhook.call.turns import Turns
from offhook.events.types import (
    CallerBack,
    CallerLeft,
    CallStarted,
    TransferFailed,
)

STREAM_OWED_S: Final = 300.0
"""Seconds to wait for an announced stream: as long as its token is valid."""
LONG_ANNOUNCEMENT_MS: Final = 10_000
"""Milliseconds of an announcement from which the agent is dialled only when the stream comes."""
UNASKED_S: Final = 60.0
"""Seconds that Twilio may take to ask what comes after a stream whose process died."""
BROKEN_S: Final = 10.0
"""Seconds that Twilio may take to ask what comes after a stream that broke off."""
LEFT_S: Final = 60.0
"""Seconds that Twilio may take to ask what comes after a stream that was left."""
TRANSFERRED_S: Final = 4 * 3600.0 + 60.0
"""Seconds that a transfer may last: Twilio's own limit (twilio.md §2.6) and a minute."""
BACK_S: Final = 60.0
"""Seconds after the last key in which Twilio must open the next stream."""
OUTCOME_S: Final = 3.0
"""Seconds after the call's end in which Twilio may still report that it was transferred."""


class _Unreturned(NamedTuple):
    """End of a call whose stream broke off, should the caller not come back.

    Attributes:
        ending: Its ending.
        length_ms: Its length in ms when the stream broke off.
        return_by: Time in seconds until which the next stream may come; None: no limit of its own.
    """

    ending: Ending
    length_ms: int
    return_by: float | None = None


class Handoff:
    """Streams of one call: the first one, and those that follow a handoff."""

    def __init__(
        self,
        state: CallState,
        link: AgentLink,
        turns: Turns,
        limits: Limits,
        keys: KeyInput,
        health: LegHealth,
        pending: PendingRequests,
    ) -> None:
        self._state = state
        self._link = link
        self._turns = turns
        self._limits = limits
        self._keys = keys
        self._health = health
        self._pending = pending
        self._action: HandoffAction | None = None
        self._is_call_over = False
        self.owed: OwedText | None = None
        """Text that the next agent is told first; None for none."""
        self._unreturned: _Unreturned | None = None
        """None while no stream has broken off since the last one came."""
        self._due: float | None = None

    # --- streams -------------------------------------------------------------------------------

    def announce(self, announced: inputs.CallAnnounced, now: float) -> None:
        """Wait for the first stream, and dial the agent ahead of it."""
        self._due = now + STREAM_OWED_S
        if announced.announcement_ms < LONG_ANNOUNCEMENT_MS:
            self._link.dial_ahead(now)

    def start_stream(self, now: float) -> None:
        """Begin the call on its first stream."""
        self._state.note(CallStarted())
        self._limits.start(now)
        self._take_stream(now)

    def come_back(self, now: float) -> None:
        """Resume the call on a new stream."""
        self._state.note(CallerBack())
        after_keys = isinstance(self._action, handoff_actions.SendDigits)
        self._limits.come_back(now, only_once=after_keys or self.is_broken)
        self._take_stream(now)

    def resume(self, died: inputs.ProcessDied, retold: Retold, now: float) -> None:
        """Go on with a call whose process died: wait for its stream, or for its action's end."""
        if died.call.started_ms is None:
            self._due = now + STREAM_OWED_S
            return
        self._state.step(Step.TAKEN_OVER)
        self._link.greets = died.call.greets
        self._due = now + UNASKED_S
        self._action = died.action
        if died.action is not None:
            if isinstance(died.action, handoff_actions.SendDigits):
                self.owed = OwedText(self._state.phrases.keys_sent)
            if died.has_begun:
                self.begin(now)
            return
        self._unreturned = _Unreturned(Ending(Slug.SERVER_DIED), died.call.last_ms)
        if retold.push is not None:
            self.owed = OwedText(retold.push, is_turn=True)
        failed = died.call.untold
        if died.call.ringing:
            # The person is hung up on when they take the call (calls/transfers.py).
            failed = TransferFailed(died.call.ringing, "canceled")
            self._state.note(failed)
        if failed is not None:
            words = transfer_failed(self._state.phrases, failed.destination, failed.why)
            self.owed = OwedText(words)
        elif retold.goes_on:
            self.owed = OwedText(self._state.phrases.go_on)

    def expect_back(self, now: float) -> None:
        """Dial the agent for a caller whom Twilio sends back to a stream."""
        if self._action is None:
            self._due = now + LEFT_S
            if self._unreturned is not None:
                self._due = earliest(self._due, self._unreturned.return_by)
            self._link.dial_ahead(now)

    def await_return(self, owed: OwedText | None, why: str, now: float) -> None:
        """Wait for Twilio's question what comes after a stream that broke off.

        The next agent is told what is `owed`, unless it is owed something already.
        """
        self.owed = self.owed or owed
        self._due = now + BROKEN_S
        self._unreturned = _Unreturned(
            Ending(Slug.CALLER_LEG_LOST, why),
            self._state.ms_since_start(now),
            self._due + LEFT_S,
        )

    @property
    def is_broken(self) -> bool:
        """True from when a stream broke off until the next one has come."""
        unreturned = self._unreturned
        return unreturned is not None and unreturned.ending.how is Slug.CALLER_LEG_LOST

    def _take_stream(self, now: float) -> None:
        self._state.step(Step.STREAM_STARTED)
        self._due = self._action = self._unreturned = None
        self._is_call_over = False
        self._limits.hear_caller(now)
        self._link.start_stream(now)

    def tell(self, now: float) -> None:
        """Tell an agent that has resumed what happened during the handoff."""
        owed, self.owed = self.owed, None
        if owed is None:
            return
        if owed.is_turn:
            self._pending.repeat_turn(owed.text, now)
        else:
            self._pending.tell(owed.text, None, now)

    # --- away ----------------------------------------------------------------------------------

    def leave(self, action: HandoffAction, now: float) -> None:
        """Leave the stream; Twilio then asks for the action."""
        self._state.step(Step.CALLER_LEFT)
        self._limits.leave(now)
        self._turns.cut(now, clear=False)
        self._health.forget_caller()
        self._link.leave_stream()
        self._link.greets = False
        self._keys.forget()
        self._action = action
        self._due = now + LEFT_S
        if isinstance(action, handoff_actions.SendDigits):
            self.owed = OwedText(self._state.phrases.keys_sent)
            self._state.note(CallerLeft("digits", ""))
        else:
            self._state.note(CallerLeft("transfer", action.name))
        self._state.do(LeaveStream(action))

    def begin(self, now: float) -> None:
        """Start the action's time limit, as Twilio was given the action."""
        match self._action:
            case handoff_actions.SendDigits() as keys:
                self._due = now + keys.duration_s + BACK_S
            case handoff_actions.Dial() as dial:
                self._due = now + dial.timeout_s + TRANSFERRED_S
            case handoff_actions.JoinConference():
                self._due = now + TRANSFERRED_S
            case None:
                pass

    def finish(self, done: inputs.HandoffDone, now: float) -> None:
        """End the call of a transferred caller; else wait for the caller's return."""
        action = self._action
        if not isinstance(action, handoff_actions.Dial | handoff_actions.JoinConference):
            return
        if done.outcome == "reached":
            self._state.steps.end(Slug.TRANSFERRED, action.name, now)
            return
        self._action = None
        self._state.note(TransferFailed(action.name, done.outcome))
        words = transfer_failed(self._state.phrases, action.name, done.outcome)
        self.owed = OwedText(words)
        self._due = now + STREAM_OWED_S
        self._link.dial_ahead(now)

    def end_call(self, now: float) -> None:
        """Note that Twilio has ended a call whose stream was left."""
        if isinstance(self._action, handoff_actions.Dial | handoff_actions.JoinConference):
            # Statuses come in any order (twilio.md §4.3): perhaps the caller was transferred.
            self._due = now + OUTCOME_S
            self._is_call_over = True
        else:
            self._end_unreturned(now)

    def length_ms(self, now: float) -> int:
        """Return the length of the call; one whose caller did not come back ended with its stream.

        In milliseconds.
        """
        if self._unreturned is not None:
            return self._unreturned.length_ms
        return self._state.ms_since_start(now)

    def _end_unreturned(self, now: float) -> None:
        """End a call that was over before its caller has come back."""
        if self._unreturned is None or self.is_broken:
            self._state.steps.end(Slug.CALLER_HUNG_UP, "", now)
        else:
            self._end(self._unreturned.ending, now)

    def _end(self, ending: Ending, now: float) -> None:
        self._state.steps.end(ending.how, ending.detail, now)

    # --- time ----------------------------------------------------------------------------------

    def due(self) -> float | None:
        """Return when the wait for a stream or an action ends, in seconds; None: never."""
        return self._due

    def tick(self, now: float) -> None:
        """End a call whose stream does not come."""
        if is_due(self._due, now):
            self._due = None
            if self._is_call_over:
                self._end_unreturned(now)
            elif self._unreturned is not None:
                self._end(self._unreturned.ending, now)
            else:
                self._state.steps.end(Slug.STREAM_NEVER_CAME, "", now)
