"""Directories of several processes on one real PostgreSQL."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy.engine import URL
from tests.postgres import Postgres
from tests.waiting import until

from offhook.clock import LoopClock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.fleet.budget import SharedBudget
from offhook.fleet.directory import CallDirectory
from offhook.fleet.heartbeat import FleetHeartbeat
from offhook.fleet.live_lines import LiveLines
from offhook.fleet.pulse import Pulse

FACTS = b'{"agent":"desk"}'


def sid(number: int = 1) -> str:
    return f"CA{number:032x}"


def url_text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@contextmanager
def migrated(postgres: Postgres) -> Iterator[str]:
    """A database with the schema; its URL."""
    with postgres.database(migrated=True) as url:
        yield url_text(url)


@dataclass
class FleetNode:
    """A process's directory with its heartbeat."""

    directory: CallDirectory
    heartbeat: FleetHeartbeat
    pulse: Pulse
    lines: LiveLines

    async def beat(self) -> None:
        await self.directory.connection.do(self.heartbeat._beat)


class Fleet:
    """Directories that share a database. A statement of the test's own: `ask`."""

    def __init__(self, url: str, tasks: ServerTasks) -> None:
        self.url = url
        self.tasks = tasks
        self.clock = LoopClock(asyncio.get_running_loop())
        self.serving: list[asyncio.Task[None]] = []

    def _made(
        self, node: str = "a", *, most: int | None = None, nodes: int = 3, url: str = ""
    ) -> CallDirectory:
        return CallDirectory(
            url or self.url, uuid.uuid4().hex, node, SharedBudget("b", most, nodes), self.clock
        )

    def directory(self, node: str = "a", **given: Any) -> CallDirectory:
        """A directory whose connection is served."""
        made = self._made(node, **given)
        self.keep(made.connection.serve)
        return made

    async def here(self, node: str = "a", **given: Any) -> CallDirectory:
        """A directory that is connected."""
        made = self.directory(node, **given)
        await until(lambda: not made.is_away)
        return made

    def unconnected(self, node: str, **given: Any) -> FleetNode:
        """A node whose connection nobody serves."""
        directory = self._made(node, **given)
        pulse = Pulse(self.clock.now())
        heartbeat = FleetHeartbeat(directory, pulse, self.clock)
        return FleetNode(directory, heartbeat, pulse, LiveLines(directory))

    async def node(self, node: str, *, runs: bool = False, **given: Any) -> FleetNode:
        """A node that is connected; it beats by itself if it `runs`."""
        made = self.unconnected(node, **given)
        self.keep(made.directory.connection.serve)
        await until(lambda: not made.directory.is_away)
        if runs:
            self.keep(made.heartbeat.run)
        return made

    def keep(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.serving.append(self.tasks.keep(f"test {len(self.serving)}", make))

    async def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as link:
            cursor = await link.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def taken(self) -> int:
        rows = await self.ask("SELECT taken FROM fleet_budgets WHERE name = 'b'")
        return int(rows[0][0])


@asynccontextmanager
async def fleet_on(url: str) -> AsyncIterator[Fleet]:
    """Directories on one database, which are over with the block; no task of them has failed."""
    async with asyncio.TaskGroup() as group:
        tasks = ServerTasks(group)
        fleet = Fleet(url, tasks)
        yield fleet
        for task in fleet.serving:
            task.cancel()
    assert tasks.faults == 0
