"""Composition of record keeping: the record, the API, the hourly limits and the deliveries."""

import socket
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from offhook.api import token
from offhook.api.app import Api
from offhook.concurrency.background_thread import BackgroundThread
from offhook.config import Config
from offhook.link.client import CallProcess, CallProcesses
from offhook.observability.metrics import catalogue
from offhook.observability.metrics.meter import Metrics
from offhook.outbound import ledger_file
from offhook.outbound.ledger import CallLedger
from offhook.policy import dial_count
from offhook.policy.dial_count import DialCount
from offhook.recordings.files import LocalFiles
from offhook.records import database
from offhook.records.delivery import WebhookDelivery
from offhook.records.ledger_feed import LedgerFeed
from offhook.records.record import Record
from offhook.records.retention import Retention
from offhook.records.store import RecordStore


class RecordKeeping:
    """The record of a server and the parts that use it. A context manager that runs their threads.

    Attributes:
        record: The record of calls.
        ledger: The ledger of placed calls and barred numbers.
        dial_count: Count of the dialling of the last hour, kept across restarts.
        deliveries: After-call webhooks, or None without a target.
        api: The API for the operator.
        operator: The socket that connects a server with the API.
        api_token: The token of the API: of the configuration, else of a file in the folder.
    """

    def __init__(self, config: Config) -> None:
        """Compose the parts. Raises UserError for a configuration that cannot be served."""
        settings = config.records
        hooked = settings.webhook.url is not None
        self._engine = database.open_engine(database.url_of(settings.database))
        journal = settings.folder / "journal"
        self.record: Final = Record(
            self._engine,
            journal,
            settings.prices,
            after_call=hooked,
            limit_bytes=settings.journal_limit,
        )
        ledger = settings.folder / ledger_file.FILE
        self.ledger: Final = CallLedger(ledger)
        self._feed = LedgerFeed(self._engine, ledger)
        rules = config.dialling_rules()
        self.dial_count: Final = DialCount(
            settings.folder / dial_count.FILE, rules.calls_per_hour + rules.texts_per_hour
        )
        self.deliveries: Final = self._deliveries(config)
        self.api_token: Final = config.server.api_token or token.token_in(settings.folder)
        files = LocalFiles(settings.recordings)
        theirs, self.operator = socket.socketpair()
        processes = CallProcesses(journal, CallProcess.over(theirs))
        self.api: Final = Api(config, self.api_token, self._engine, files, processes)
        store = RecordStore(self.record.journal.machine_id, settings.prices, after_call=hooked)
        self._retention = Retention(self._engine, files, store, settings.retention)
        self._running = ExitStack()

    def _deliveries(self, config: Config) -> WebhookDelivery | None:
        target = config.records.webhook.url
        if target is None:
            return None
        secrets = tuple(one.get_secret_value() for one in config.require_webhook_secrets())
        return WebhookDelivery(self._engine, target, secrets, config.records.prices.currency)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self._engine.dispose)
            for part in (
                *(self.record, self.ledger, self._feed),
                *(self.dial_count, self.deliveries, self._retention),
            ):
                if part is not None:
                    stack.enter_context(part)
            self._running = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.close()

    @property
    def threads(self) -> list[BackgroundThread]:
        """Threads that work for no part of the server but the record."""
        parts = (self._retention, self._feed, self.deliveries)
        return [part.thread for part in parts if part is not None]

    def measure(self, metrics: Metrics) -> None:
        """Have the metrics read the state of the deliveries; without a target there are none."""
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
