"""Parts of a call process that a fleet adds: directory, node listener, links."""

from collections.abc import Mapping
from typing import Final

from offhook.clock import Clock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import Config
from offhook.config.fleet_settings import FleetSettings
from offhook.fleet.parts import FleetParts
from offhook.journal.keeper import EventJournal
from offhook.link.node_credential import NodeCredentials
from offhook.link.node_links import NodeLinks
from offhook.link.node_listener import NodeListener
from offhook.link.server import LinkServer
from offhook.serving.node_links import node_links, node_socket, node_tls


class JoinedFleet:
    """The fleet of a call process. Between `open` and `close` other nodes reach it.

    Raises UserError: E-FLEET-07 for TLS files that cannot be used, E-NET-02 for an address that is
    not of this machine, E-REC-08 without PostgreSQL's driver.

    Attributes:
        parts: The directory of calls, and what belongs to it.
    """

    def __init__(
        self, config: Config, settings: FleetSettings, journal: EventJournal, clock: Clock
    ) -> None:
        self.parts: Final = FleetParts(config, settings, journal, clock)
        self._tls = node_tls(settings)
        self._sock = node_socket(settings)
        self._listener: NodeListener | None = None
        self.parts.heartbeat.address = settings.address_at(self._sock.getsockname()[1])

    def now_ms(self) -> int:
        """Return the time by the database's clock, in ms since 1970; 0 while it is not known.

        Then every credential and every deadline has expired.
        """
        return self.parts.heartbeat.now_ms() or 0

    def links(self) -> NodeLinks:
        """Return what opens links to other nodes."""
        return node_links(self.parts.settings, self._tls, self.now_ms)

    def places(self) -> Mapping[str, tuple[str, str]]:
        """Return name of the node and address of each other process of the fleet, by its id."""
        return {
            process.process_id: (process.node, process.address)
            for process in self.parts.directory.processes.values()
            if process.address and not process.is_mine
        }

    def open(self, link: LinkServer, tasks: ServerTasks) -> None:
        """Begin to beat, and have `link` attend the links of other nodes."""
        directory = self.parts.directory
        credentials = NodeCredentials(
            [key.get_secret_value().encode() for key in self.parts.settings.keys],
            directory.process_id,
            lambda: {process.node for process in directory.processes.values()},
            self.now_ms,
        )
        tls = None if self._tls is None else self._tls.server
        self._listener = NodeListener(self._sock, credentials, link.attend, tls=tls)
        self._listener.open()
        self.parts.start(tasks)

    async def close(self) -> None:
        """Tell the database the end, and stop accepting links; those that are open go on."""
        if self._listener is not None:
            self._listener.close()
            await self.parts.stop()
        self._sock.close()


def joined_fleet(config: Config, journal: EventJournal | None, clock: Clock) -> JoinedFleet | None:
    """Return the fleet of a call process; None without `fleet:`, or without a journal."""
    settings = config.require_fleet()
    if settings is None or journal is None:
        return None
    return JoinedFleet(config, settings, journal, clock)
