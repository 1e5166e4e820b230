"""Limits of a call: the caller's silence, the time limit, and the spend limit."""

from typing import Final

from offhook.call.call_state import CallState, earliest, is_due
from offhook.call.ending import Slug
from offhook.call.pending_requests import PendingRequests
from offhook.call.phases import Phase
from offhook.call.turns import Turns
from offhook.deepgram import messages as deepgram

ON_RETURN_S: Final = 60.0
"""Seconds for a caller who returns after the time limit; with keys, that much in all."""

_LISTENING: Final = frozenset({Phase.TALKING, Phase.BARGE_IN})
_WITHOUT_STREAM: Final = frozenset({Phase.WAITING, Phase.AWAY, Phase.ENDED})


class Limits:
    """The limits of one call."""

    def __init__(
        self,
        state: CallState,
        turns: Turns,
        pending: PendingRequests,
        now: float,
    ) -> None:
        self._state = state
        self._turns = turns
        self._pending = pending
        self._time_up_at: float | None = None
        self._spend_s = state.settings.spend_s
        """Seconds that may still be spent, as of the beginning of the present stream."""
        self._spent_at: float | None = None
        self._keys_until = now
        self.active_at = now
        """Time in seconds of the latest sign of the caller, or of the question to a silent one."""
        self._has_asked = False
        self._is_suspended = False

    def start(self, now: float) -> None:
        """Start the limits, as the stream has come."""
        self._limit_time(now)
        self._spend(now)

    def leave(self, now: float) -> None:
        """Stop spending, as the stream is left."""
        if self._spent_at is not None:
            self._spend_s, self._spent_at = self._spent_at - now, None

    def resume(self, started: float, streamed_s: float) -> None:
        """Go on with the limits of a call whose stream first came at `started`.

        Its caller was on streams for `streamed_s` seconds, and is on none now.
        """
        self._limit_time(started)
        if self._spend_s is not None:
            self._spend_s -= streamed_s

    def come_back(self, now: float, *, only_once: bool) -> None:
        """Extend the time of a returning caller when it is nearly over, or has run out meanwhile.

        After keys pressed for the agent it is extended `only_once`, or a model could talk
        without end; so it is after streams that broke off.
        """
        until = min(now + ON_RETURN_S, self._keys_until) if only_once else now + ON_RETURN_S
        if self._time_up_at is not None:
            self._time_up_at = max(self._time_up_at, until)
        self._spend(now)

    def extend(self, how: Slug, until: float) -> None:
        """Extend a limit to `until`, for last words after which the call may go on."""
        if how is Slug.SPEND_LIMIT:
            self._spent_at = until
        else:
            self._time_up_at = until

    def hear_caller(self, now: float) -> None:
        """Note a sign of the caller."""
        self.active_at = now
        self._has_asked = False

    def listen(self, now: float) -> None:
        """Count the caller's silence from now on."""
        self.active_at = max(self.active_at, now)
        self._is_suspended = False

    def hand_back(self, now: float) -> None:
        """Apply the limits again to a caller who was with an operator, ON_RETURN_S from now on."""
        until = now + ON_RETURN_S
        if self._time_up_at is not None:
            self._time_up_at = max(self._time_up_at, until)
        if self._spent_at is not None:
            self._spent_at = max(self._spent_at, until)
        self.listen(now)

    def suspend_silence(self) -> None:
        """Suspend the silence limit during entry of a secret, which has its own time limit."""
        self._is_suspended = True

    def due(self) -> float | None:
        """Return when a limit falls due, in seconds; None: never."""
        return earliest(self._time_up_due(), self._spent_due(), self._silence_due())

    def tick(self, now: float) -> None:
        """Ask a silent caller, or say goodbye."""
        if is_due(self._silence_due(), now):
            self._mind_silence(now)
        if is_due(self._time_up_due(), now):
            self._time_up_at = None
            self._state.steps.close(Slug.TIME_LIMIT, self._state.phrases.time_up, now)
        if is_due(self._spent_due(), now):
            self._spent_at = self._spend_s = None
            self._state.steps.close(Slug.SPEND_LIMIT, self._state.phrases.time_up, now)

    def _limit_time(self, started: float) -> None:
        self._time_up_at = started + self._state.settings.max_s
        self._keys_until = self._time_up_at + ON_RETURN_S

    def _spend(self, now: float) -> None:
        if self._spend_s is not None:
            self._spent_at = now + self._spend_s

    def _time_up_due(self) -> float | None:
        return None if self._waits else self._time_up_at

    def _spent_due(self) -> float | None:
        return None if self._waits else self._spent_at

    @property
    def _waits(self) -> bool:
        return self._state.phase in _WITHOUT_STREAM or self._state.is_taken

    def _silence_due(self) -> float | None:
        half_s = self._state.settings.silence_s / 2
        if not half_s or self._is_suspended or self._waits or self._state.phase not in _LISTENING:
            return None
        return max(self.active_at, self._turns.ends_at) + half_s

    def _mind_silence(self, now: float) -> None:
        if self._has_asked:
            self._state.steps.close(Slug.CALLER_SILENT, self._state.phrases.silent_goodbye, now)
            return
        self._has_asked = True
        self.active_at = now
        question = deepgram.InjectAgentMessage(message=self._state.phrases.still_there)
        self._pending.send(question, None, now)
        # A session that hears nothing says nothing of a caller who asks in vain.
        self._state.steps.expect_answer(now)
