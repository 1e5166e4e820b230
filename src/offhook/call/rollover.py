"""Planned roll-over of one call: another session takes over before Deepgram ends the present one.

Source: deepgram.md §1.3 and §5.4. A session lasts two hours. After a second of quiet before that, a
spare leg is dialled; it gets the conversation so far, and takes over once Deepgram has applied its
Settings, if it has been quiet since. Until then the present leg serves the call, so a spare that is
refused, hangs or dies changes nothing. If Deepgram has no room for two sessions, the present leg is
closed first, and the next one is dialled like one that replaces a lost leg. If the present leg is
lost meanwhile, the spare is the one that replaces it.

The spare gets the caller's audio since the quiet began: the beginning of a word may be in it, of
which the present leg has not told yet. Nothing of that was answered, or it was not quiet.
"""

from enum import Enum
from typing import Any, Final

from offhook.audio import milliseconds
from offhook.call import agent_loss, inputs
from offhook.call.agent_link import AgentLink
from offhook.call.call_state import CallState, is_due, to_ms
from offhook.call.commands import DialSpare, HangUpSpare, SettleSpare, UseSpare
from offhook.call.functions import Functions
from offhook.call.history import ConversationHistory
from offhook.call.key_input import KeyInput
from offhook.call.limits import Limits
from offhook.call.pending_requests import PendingRequests
from offhook.call.phases import Phase
from offhook.call.recovery import Recovery
from offhook.call.turns import Turns
from offhook.events.types import AgentRolledOver, SpareAgentFailed, SpareFailure

SESSION_S: Final = 110 * 60.0
"""Seconds of a session after which another one is to take over; Deepgram ends it at 120 minutes."""
APPROACHING: Final = "MAXIMUM_SESSION_LENGTH_APPROACHING"
"""Code of the Warning that Deepgram sends 5 minutes before it ends a session (§3.5)."""
QUIET_S: Final = 1.0
"""Seconds of quiet before a spare leg is dialled. Deepgram must tell of speech in less."""
LOOK_S: Final = 0.5
"""Seconds between two looks for a quiet moment."""
SPARE_S: Final = 3.0
"""Seconds that a spare leg may take from dialling to SettingsApplied."""
AGAIN_S: Final = 20.0
"""Seconds after a spare that failed until another one is dialled."""
STALE_S: Final = 10.0
"""Seconds after which nobody waits for the end of a turn any more, nor for the answer to one."""


class SpareState(Enum):
    """State of the spare leg."""

    ABSENT = "absent"
    AWAITED = "awaited"
    """The second session is dialled after one quiet second; the caller's audio is kept."""
    DIALLED = "dialled"
    SETTLING = "settling"
    """Deepgram said Welcome, and was sent the Settings."""


