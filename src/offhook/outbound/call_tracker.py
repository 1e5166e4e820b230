"""Tracking of calls that we placed: status reports, verdicts on machines, and queries."""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from typing import Final

from offhook.call import inputs
from offhook.call.ending import Slug
from offhook.calls import responses
from offhook.calls.call_entry import CallEntry, PendingCall
from offhook.calls.placed_intake import PlacedIntake
from offhook.calls.registry import CallRegistry
from offhook.clock import Clock
from offhook.config import Agent
from offhook.errors import UserError
from offhook.outbound.call_status import END_OF_GREETING, MACHINES, UNANSWERED, CallStatus
from offhook.outbound.errors import TryLaterError
from offhook.outbound.ledger import CallLedger
from offhook.outbound.requests import PlacedCallState
from offhook.twilio import twiml
from offhook.twilio.errors import TwilioRefusedError, TwilioUnreachableError
from offhook.twilio.rest import TwilioRest

_log: Final = logging.getLogger("offhook.outbound")

GOODBYE_S: Final = 60
"""Seconds that our own time limit leaves the agent for its goodbye."""

OVERDUE_S: Final = 60.0
"""Seconds after an overdue report until Twilio is asked for it."""

FOLLOWED_MAX: Final = 1000
"""Ended calls whose status is kept here."""


class _Followed:
    """A call between its placing and its end."""

    __slots__ = ("agent", "changed", "due", "reported")

    def __init__(self, agent: Agent, due: float) -> None:
        self.agent = agent
        self.reported = CallStatus()
        self.changed = asyncio.Event()
        self.due = due
        """Time at which Twilio is asked for the call's status, if it has not reported it."""


