"""Limits that the call processes of one machine's server share while one takes another's place.

Each has its own live calls, and counts its own dials and use. So while there are several, each
looks once a second at what the others have: their live calls over their sockets, dials and use in
the files of the data folder. A server that was not reloaded looks at nothing.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from offhook.calls.registry import CallRegistry
from offhook.clock import Clock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.errors import UserError
from offhook.link.messages import CallProcessState
from offhook.link.neighbours import Neighbours
from offhook.link.process_files import siblings
from offhook.outbound.ledger import CallLedger
from offhook.policy.dial_count import DialCount
from offhook.policy.dial_policy import DialPolicy
from offhook.policy.inbound_policy import InboundPolicy
from offhook.serving.composition import ServerNeeds, ServerParts

LOOK_S: Final = 1.0
"""Seconds between two looks."""

StateOf: TypeAlias = Callable[[str], Awaitable[CallProcessState | None]]
"""Function that returns the state of the process of an id; None: it does not answer."""


class ProcessesBeside:
    """Counts of the other call processes of this server.

    Args:
        calls: The calls of this process.
        policy: Its limits on dialling.
        inbound: Its limits on incoming calls.
        count: The count of dials on disk, if there is one.
        ledger: The ledger, if there is one.
        clock: The server's clock.
        tasks: Owner of the task that looks.
        find: Returns the ids of the other processes. Blocks for less than a ms.
        state_of: Asks one of them.
    """

    def __init__(
        self,
        calls: CallRegistry,
        policy: DialPolicy,
        inbound: InboundPolicy,
        count: DialCount | None,
        ledger: CallLedger | None,
        clock: Clock,
        tasks: ServerTasks,
        *,
        find: Callable[[], Sequence[str]],
        state_of: StateOf,
    ) -> None:
        self._calls = calls
        self._policy = policy
        self._inbound = inbound
        self._count = count
        self._ledger = ledger
        self._clock = clock
        self._tasks = tasks
        self._find = find
        self._state_of = state_of
        self._others: dict[str, CallProcessState] = {}
        """The last state of each other process that has answered."""
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Look, before the first call is taken, and go on while there is another process."""
        with self._tasks.contained("look at what others count"):
            if not await self.look():
                return
        self.watch()

    def watch(self) -> None:
        """Look once a second: another process takes the place of this one, or the other way."""
        if self._watching is None or self._watching.done():
            self._watching = self._tasks.keep("limits of other processes", self._watch)

    def close(self) -> None:
        """Stop looking."""
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        """Look until this process is the only one, and is not to be replaced."""
        is_alone = False
        while not is_alone:
            await asyncio.sleep(LOOK_S)
            is_alone = not (await self.look() or self._calls.is_draining)

    async def look(self) -> bool:
        """Take over what the others have counted; return whether there is another process."""
        ids = self._find()
        found = await asyncio.gather(*(self._state_of(process_id) for process_id in ids))
        # One that does not answer has what it had: it cannot have taken new calls since.
        states = {
            process_id: self._others.get(process_id) if state is None else state
            for process_id, state in zip(ids, found, strict=True)
        }
        self._others = {each: state for each, state in states.items() if state is not None}
        self._calls.live_beside = sum(state.live for state in self._others.values())
        self._calls.placed_beside = sum(state.placed for state in self._others.values())
        if ids:
            await self._read_files()
        return bool(ids)

    async def _read_files(self) -> None:
        now = self._clock.now()
        if self._count is not None:
            with contextlib.suppress(OSError, TimeoutError):  # its own writes tell that it fails
                self._policy.learn(await self._count.news(now))
        if self._ledger is not None and self._inbound.rules.counts:
            with contextlib.suppress(UserError):
                self._inbound.learn(await self._ledger.calls_of_now(now))


def processes_beside(
    needs: ServerNeeds,
    parts: ServerParts,
    clock: Clock,
    tasks: ServerTasks,
    neighbours: Neighbours,
    supervisor: int,
) -> ProcessesBeside:
    """Return what the other call processes of a supervisor count, for a server of these parts."""
    journal = needs.journal
    assert journal is not None, "a process without one has no neighbours"
    root, process_id = journal.folder.parent, journal.process_id
    return ProcessesBeside(
        parts.calls.registry,
        parts.policy,
        parts.calls.inbound,
        needs.dial_count,
        needs.ledger,
        clock,
        tasks,
        find=lambda: siblings(root, process_id, supervisor),
        state_of=neighbours.state_of,
    )
