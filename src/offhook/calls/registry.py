"""Registry of the pending, live and recently ended calls of a server."""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from offhook.call import inputs
from offhook.call.ending import Ending, Slug
from offhook.call.inputs import Input
from offhook.calls.call_entry import NO_VALUES, CallEntry, nothing
from offhook.calls.call_limits import CallLimit, CallLimits
from offhook.calls.replay_cache import ReplayCache, mark_of
from offhook.clock import Clock
from offhook.events.types import (
    AgentConnected,
    CallBilled,
    CallEnded,
    CallEvent,
    Event,
    Subscriber,
)

_log: Final = logging.getLogger("offhook.registry")

RECENT_MAX: Final = 1000
"""Recently ended calls that are kept whole: Twilio asks about each once more."""

_LOOK_S: Final = 0.05


class PendingLookup:
    """A webhook call whose lookup is under way.

    Attributes:
        announced: Set when the lookup is over.
        owed: Inputs that came meanwhile, to be passed once the call is there; two or three.
    """

    __slots__ = ("announced", "owed")

    def __init__(self) -> None:
        self.announced: Final = asyncio.Event()
        self.owed: Final[list[Callable[[], None]]] = []


class CallRegistry:
    """Registry of the calls of one server.

    Attributes:
        live: Calls that are not over, by CallSid.
        is_draining: True while the server stops and takes no further call.
        live_beside: Live calls of the other call processes of this server, in whose place this one
            comes, or that come in its place.
        placed_beside: Those of them which their process has placed.
    """

    def __init__(
        self,
        limits: CallLimits,
        clock: Clock,
        publish: Subscriber,
        seen: Iterable[int] = (),
        saw: Callable[[int], None] = lambda mark: None,
    ) -> None:
        """Take `limits` on new calls, `publish`, called with every event, and `seen`.

        `seen` are the marks of earlier CallSids. `saw` is called with the mark of every new
        CallSid, for later runs.
        """
        self.is_draining = False
        self.live_beside = 0
        self.placed_beside = 0
        self.live: Final[dict[str, CallEntry]] = {}
        self._limits = limits
        self._clock = clock
        self._publish = publish
        self._pending: dict[str, PendingLookup] = {}
        self._over: dict[str, CallEntry] = {}
        self._seen = ReplayCache(clock.now(), seen)
        self._saw = saw
        self._billed = ReplayCache(clock.now())
        self._changed = asyncio.Event()

    @property
    def live_count(self) -> int:
        """Number of calls that have a stream, or are expected to have one soon."""
        return len(self._pending) + sum(1 for _ in self._on_the_line())

    @property
    def limit_reached(self) -> CallLimit | None:
        """Limit for which the server takes no further call; None while it takes one."""
        if self.is_draining:
            return CallLimit.CAPACITY
        live = without_agent = len(self._pending) + self.live_beside  # each may have a session
        at_most = live + len(self.live)
        limit = self._limits.reached(at_most, at_most)
        if limit is None or limit is CallLimit.LAG:
            return limit  # the same with fewer, so a call's beginning looks at no other call
        for entry in self._on_the_line():
            live += 1
            without_agent += not entry.has_agent
        return self._limits.reached(live, without_agent)

    def _on_the_line(self) -> Iterator[CallEntry]:
        """Yield the calls that have a stream, or are expected to have one soon."""
        now = self._clock.now()
        return (e for e in self.live.values() if e.has_stream or now < e.expected_until)

    def find(self, call_sid: str) -> CallEntry | None:
        """Return a live or recently ended call; None when it is pending or not known."""
        return self.live.get(call_sid) or self._over.get(call_sid)

    def pending_lookup(self, call_sid: str) -> PendingLookup | None:
        """Return the lookup of a call that is under way, if there is one."""
        return self._pending.get(call_sid)

    def was_seen(self, call_sid: str) -> bool:
        """Return whether a call with that CallSid is over, or is being looked up."""
        return call_sid in self._seen or call_sid in self._pending

    def is_long_over(self, call_sid: str) -> bool:
        """Return whether only the CallSid of a call is still known, as it ended long ago."""
        return call_sid in self._seen and self.find(call_sid) is None

    # --- what comes and goes -------------------------------------------------------------------

    def begin_lookup(self, call_sid: str) -> PendingLookup:
        """Start a lookup; the call counts as live meanwhile."""
        self._pending[call_sid] = PendingLookup()
        return self._pending[call_sid]

    def end_lookup(self, call_sid: str) -> None:
        """Wake the tasks that wait for a lookup, which is over."""
        self._pending.pop(call_sid).announced.set()
        self._changed.set()

    def add(self, entry: CallEntry) -> None:
        """Add a new call."""
        self.live[entry.call_sid] = entry
        self._saw(mark_of(entry.call_sid))

    def end(self, call_sid: str, ending: Ending | None) -> None:
        """Move a call that is over to the recent ones, without its session."""
        entry, now = self.live.pop(call_sid), self._clock.now()
        entry.ending = ending
        entry.session = None
        entry.keep = nothing
        entry.values = NO_VALUES
        entry.over_at = now
        entry.handoff.clear()
        self._over[call_sid] = entry
        self._seen.add(call_sid, now)
        if len(self._over) > RECENT_MAX:
            del self._over[next(iter(self._over))]
        self._changed.set()

    def let_go(self, call_sid: str) -> None:
        """Remove a call that another process goes on with, as if it had never been here."""
        entry = self.live.pop(call_sid)
        entry.session = None
        entry.keep = nothing
        entry.values = NO_VALUES
        entry.answered.set()
        self._changed.set()

    # --- what happens to calls -----------------------------------------------------------------

    def send(self, call_sid: str, message: Input) -> None:
        """Pass an input from outside to a call, after its lookup if that is under way."""
        pending = self._pending.get(call_sid)
        if pending is not None:
            pending.owed.append(partial(self.send, call_sid, message))
            return
        entry = self.live.get(call_sid)
        if entry is not None:
            entry.receive(message)

    def publish(self, event: CallEvent) -> None:
        """Publish an event of a session, and wake the webhook that waits for its agent."""
        if isinstance(event.event, AgentConnected | CallEnded):
            entry = self.live.get(event.call_sid)
            if entry is not None:
                entry.answered.set()
        self._publish(event)

    def note(self, call_sid: str, event: Event) -> None:
        """Publish an event of a call that may be over, or not have begun."""
        entry = self.find(call_sid)
        began = entry.began if entry is not None else self._clock.now()
        at_ms = round((self._clock.now() - began) * 1000)
        self._publish(CallEvent(call_sid, at_ms, event))

    def bill(self, call_sid: str, status: str, seconds: int) -> None:
        """Note, once, the length that Twilio reports of a call, in seconds: the call is over.

        During the call's lookup this waits, as in `send`.
        """
        pending = self._pending.get(call_sid)
        if pending is not None:
            pending.owed.append(partial(self.bill, call_sid, status, seconds))
            return
        if call_sid in self._billed:
            return
        self._billed.add(call_sid, self._clock.now())
        over = self._over.get(call_sid)
        if over is not None:
            self.after_answered(over)  # Twilio asks nothing more
        self.note(call_sid, CallBilled(status, seconds * 1000))

    def after_answered(self, entry: CallEntry) -> None:
        """Note that Twilio was told what comes after the stream."""
        entry.is_after_due = False
        self._changed.set()

    # --- stopping ------------------------------------------------------------------------------

    def stop_all(self) -> None:
        """End every call now; callers who talk with somebody else by now count as transferred."""
        for call_sid in [*self.live, *self._pending]:
            entry = self.live.get(call_sid)
            try:
                if entry is not None:
                    entry.handoff.stop()
                self.send(call_sid, inputs.ServerStopped())
            except Exception:  # noqa: BLE001 - the others must hear their farewell
                _log.exception("a fault as a call was ended", extra={"call_sid": call_sid})

    async def until_idle(self) -> None:
        """Wait until no call has a stream, or is expected to have one soon."""
        while self.live_count:
            now = self._clock.now()
            due = [e.expected_until for e in self.live.values() if not e.has_stream]
            coming = [at for at in due if at > now]
            await self._wait(min(coming) - now if coming else None)

    async def until_after_answered(self, seconds: float, hung_up: Callable[[], bool]) -> None:
        """Wait until Twilio was told what comes after every stream, for `seconds` of each at most.

        A server that exits right after it closed a stream leaves its caller with Twilio's
        error. Twilio may also ask after a caller has hung up (twilio.md §2.4, INFERRED).
        The server waits for that as long as `hung_up` returns True, so that Twilio logs no
        unreachable server. The wait is counted in checks, so it is longer on a slow
        machine.
        """
        begin = self._clock.now()
        for _ in range(math.ceil(seconds / _LOOK_S)):
            since, gone = begin - seconds, hung_up()
            if not any(_is_after_due(entry, since, gone) for entry in self._over.values()):
                return
            await self._wait(_LOOK_S)

    async def _wait(self, seconds: float | None) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(None if seconds is None else max(seconds, 0) + 0.001):
                await self._changed.wait()
        except TimeoutError:
            pass


def _is_after_due(entry: CallEntry, since: float, hung_up: bool) -> bool:
    """Return whether Twilio may still ask what comes after a call, over since then or later."""
    if not entry.is_after_due or entry.over_at is None or entry.over_at < since:
        return False
    gone = entry.ending is not None and entry.ending.how is Slug.CALLER_HUNG_UP
    return not gone or (hung_up and entry.by_webhook)
