"""Handoff of a call: a dial, a conference or keys, which Twilio performs without the stream.

When Twilio asks /twilio/after, the answer is the action for which the stream was left. Twilio sends
the caller back the same way (twilio.md §2.6, §5.4).
"""

from collections.abc import Callable
from typing import Final

from offhook.call import inputs
from offhook.call.ending import Slug
from offhook.call.handoff_actions import Dial, HandoffAction, JoinConference, SendDigits
from offhook.calls.call_entry import STREAM_DUE_S, CallEntry
from offhook.calls.call_updates import CallUpdates
from offhook.calls.transfers import Transfers
from offhook.clock import Clock
from offhook.events.types import Dialled, Event, HandoffOutcome

RING_SLACK_S: Final = 10.0
"""Seconds added to a ringing time: 5 s by Twilio (twilio.md §5.3), and time to report its end."""

MEET_S: Final = 10.0
"""Seconds in which a caller must join the waiting person, or Twilio must report a failure."""


class StreamHandoff:
    """Handoffs of one call.

    Attributes:
        action: Reason for leaving the stream; None while the call is on a stream, or never was.
        count: Handoffs so far: the number of the current stream, or of the next one.
        is_returning: True once the action is over, and the caller gets a new stream.
    """

    def __init__(
        self,
        entry: CallEntry,
        transfers: Transfers,
        updates: CallUpdates,
        clock: Clock,
        note: Callable[[str, Event], None],
        next_token: Callable[[str], str],
    ) -> None:
        self.action: HandoffAction | None = None
        self.count = 0
        self.is_returning = False
        self._due_at: float | None = None
        self._entry = entry
        self._transfers = transfers
        self._updates = updates
        self._clock = clock
        self._note = note
        self._next_token = next_token

    @property
    def has_begun(self) -> bool:
        """True once Twilio was given the action."""
        return self._due_at is not None

    @property
    def is_possible(self) -> bool:
        """True if Twilio can be told what comes after a stream that is left."""
        entry = self._entry
        can_redirect = self._updates.rest is not None and bool(entry.origin)
        return entry.by_webhook or (entry.is_telephone and can_redirect)

    @property
    def after_url(self) -> str:
        """Address that Twilio asks what comes after the current stream, or the next one.

        The URL counts the streams: a repeated request about an earlier stream changes
        nothing.
        """
        number = f"?stream={self.count}" if self.count else ""
        return f"{self._entry.webhooks}/after{number}"

    def leave(self, action: HandoffAction, close: Callable[[], None]) -> None:
        """Have Twilio ask /twilio/after, which answers with the action."""
        entry, url = self._entry, self.after_url
        self.action, self._due_at, self.is_returning = action, None, False
        self.count += 1
        entry.token = self._next_token(entry.call_sid)
        entry.expected_until = self._clock.now() + STREAM_DUE_S
        entry.keep()
        if entry.by_webhook:
            close()
            return

        def in_vain() -> None:
            close()  # ends the call of a TwiML Bin, whose document has no next verb (§2.4)
            lost = inputs.NobodyReached(Slug.CALLER_LEG_LOST, "Twilio could not be told to go on")
            entry.receive(lost)

        self._updates.send_to(entry.call_sid, url, in_vain)

    def resume(
        self, count: int, action: HandoffAction | None, *, has_begun: bool, is_returning: bool
    ) -> None:
        """Go on with the handoffs of a call whose process died.

        `is_returning`: the action is over, and the caller is to get a new stream.
        """
        self.count = count
        self.action, self.is_returning = action, is_returning
        if action is not None and has_begun:
            self._due_at = self._entry.expected_until = self._clock.now() + _longest_s(action)

    def renew(self) -> None:
        """Give the next stream a number and a token, as the one before broke off."""
        self.count += 1
        self._entry.token = self._next_token(self._entry.call_sid)
        self._entry.keep()

    def break_off(self) -> None:
        """Have the next question of Twilio's answered with another stream."""
        self._entry.is_interrupted = True
        self._entry.expected_until = self._clock.now() + STREAM_DUE_S
        self.renew()

    def expect_back(self, stream: int) -> None:
        """Expect a caller back of whom Twilio asks what comes after that stream, which broke off.

        A repeated request changes nothing.
        """
        if stream == self.count:  # That stream never came, or the process died before it knew.
            self.renew()
        self._entry.expected_until = self._clock.now() + STREAM_DUE_S
        self._entry.receive(inputs.CallerReturning())

    def begin(self) -> None:
        """Tell the call, once, that Twilio was given the action.

        When the person to meet is gone there is no action: the caller returns.
        """
        action = self.action
        if action is None or self._due_at is not None or self.is_returning:
            return
        if isinstance(action, JoinConference) and not self._transfers.meet(self._entry.call_sid):
            self.finish("hung-up")
            return
        self._due_at = self._entry.expected_until = self._clock.now() + _longest_s(action)
        self._entry.keep()
        self._entry.receive(inputs.HandoffBegun())
        if isinstance(action, Dial):
            self._note(self._entry.call_sid, Dialled("transfer", action.name, action.to))

    def finish(self, outcome: HandoffOutcome) -> None:
        """Tell the call the outcome of the action; repetitions change nothing."""
        if self.action is None or self.is_returning:
            return
        entry = self._entry
        if isinstance(self.action, JoinConference) and outcome == "reached":
            outcome = "reached" if self._transfers.have_met(entry.call_sid) else "hung-up"
        self.is_returning = outcome != "reached"
        entry.keep()
        entry.receive(inputs.HandoffDone(outcome))
        if entry.ending is None:
            self._transfers.over(entry.call_sid)
            entry.expected_until = self._clock.now() + STREAM_DUE_S

    def bring_back(self) -> None:
        """Have Twilio open a stream for a caller who waits alone, as the person to meet is gone."""
        if self.action is None or self.is_returning:
            return
        entry = self._entry
        url = f"{entry.webhooks}/after?stream={self.count - 1}"
        is_broken = True
        try:
            self.finish("hung-up")
            is_broken = False
        finally:
            # A fault ends the call, and its caller hears the fallback instead of nobody.
            self._updates.bring_back(
                entry.call_sid, url, lambda: is_broken or self.action is not None
            )

    def rehome(self) -> None:
        """Have Twilio ask this process what comes next, as the stream is at a dead machine.

        Twilio asks by itself once it notices; whichever request is first answers the other one.
        """
        entry = self._entry
        url = f"{entry.webhooks}/after?stream={self.count - 1}"
        self._updates.bring_back(
            entry.call_sid, url, lambda: entry.is_interrupted and entry.is_after_due
        )

    def stop(self) -> None:
        """Count a person as reached if Twilio would have reported a failure by now.

        Twilio reports nothing about keys that were pressed, and the call ignores that
        outcome.
        """
        due_at = self._due_at
        if self.action is not None and due_at is not None and self._clock.now() >= due_at:
            self._entry.receive(inputs.HandoffDone("reached"))

    def clear(self) -> None:
        """Forget the action, as the caller is on a stream again or the call is over."""
        had_one, self.action = self.action is not None, None
        if had_one:
            self._entry.keep()


def _longest_s(action: HandoffAction) -> float:
    """Return the seconds within which Twilio reports an action's outcome, or opens a stream."""
    match action:
        case SendDigits():
            return action.duration_s + STREAM_DUE_S
        case Dial():
            return action.timeout_s + RING_SLACK_S
        case JoinConference():
            return MEET_S