class Rollover:
    """Roll-over of one call, due `session_s` seconds after each session's SettingsApplied."""

    def __init__(
        self,
        state: CallState,
        history: ConversationHistory,
        pending: PendingRequests,
        functions: Functions,
        link: AgentLink,
        turns: Turns,
        limits: Limits,
        keys: KeyInput,
        recovery: Recovery,
        session_s: float,
    ) -> None:
        self._state = state
        self._history = history
        self._pending = pending
        self._functions = functions
        self._link = link
        self._turns = turns
        self._limits = limits
        self._keys = keys
        self._recovery = recovery
        self._session_s = session_s
        self._spare = SpareState.ABSENT
        self._request_id = ""
        self._dialled_at = self._quiet_since = self._look_at = self._due = 0.0
        self._failures = 0
        self._said: tuple[Any, ...] = ()
        self._settings: SettleSpare | None = None
        self._session: float | None = None
        self._warned: float | None = None

    # --- what happens --------------------------------------------------------------------------

    def warn(self) -> None:
        """Note that Deepgram is about to end the present session: a roll-over is due now."""
        self._warned = self._link.ready_at

    def settle(self, welcomed: inputs.SpareWelcomed, now: float) -> None:
        """Send the spare leg its Settings, if it has been quiet since before it was dialled."""
        if not self._goes_on(SpareState.DIALLED, now):
            return
        self._spare = SpareState.SETTLING
        self._request_id = welcomed.request_id
        self._settings = SettleSpare(self._history.so_far(), self._pending.changes)
        self._state.do(self._settings)

    def use(self, now: float) -> None:
        """Have the spare leg take over, if it has been quiet since before it was dialled."""
        if not self._goes_on(SpareState.SETTLING, now):
            return
        self._spare = SpareState.ABSENT
        self._failures = 0
        repeated_ms = milliseconds(self._link.held_caller_bytes)
        self._state.do(UseSpare())
        self._link.take_over(self._request_id, self._dialled_at, now)
        self._state.note(AgentRolledOver(to_ms(now - self._dialled_at), repeated_ms))
        if self._state.settings.is_stored:
            self._pending.repeat_changes()

    def lose(self, lost: inputs.SpareLost, now: float) -> None:
        """Go on without a spare leg that was refused, or is gone, and dial another one later."""
        if not self._has_leg:
            return
        if lost.code == "429" and self._is_quiet_still(now):
            self._exchange(lost, now)
        else:
            self._fail(lost.why, lost.code, now)

    def replace_lost(self, now: float) -> None:
        """Have the spare leg answer the loss of the present one, if another is to be dialled.

        A spare that has its Settings is of use only if the next leg would get the same ones, and no
        function is open: the next leg may be told of its result.
        """
        outage = self._link.outage
        if not self._has_leg or outage is None or outage.dial_at is None:
            return
        request_id = None
        if self._spare is SpareState.SETTLING:
            # The second question ends what functions are open.
            if not self._functions.is_idle or (
                self._settings != self._recovery.settings_of_spare(now)
            ):
                return
            request_id = self._request_id
        self._spare = SpareState.ABSENT
        self._failures = 0
        self._recovery.use_spare(request_id, self._dialled_at, self._due, now)

    # --- time ----------------------------------------------------------------------------------

    def due(self) -> float | None:
        """Return when to look for a quiet moment, or give a spare up, in seconds; None: never."""
        if self._spare is not SpareState.ABSENT:
            return self._due if self._serves_present_session() else self._quiet_since
        session = self._link.ready_at
        if session is None:
            return None
        at = session if self._warned == session else session + self._session_s
        return max(at, self._look_at)

    def tick(self, now: float) -> None:
        """Dial a spare leg at a quiet moment; give up one that is late or not needed any more."""
        if not is_due(self.due(), now):
            return
        if self._spare is SpareState.ABSENT:
            self._look_at = now + LOOK_S
            if self._is_quiet(now):
                self._await(now)
        elif not self._serves_present_session():
            self._drop(now)
        elif self._has_leg:
            self._fail("too_late", "", now)
        elif self._is_quiet_still(now):
            self._dial(now)
        else:
            self._drop(now)

    # --- inside --------------------------------------------------------------------------------

    @property
    def _has_leg(self) -> bool:
        return self._spare in (SpareState.DIALLED, SpareState.SETTLING)

    def _goes_on(self, state: SpareState, now: float) -> bool:
        """Return whether the spare is in that state and of use still; drop one that is not."""
        if self._spare is not state:
            return False
        is_quiet = self._is_quiet_still(now)
        if not is_quiet:
            self._drop(now + LOOK_S)
        return is_quiet

    def _await(self, now: float) -> None:
        self._spare = SpareState.AWAITED
        self._session = self._link.ready_at
        self._quiet_since = now
        self._due = now + QUIET_S
        self._said = self._said_so_far()
        self._link.begin_copy()

    def _dial(self, now: float) -> None:
        self._spare = SpareState.DIALLED
        self._dialled_at = now
        self._due = now + SPARE_S
        self._state.do(DialSpare(self._failures))

    def _fail(self, why: SpareFailure, code: str, now: float) -> None:
        self._failures += 1
        self._state.note(SpareAgentFailed(why, code))
        self._drop(now + AGAIN_S)

    def _exchange(self, lost: inputs.SpareLost, now: float) -> None:
        """Close the present leg, as there is no room for a spare, and have the next one dialled."""
        self._state.note(SpareAgentFailed(lost.why, lost.code))
        self._link.keep_copy()
        self._drop(now + AGAIN_S)
        self._state.steps.lose_agent(agent_loss.exchanged(), now)

    def _drop(self, look_at: float) -> None:
        had_leg = self._has_leg
        self._spare = SpareState.ABSENT
        self._look_at = look_at
        self._link.end_copy()
        if had_leg:
            self._state.do(HangUpSpare())

    def _serves_present_session(self) -> bool:
        """Return whether the session that was to be replaced is still the call's."""
        return self._session is not None and self._session == self._link.ready_at

    def _is_quiet_still(self, now: float) -> bool:
        """Return whether nothing was said or done since the caller's audio is kept."""
        return (
            self._serves_present_session()
            and self._is_quiet(now)
            and self._said == self._said_so_far()
        )

    def _said_so_far(self) -> tuple[Any, ...]:
        """Return what differs once something was said, done or changed."""
        return (
            self._turns.utterances,
            self._limits.active_at,
            self._history.so_far(),
            self._pending.changes,
        )

    def _is_quiet(self, now: float) -> bool:
        """Return whether neither side speaks, nor waits for the other, nor for a function."""
        turns = self._turns
        agent_rests = (
            self._state.is_taken
            or turns.is_agent_idle
            or (
                # A reply may have no end (deepgram.md §3.2), or no audio.
                now >= turns.ends_at + STALE_S and now >= self._limits.active_at + STALE_S
            )
        )
        caller_rests = not (turns.is_caller_speaking or turns.owes_answer) or (
            now >= self._limits.active_at + STALE_S
        )
        return (
            self._state.phase is Phase.TALKING
            and agent_rests
            and caller_rests
            and self._functions.is_idle
            and self._pending.is_idle
            and self._keys.is_idle
        )
