"""Call processes of other nodes, as an operator's process finds them in the shared database.

Only operators' processes import this: a call process asks the database by offhook.fleet.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from offhook.errors import UserError
from offhook.fleet.places import LEASE_S
from offhook.link.client import CallProcess, node_away
from offhook.link.node_links import NodeLinks, NotHereError
from offhook.outbound.errors import TryLaterError
from offhook.records.elsewhere import OwnedCall

LOOK_UP_S: Final = 1.0
"""Seconds that a look-up in the database may take."""

AGAIN_S: Final = 2.0
"""Seconds after which a request may be repeated that could not be looked up."""

CLOCK_S: Final = 60.0
"""Seconds for which the database's clock is believed to go on as it was read."""

# A call that has ended is still its process's, which answers how it has ended.
_OWNER: Final = text(
    "SELECT p.process_id, p.node, p.address,"
    " extract(epoch FROM clock_timestamp())::double precision FROM fleet_calls c"
    " JOIN fleet_processes p USING (process_id) WHERE c.call_sid = :call_sid"
)

_PROCESSES: Final = text(
    "SELECT process_id, node, address, is_draining,"
    " extract(epoch FROM clock_timestamp())::double precision FROM fleet_processes"
    " WHERE beat_at > clock_timestamp() - :lease * interval '1 s' ORDER BY started_at DESC"
)

_T = TypeVar("_T")


class RunInThread(Protocol):
    """Function that runs another one in a thread."""

    def __call__(self, work: Callable[[], _T], /) -> Awaitable[_T]:
        """Return the result of `work`."""


class FoundProcess(NamedTuple):
    """A call process of another node, with the name of that node."""

    node: str
    process: CallProcess


class HintedProcess(NamedTuple):
    """A call process of another node that had a call in that epoch a moment ago."""

    process: CallProcess
    epoch: int


class FleetLookup:
    """Look-ups of other nodes' call processes, to which connections are kept.

    Args:
        engine: The shared database, with an AUTOCOMMIT engine of its own.
        run: Runs a query in a thread.
        links: What opens links to other nodes; its clock is this object's.
        now: A monotonic clock, in seconds.

    Attributes:
        owners: Who had which live call at the last look (records/elsewhere.py).
    """

    def __init__(
        self,
        engine: Engine,
        run: RunInThread,
        links: Callable[[Callable[[], int]], NodeLinks],
        now: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._run = run
        self._now = now
        self._links: Final = links(self.now_ms)
        self._ahead_ms = 0.0
        self._read_at: float | None = None
        """Time at which a look-up has last read the database's clock."""
        self._known: dict[str, FoundProcess] = {}
        self.owners: Mapping[str, OwnedCall] = {}

    def hinted(self, call_sid: str) -> HintedProcess | None:
        """Return the process of another node that had a call at the last look; None: no such one.

        The process must be told the epoch: the call may have left it. None, too, if the database's
        clock, by which a request expires, was not read for CLOCK_S: the next look-up reads it.
        """
        owner = self.owners.get(call_sid)
        if owner is None or owner.node == self._links.node:
            return None
        if self._read_at is None or self._now() - self._read_at >= CLOCK_S:
            return None
        found = self._process(owner.process_id, owner.node, owner.address)
        return HintedProcess(found.process, owner.epoch)

    def now_ms(self) -> int:
        """Return the time by the database's clock, as of the last look-up."""
        return round(1000 * self._now() + self._ahead_ms)

    async def owner(self, call_sid: str) -> FoundProcess | None:
        """Return the process of another node that has a call, or had it last; None: no such call.

        Each node is asked about a call that the directory does not have, as one from a browser, and
        while the database does not answer. Raises TryLaterError E-LINK-09 if none knows it then.
        """
        try:
            found = await self._ask(_OWNER, call_sid=call_sid)
        except TryLaterError as is_away:
            knows = await self.knowing(call_sid)
            if knows is None:
                raise is_away from None
            return knows
        if not found:
            return await self.knowing(call_sid)
        owner = found[0]
        return None if owner.node == self._links.node else self._process(*owner[:3])

    async def others(self) -> list[FoundProcess]:
        """Return the processes of other nodes that live, the newest first; as known, if it is away.

        The database tells them apart from those that have died by its own clock.
        """
        with contextlib.suppress(TryLaterError):
            rows = [
                row
                for row in await self._ask(_PROCESSES, lease=LEASE_S)
                if row.node != self._links.node
            ]
            alive = {row.process_id for row in rows}
            for gone in self._known.keys() - alive:
                self._known.pop(gone).process.close()
            return [self._process(*row[:3]) for row in rows]
        return [*self._known.values()]

    async def placing(self, key: str) -> FoundProcess | None:
        """Return the process of another node that places calls of an idempotency key; None: ours.

        Each node has its own ledger of keys, and learns others' only after some seconds. So all
        nodes send the same key to the same one of those that take new calls: by the highest hash.
        Raises TryLaterError E-LINK-09 while the database does not answer.
        """
        rows = [row for row in await self._ask(_PROCESSES, lease=LEASE_S) if not row.is_draining]
        if not rows:
            return None
        row = max(rows, key=lambda row: hashlib.sha256(f"{row.node} {key}".encode()).digest())
        return None if row.node == self._links.node else self._process(*row[:3])

    async def knowing(self, call_sid: str) -> FoundProcess | None:
        """Return the process of another node that knows a call, by asking each of them.

        Raises TryLaterError E-LINK-07 if none does, and one that lives does not answer.
        """
        silent: list[str] = []

        async def asked(found: FoundProcess) -> FoundProcess | None:
            try:
                state = await found.process.process_state(call_sid)
            except NotHereError:
                return None
            except UserError:
                silent.append(found.node)
                return None
            return found if state.knows_call else None

        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(asked(found)) for found in await self.others()]
            try:
                for answer in asyncio.as_completed(asking):
                    knows = await answer
                    if knows is not None:
                        return knows
            finally:
                for task in asking:
                    task.cancel()
        if silent:
            raise node_away(silent[0])
        return None

    def close(self) -> None:
        """Close all connections."""
        for found in self._known.values():
            found.process.close()
        self._known.clear()

    def _process(self, process_id: str, node: str, address: str) -> FoundProcess:
        found = self._known.get(process_id)
        if found is None:
            made = CallProcess.of(process_id, node, address, self._links)
            found = self._known[process_id] = FoundProcess(node, made)
        return found

    async def _ask(self, statement: Any, **values: str | float) -> list[Any]:
        """Return the rows of a statement, whose last column is the database's clock."""

        def ask() -> list[Any]:
            with self._engine.connect() as connection:
                return [*connection.execute(statement, values)]

        def work() -> list[Any]:
            try:
                return ask()
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                return ask()  # the connection was lost since the last look-up, with all others

        try:
            async with asyncio.timeout(LOOK_UP_S):
                began = self._now()
                rows = await self._run(work)
        except (SQLAlchemyError, TimeoutError):
            raise away() from None
        if rows:
            self._read_at = self._now()
            # The answer is of the middle of the wait, about.
            self._ahead_ms = 1000 * (rows[0][-1] - (began + self._now()) / 2)
        return rows


def away() -> TryLaterError:
    """Return the error for a call that is not of this node while the database does not answer."""
    return TryLaterError(
        "E-LINK-09",
        "The call is not on this node, and the database, which knows where it is, does not answer.",
        "Ask again when the database is back, or ask the node that has the call.",
        AGAIN_S,
    )
