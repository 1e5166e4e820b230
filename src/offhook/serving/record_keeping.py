"""Composition of the operator's side: the database's followers, the API and the deliveries."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from offhook.api import token
from offhook.api.app import Api
from offhook.api.live_board import TAKEN
from offhook.api.reading import Readers
from offhook.clock import MachineClocks
from offhook.concurrency.background_thread import BackgroundThread
from offhook.concurrency.parts_owner import PartsOwner
from offhook.config import AppConfig
from offhook.events.types import CallEvent
from offhook.journal.entries import JournalEntry
from offhook.journal.live import LiveFollower
from offhook.link.client import CallProcess
from offhook.link.fleet_lookup import FleetLookup
from offhook.link.in_process import InProcessLink
from offhook.link.processes import CallProcesses
from offhook.observability.metrics import catalogue
from offhook.observability.metrics.meter import Metrics
from offhook.outbound import ledger_file
from offhook.recordings.files import LocalFiles
from offhook.recordings.peaks_thread import PeaksThread
from offhook.records import database
from offhook.records.delivery import WebhookDelivery
from offhook.records.elsewhere import CallsElsewhere, FleetNews
from offhook.records.follower import RecordFollower
from offhook.records.ledger_feed import LedgerFeed
from offhook.records.retention import Retention
from offhook.records.store import RecordStore
from offhook.serving.node_links import node_links, node_tls

SETTLING_S: Final = 5.0
"""Seconds that the start waits for the database to be of this version."""

LIVE_LOOK_S: Final = 0.02
LIVE_LOOKS: Final = 150
"""Looks, LIVE_LOOK_S apart, by which a stopping server waits until the last events were told."""

STOP_S: Final = 10.0
"""Seconds that the last events may take into a database that is away or slow."""


class RecordKeeping(PartsOwner):
    """Everything that follows the journals of a data folder, and the API for the operator.

    A context manager that runs their threads. `own` is the link to a call process in the same
    process; `readers` are the threads of the API, `captures` is the folder of captures.

    Attributes:
        engine: The database.
        follower: Follows the journals into the database.
        processes: The call processes of the data folder.
        deliveries: After-call webhooks, or None without a target.
        api: The API for the operator.
        api_token: The token of the API: of the configuration, else of a file in the folder.
    """

    def __init__(
        self,
        config: AppConfig,
        own: InProcessLink | None = None,
        readers: Readers | None = None,
        captures: Path | None = None,
    ) -> None:
        """Compose the parts. Raises UserError for a configuration that cannot be served."""
        settings = config.records
        hooked = settings.webhook.url is not None
        self.engine: Final = database.open_engine(database.url_of(settings.database))
        root = settings.journals
        node = "" if config.fleet is None else config.fleet.node
        self._loop: asyncio.AbstractEventLoop | None = None
        self._untold: dict[str, int] = {}
        """Last lines of processes that came before there was a loop to tell of them."""
        self._close_lookup: Final = contextlib.ExitStack()
        self._live = LiveFollower(root, self._on_live)
        self.follower: Final = RecordFollower(
            self.engine,
            root,
            settings.prices,
            after_call=hooked,
            wait=True,
            live=self._live,
            on_orphaned=self._on_orphaned,
            node=node,
        )
        self._feed = LedgerFeed(self.engine, settings.folder / ledger_file.FILE)
        self.deliveries: Final = self._deliveries(config)
        self.api_token: Final = config.server.api_token or token.token_in(settings.folder)
        files = LocalFiles(settings.recordings)
        self._peaks = PeaksThread(files)
        readers = readers or Readers()
        self.processes: Final = CallProcesses(
            root,
            None if own is None else CallProcess(own.connect),
            self._fleet_lookup(config),
        )
        self.api: Final = Api(
            config,
            self.api_token,
            self.engine,
            files,
            self.processes,
            skipped=self._skipped,
            readers=readers,
            captures=captures,
        )
        self._measure(self.api.metrics)
        self._elsewhere: Final = self._calls_elsewhere(config)
        store = RecordStore(self.follower.machine_id, settings.prices, after_call=hooked)
        self._retention = Retention(self.engine, files, store, settings.retention)

    def _fleet_lookup(self, config: AppConfig) -> FleetLookup | None:
        """Return what finds the calls of other nodes; None without a fleet.

        Commands wait for it, so it shares neither connections nor threads with anything else.
        """
        settings = config.require_fleet()
        if settings is None:
            return None
        engine, readers = database.open_lookup_engine(self.engine.url), Readers()
        self._close_lookup.callback(engine.dispose)
        self._close_lookup.callback(readers.close)
        return FleetLookup(
            engine,
            readers.run,
            lambda now_ms: node_links(settings, node_tls(settings), now_ms),
            MachineClocks().monotonic,
        )

    def _deliveries(self, config: AppConfig) -> WebhookDelivery | None:
        target = config.records.webhook.url
        if target is None:
            return None
        secrets = tuple(one.get_secret_value() for one in config.require_webhook_secrets())
        return WebhookDelivery(self.engine, target, secrets, config.records.prices.currency)

    def _calls_elsewhere(self, config: AppConfig) -> CallsElsewhere | None:
        if config.fleet is None:
            return None
        return CallsElsewhere(self.engine, config.records.journals, TAKEN, self._on_news)

    def _enter_parts(self, stack: contextlib.ExitStack) -> None:
        stack.callback(self.engine.dispose)
        stack.enter_context(self._close_lookup)
        stack.enter_context(self._peaks)
        stack.enter_context(self._live)
        self.follower.thread.start()
        stack.callback(self.follower.stop, STOP_S)
        if self.follower.is_following:  # the others need its tables
            self.follower.settled.wait(SETTLING_S)
        for part in (self._feed, self._retention, self.deliveries, self._elsewhere):
            if part is not None:
                stack.enter_context(part)

    def show_live(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have live events told on the loop on which the API is served."""
        self._loop = loop

    async def end_live(self) -> None:
        """Have the last events told, as far as the journals have them; wait 3 s at most."""
        # A thread that is told to stop does one more round, which reads all there is.
        for _ in range(LIVE_LOOKS):
            if self._live.thread.stop(0):
                break
            await asyncio.sleep(LIVE_LOOK_S)
        await asyncio.sleep(0)  # what the thread handed to this loop comes first

    def _on_live(self, process_id: str, entry: JournalEntry) -> None:
        self._peaks.told(entry.call_sid, entry.event)
        if not self._on_loop(self.api.tell, process_id, entry):
            self._untold[process_id] = entry.number

    def _on_orphaned(self, ends: Sequence[CallEvent]) -> None:
        for end in ends:
            self._peaks.told(end.call_sid, end.event)
            self._on_loop(self.api.end, end)

    def _on_news(self, news: FleetNews | None) -> bool:
        return self._on_loop(self._tell_news, news)

    def _tell_news(self, news: FleetNews | None) -> None:
        if news is not None:  # while the database is away, the owners of before are asked first
            self.processes.learn(news.owners)
        self.api.fleet.tell(news)

    def _on_loop(self, told: Callable[..., None], *arguments: object) -> bool:
        """Have the API's loop told from a thread. Return False while there is no loop."""
        if self._loop is None:
            return False
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(told, *arguments)
        return True

    def _skipped(self) -> dict[str, int] | None:
        """Return the last line of each process that live events were not told of, by its id."""
        skipped = self._live.skipped()
        return None if skipped is None else {**skipped, **self._untold}

    @property
    def threads(self) -> list[BackgroundThread]:
        """All threads of the operator's side that run from the start to the end."""
        parts = (
            self.follower,
            self._live,
            self._peaks,
            self._retention,
            self._feed,
            self.deliveries,
            self._elsewhere,
        )
        return [part.thread for part in parts if part is not None]

    def _measure(self, metrics: Metrics) -> None:
        """Have the metrics read the parts; without a target there are no deliveries."""
        metrics.ask(catalogue.CONSOLE_DROPPED, lambda: self.api.streams.dropped)
        metrics.ask(catalogue.RECORD_REFUSED, lambda: self.follower.refused_lines)
        deliveries = self.deliveries
        if deliveries is None:
            metrics.ask(catalogue.AFTER_CALL_WAITING, lambda: 0)
            metrics.ask(catalogue.AFTER_CALL_OLDEST, lambda: 0)
            return
        metrics.ask(catalogue.AFTER_CALL_DELIVERED, lambda: deliveries.delivered)
        metrics.ask(catalogue.AFTER_CALL_FAILED, lambda: deliveries.failed)
        metrics.ask(catalogue.AFTER_CALL_GIVEN_UP, lambda: deliveries.given_up)
        metrics.ask(catalogue.AFTER_CALL_WAITING, lambda: deliveries.waiting.calls)
        metrics.ask(catalogue.AFTER_CALL_OLDEST, lambda: deliveries.waiting.oldest_ms / 1000)
