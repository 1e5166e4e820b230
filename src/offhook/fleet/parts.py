"""The parts of a call process that belongs to a fleet, in one place."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from offhook.clock import Clock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import AppConfig
from offhook.config.fleet_settings import FleetSettings
from offhook.errors import UserError
from offhook.fleet.budget import SharedBudget
from offhook.fleet.places import DirectoryAwayError
from offhook.fleet.pulse import Pulse
from offhook.fleet.tokens import StreamTokens
from offhook.journal.keeper import EventJournal
from offhook.text.extras import install_command

if TYPE_CHECKING:
    from offhook.fleet.directory import CallDirectory
    from offhook.fleet.heartbeat import FleetHeartbeat
    from offhook.fleet.live_lines import LiveLines

LEAVE_S: Final = 2.0
"""Seconds that a stopping process has for its last lines and the end of its calls."""


class FleetParts:
    """Parts of a process in a fleet. Nothing is connected before `start`.

    Raises UserError E-REC-08 without PostgreSQL's driver.

    Attributes:
        settings: The settings of this node.
        directory: The directory of calls.
        heartbeat: The heartbeat of this process.
        lines: Its calls' lines on their way to the database.
        pulse: Whether this process itself was stopped.
        tokens: Tokens of streams.
    """

    directory: "CallDirectory"
    heartbeat: "FleetHeartbeat"
    lines: "LiveLines"

    def __init__(
        self, config: AppConfig, settings: FleetSettings, journal: EventJournal, clock: Clock
    ) -> None:
        try:
            from offhook.fleet.directory import CallDirectory
            from offhook.fleet.heartbeat import FleetHeartbeat
            from offhook.fleet.live_lines import LiveLines
        except ImportError as error:  # also of a psycopg that finds no libpq
            raise UserError(
                "E-REC-08",
                f"The database is a PostgreSQL, and its driver cannot be loaded: {error}.",
                f"Install it: {install_command('postgres')}",
            ) from None
        self.settings: Final = settings
        self.pulse: Final = Pulse(clock.now())
        budget = SharedBudget.of(config.deepgram, settings.nodes)
        process_id, node = journal.process_id, settings.node
        self.directory = CallDirectory(config.records.database, process_id, node, budget, clock)
        self.heartbeat = FleetHeartbeat(self.directory, self.pulse, clock)
        self.lines = LiveLines(self.directory)
        keys = [key.get_secret_value() for key in settings.keys]
        self.tokens: Final = StreamTokens(keys, process_id, node, self.heartbeat.now_ms)
        self._tasks: list[asyncio.Task[None]] = []
        journal.tee = self.lines

    @property
    def state(self) -> str:
        """State for readiness: `ok`, or `away` with the reason."""
        problem = self.directory.connection.problem
        return f"away: {problem}" if problem else "ok"

    def start(self, tasks: ServerTasks) -> None:
        """Start to connect, to beat and to tell lines."""
        self._tasks = [
            tasks.keep("fleet database", self.directory.connection.serve),
            tasks.keep("fleet heartbeat", self.heartbeat.run),
            tasks.keep("fleet pulse", self.heartbeat.watch),
            tasks.keep("fleet lines", self.lines.run),
        ]

    async def stop(self) -> None:
        """Tell the database the last lines and ends, within LEAVE_S, and stop."""
        with contextlib.suppress(DirectoryAwayError, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self.directory.tell_ended()
                await self.lines.flush()
                await self.heartbeat.leave()
        self.directory.connection.cut()
        for task in self._tasks:
            task.cancel()
