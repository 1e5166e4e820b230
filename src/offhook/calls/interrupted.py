"""Take-over of calls that another process had, from their lines (journal/live_files.py).

Each goes on at once in this process, off the stream: Twilio asks /twilio/after when a stream has
broken off, and our answer is a new stream (twilio.md §2.4). A call that Twilio does not ask about
ends `server_died`. A call that cannot go on is left to the operator's process, which ends it.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from offhook.call.ending import Slug
from offhook.call.handoff_actions import JoinConference
from offhook.call.resumed import ResumedCall
from offhook.calls.call_entry import CallEntry
from offhook.calls.call_updates import CallUpdates
from offhook.calls.live_facts import MARK, LiveFacts, decoded
from offhook.calls.places import TakenCall
from offhook.calls.registry import CallRegistry
from offhook.calls.session_factory import SessionFactory
from offhook.clock import Clock
from offhook.config import Agent
from offhook.config.current_agents import CurrentAgents
from offhook.journal.entries import MalformedEntryError, decode
from offhook.journal.live_files import LiveCallFile
from offhook.twilio.call_status import FINAL
from offhook.twilio.errors import TwilioRefusedError, TwilioUnreachableError

_log: Final = logging.getLogger("offhook.interrupted")

DEATHS_MAX: Final = 3
"""Processes that may die soon after they have taken a call over: it may be what kills them."""

SOON_MS: Final = 15_000
"""Milliseconds of a call within which a process that has taken it over dies soon."""

HUNG_UP: Final = "a browser's call ends with its socket, and Twilio knows nothing of it"
"""Reason why a call from a browser cannot go on: nothing asks what comes after its stream, and a
page that opened another one by itself would have a microphone listen to anybody who is there by
then."""


class InterruptedCalls:
    """Calls of processes that died, which this process takes over.

    Args:
        files: Makes the files of dead processes this one's own, and returns them.
        drop: Removes the file of a call that cannot go on.
        agents: The agents of the configuration.
        registry: The calls of this process.
        sessions: Makes the sessions.
        updates: Asks Twilio about calls.
        clock: The server's clock.
    """

    def __init__(
        self,
        files: Callable[[], Iterable[LiveCallFile]],
        drop: Callable[[str], None],
        agents: CurrentAgents,
        registry: CallRegistry,
        sessions: SessionFactory,
        updates: CallUpdates,
        clock: Clock,
    ) -> None:
        self._files = files
        self._drop = drop
        self._agents = agents
        self._registry = registry
        self._sessions = sessions
        self._updates = updates
        self._clock = clock
        self.placed: Callable[[str, Agent], None] = _nothing
        """Called with each call that we had placed, and its agent."""
        self.lost: Callable[[str], None] = _forget_nothing
        """Called with each call that can go on nowhere, and is not here."""

    def take_over(self) -> None:
        """Go on with the calls of processes that have died. Blocks for some ms."""
        calls = [TakenCall(file.call_sid, file.lines) for file in self._files()]
        taken = self._go_on_with_each(calls)
        lost = len(calls) - taken
        if calls:
            _log.warning("%d calls of a process that died go on here, %d are over", taken, lost)

    async def take_over_claimed(
        self, claim: Callable[[Sequence[LiveCallFile]], Awaitable[list[TakenCall]]]
    ) -> None:
        """Go on with those calls of processes that have died which `claim` returns."""
        files = list(self._files())
        taken = await claim(files)
        self._go_on_with_each(taken)
        for call_sid in {file.call_sid for file in files} - {call.call_sid for call in taken}:
            self._drop(call_sid)

    def _go_on_with_each(self, calls: Iterable[TakenCall]) -> int:
        """Go on with calls; return with how many. A fault with one is logged."""
        taken = 0
        for call in calls:
            try:
                taken += self.go_on(call)
            except Exception:  # noqa: BLE001 - the other calls go on
                sid = {"call_sid": call.call_sid}
                _log.exception("a fault as a call was taken over", extra=sid)
        return taken

    def go_on(self, taken: TakenCall) -> bool:
        """Go on with a call that another process had; return whether that can be."""
        call_sid = taken.call_sid
        why = self._begin(taken)
        if why is None:
            return True
        _log.warning(
            "a call that another process had cannot go on: %s", why, extra={"call_sid": call_sid}
        )
        self._drop(call_sid)
        if call_sid not in self._registry.live:
            self.lost(call_sid)
        if why is not HUNG_UP:
            self.settle(call_sid)
        return False

    def _begin(self, taken: TakenCall) -> str | None:
        """Go on with a call; return why that cannot be."""
        try:
            facts, resumed = read(taken)
            if facts is None:
                return "its facts are damaged"
            if taken.began_ago_s is not None:  # by the clock of the directory
                began_s = self._clock.now() - taken.began_ago_s
                facts = dataclasses.replace(facts, boot=self._sessions.boot, began_s=began_s)
            agent = self._agents.find(resumed.agent or facts.agent)
            why = _hindrance(facts, resumed, agent, self._clock.now(), self._sessions.boot)
            if self._registry.find(taken.call_sid) is not None:
                return why or "this process has such a call"
            if why is not None or agent is None:
                self._hang_up_person(facts)
                return why
            entry = self._sessions.take_over(
                taken.call_sid,
                agent,
                facts,
                resumed,
                epoch=taken.epoch,
                node=taken.node,
                token=taken.token,
            )
        except Exception as error:  # noqa: BLE001 - one call's lines must not keep the others out
            _log.exception(
                "a fault in reading a live call's lines", extra={"call_sid": taken.call_sid}
            )
            return type(error).__name__
        if facts.by == "api":
            self.placed(taken.call_sid, entry.agent)
        return None

    def _hang_up_person(self, facts: LiveFacts) -> None:
        """Hang up on who was called for a caller whose call cannot go on, unless the two talk."""
        action = facts.handoff_action
        have_met = isinstance(action, JoinConference) and facts.has_begun and not facts.is_returning
        if facts.person is not None and not have_met:
            self._updates.hang_up(facts.person.leg, _leave_leg)

    def ended(self, entry: CallEntry) -> None:
        """Settle a call that has ended; only one that did not come back needs it."""
        if entry.ending is not None and entry.ending.how is Slug.SERVER_DIED:
            self.settle(entry.call_sid)

    def settle(self, call_sid: str) -> None:
        """Ask Twilio how a call has ended, where there are credentials, and record it."""
        if self._updates.rest is not None:
            _ = self._updates.start(call_sid, self._settle(call_sid))

    async def _settle(self, call_sid: str) -> None:
        assert self._updates.rest is not None
        try:
            found = await self._updates.rest.fetch_call(call_sid)
        except (TwilioRefusedError, TwilioUnreachableError) as error:
            _log.warning("cannot record the end of an interrupted call: %s", error)
            return
        if found.status in FINAL:
            duration = found.duration or ""
            seconds = int(duration) if duration.isdecimal() else 0
            self._registry.bill(call_sid, found.status, seconds)


def read(taken: TakenCall) -> tuple[LiveFacts | None, ResumedCall]:
    """Return the facts and the events in the lines of a call; other lines are left out.

    The facts are None when the line has no facts.
    """
    facts: LiveFacts | None = None
    resumed = ResumedCall()
    for line in taken.lines:
        if line.startswith(MARK):
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                facts = decoded(line)
        else:
            with contextlib.suppress(MalformedEntryError):
                entry = decode(0, line, opaque=True)
                resumed.take(entry.event, entry.at_ms)
    return facts, resumed


def _hindrance(
    facts: LiveFacts, resumed: ResumedCall, agent: Agent | None, now: float, boot: str
) -> str | None:
    """Return why a call cannot go on; None if it can."""
    if facts.boot != boot or now < facts.began_s:
        # The monotonic clock began anew, and no caller has waited for that long.
        return "the machine has been started anew since"
    if resumed.is_over:
        return "it has ended"
    if agent is None:
        return "its agent is not in the configuration any more"
    if facts.by == "browser":
        return HUNG_UP
    if facts.by == "bin" and facts.streams == 0:
        return "Twilio asks nothing more about a TwiML Bin's call (twilio.md §2.4)"
    soon = 0
    for at_ms, next_ms in pairwise((*resumed.taken_over_ms, round(1000 * (now - facts.began_s)))):
        soon = soon + 1 if next_ms - at_ms < SOON_MS else 0
    if soon >= DEATHS_MAX:
        return f"{soon} processes have died soon after they took it over"
    return None


def _nothing(call_sid: str, agent: Agent) -> None:
    """Do nothing with a call that we had placed: no calls are placed here."""


def _leave_leg() -> None:
    """Do nothing to a leg that Twilio cannot be asked to end."""


def _forget_nothing(call_sid: str) -> None:
    """Do nothing: no other process knows of the call."""