class CallTracker:
    """The calls that a server has placed. The owner runs `watch`."""

    def __init__(
        self,
        calls: CallRegistry,
        intake: PlacedIntake,
        rest: TwilioRest,
        ledger: CallLedger,
        clock: Clock,
    ) -> None:
        self.expected: dict[str, PendingCall] = {}
        """Calls without a CallSid yet, by the id that Twilio's callbacks bring."""
        self._calls = calls
        self._intake = intake
        self._rest = rest
        self._ledger = ledger
        self._clock = clock
        self._followed: OrderedDict[str, _Followed] = OrderedDict()

    @property
    def live(self) -> int:
        """Number of calls that ring or go on."""
        return sum(not followed.reported.final for followed in self._followed.values())

    def follow(self, sid: str, agent: Agent) -> None:
        """Track a call from now on: its CallSid is known."""
        due = self._clock.now() + agent.outbound.ring_seconds + OVERDUE_S
        self._followed[sid] = _Followed(agent, due)
        if len(self._followed) > FOLLOWED_MAX:
            oldest = next((s for s, f in self._followed.items() if f.reported.final), None)
            if oldest is not None:
                del self._followed[oldest]

    def forget(self, sid: str) -> None:
        """Track a call no more: another process has it."""
        self._followed.pop(sid, None)

    async def name(self, sid: str, placing_id: str) -> None:
        """Take in the call of an attempt, or leave it to another process, which has its stream."""
        pending = self.expected.get(placing_id)
        if pending is not None and await self._intake.name(sid, pending) is None:
            self.expected.pop(placing_id, None)

    def knows(self, sid: str, placing_id: str) -> bool:
        """Return whether a call, or the attempt that a callback names, is of this process."""
        return sid in self._followed or placing_id in self.expected

    async def on_status(self, sid: str, status: str, placing_id: str, detail: str) -> bool | None:
        """Take a status callback. Return whether it is news; None: the call is not one of ours."""
        followed = self._followed.get(sid)
        if followed is None and placing_id:
            if placing_id not in self.expected:
                # The attempt may be of an earlier run of this server: the report names its call.
                with contextlib.suppress(UserError):
                    await self._ledger.name(placing_id, sid)
                return None
            await self.name(sid, placing_id)
            followed = self._followed.get(sid)
        if followed is None:
            return None
        return self._hear(sid, followed, status, detail)

    def _hear(self, sid: str, followed: _Followed, status: str, detail: str) -> bool:
        if not followed.reported.hear(status):
            return False
        entry = self._calls.find(sid)
        if followed.reported.final:
            slug = UNANSWERED.get(status)
            if slug is not None and entry is not None and not entry.has_stream:
                self._calls.send(sid, inputs.NobodyReached(slug, detail))
            else:
                self._calls.send(sid, inputs.CallOver())
        elif status == "in-progress":
            limit_s = followed.agent.limits.max_minutes * 60 + GOODBYE_S
            followed.due = self._clock.now() + limit_s + OVERDUE_S
            self._intake.picked_up(sid)
        followed.changed.set()
        followed.changed = asyncio.Event()
        return True

    async def on_answered_by(self, sid: str, verdict: str, placing_id: str) -> None:
        """Take a verdict on who answered. The agent talks to a person already, before the verdict.

        A machine's call ends here. When the stream is open its end is enough: Twilio then asks
        /twilio/after, which answers with the message or the hang-up. That takes no REST request
        that could fail or come too early, and no agent that would have to be quiet, find the
        moment and say the words. Without a stream (the announcement is still being said) REST
        replaces what Twilio does.
        """
        followed = self._followed.get(sid)
        if followed is None:
            await self.name(sid, placing_id)
            followed = self._followed.get(sid)
        if followed is None or not followed.reported.hear_answered_by(verdict):
            return
        wants = followed.agent.outbound
        if verdict not in MACHINES or wants.answering_machine == "talk" or followed.reported.final:
            return
        entry = self._calls.find(sid)
        if entry is None or entry.ending is not None or entry.handoff.action is not None:
            return  # over, or being transferred
        leave = wants.answering_machine == "leave_message" and verdict in END_OF_GREETING
        had_stream = entry.has_stream
        slug = Slug.MESSAGE_LEFT if leave else Slug.MACHINE_ANSWERED
        self._calls.send(sid, inputs.NobodyReached(slug, verdict))
        if not had_stream:
            await self._redirect(sid, entry, leave=leave)

    async def _redirect(self, sid: str, entry: CallEntry, *, leave: bool) -> None:
        message = entry.agent.outbound.message
        try:
            if leave and message is not None:
                await self._rest.update_call(sid, twiml=twiml.hang_up(responses.announced(message)))
            else:
                await self._rest.hang_up(sid)
        except (TwilioRefusedError, TwilioUnreachableError) as error:
            # The stream that comes is refused then, and Twilio asks /twilio/after all the same.
            _log.warning("a machine's call could not be ended at once: %s", error)

    async def watch(self) -> None:
        """Ask Twilio about calls whose reports are overdue. Runs until cancelled.

        Callbacks are best effort (twilio.md §4.3): one that is lost must not hold a call for ever.
        """
        while True:
            await asyncio.sleep(5.0)
            now = self._clock.now()
            overdue = [
                (sid, followed)
                for sid, followed in self._followed.items()
                if not followed.reported.final and followed.due <= now
            ]
            for sid, followed in overdue:
                followed.due = now + OVERDUE_S
                with contextlib.suppress(TwilioRefusedError, TwilioUnreachableError):
                    fetched = await self._rest.fetch_call(sid)
                    self._hear(sid, followed, fetched.status, "asked, not told")

    # --- asking --------------------------------------------------------------------------------

    async def state(
        self, sid: str, seen: str | None = None, wait_s: float = 0.0
    ) -> PlacedCallState | None:
        """Return the state of a call, once its status is not `seen`, or after `wait_s`.

        Twilio is asked about a call that this run did not place; None: Twilio has no such call.
        Raises TryLaterError when Twilio cannot be asked.
        """
        followed = self._followed.get(sid)
        if followed is None:
            return await self._fetched(sid)
        if followed.reported.status == seen and not followed.reported.final:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await followed.changed.wait()
        reported = followed.reported
        entry = self._calls.find(sid)
        ending = entry.ending if entry is not None else None
        return PlacedCallState(
            sid,
            reported.status,
            reported.final,
            reported.answered_by,
            ending.how.slug if ending is not None else None,
            ending.how.words if ending is not None else None,
        )

    async def _fetched(self, sid: str) -> PlacedCallState | None:
        try:
            fetched = await self._rest.fetch_call(sid)
        except TwilioRefusedError as refused:
            if refused.status == 404:
                return None
            raise _unasked() from None
        except TwilioUnreachableError:
            raise _unasked() from None
        reported = CallStatus()
        reported.hear(fetched.status)
        return PlacedCallState(sid, reported.status, reported.final, None, None, None)


def _unasked() -> TryLaterError:
    return TryLaterError(
        "E-OUT-15",
        "Twilio cannot be asked what became of this call.",
        "Ask again in a moment.",
        2.0,
    )
