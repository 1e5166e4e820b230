"""A whole server that keeps records, and the operator who asks it."""

import dataclasses
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from pydantic import SecretStr
from sqlalchemy import Engine, select
from tests.waiting import until
from tests.whole_server import WholeServer, configured, whole_server

from offhook.api.app import Api
from offhook.api.reading import Readers
from offhook.config import Config, Prices, RecordsSettings, WebhookSettings
from offhook.link.client import CallProcess, CallProcesses
from offhook.outbound import ledger_file
from offhook.outbound.ledger import CallLedger
from offhook.recordings import reading
from offhook.recordings.files import LocalFiles
from offhook.records import database, tables
from offhook.records.ledger_feed import LedgerFeed
from offhook.records.record import Record

TOKEN = "a-token-of-the-operator"


class Desk:
    """The operator's side of a running server."""

    def __init__(
        self, whole: WholeServer, folder: Path, engine: Engine, record: Record, api: Api
    ) -> None:
        self.folder = folder
        self.whole = whole
        self.engine = engine
        self.record = record
        self.api = api

    async def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        token: str | None = TOKEN,
        host: str | None = None,
        headers: dict[str, str] | None = None,
        body: Any = None,
    ) -> httpx2.Response:
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if host is not None:
            sent["Host"] = host
        content = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            content = json.dumps(body)
        return await self.whole.http.request(
            method, self.whole.origin + path, headers=sent, content=content, timeout=20
        )

    async def until_stored(self, count: int = 1) -> None:
        """Wait until the disk has so many calls, whole: rows and recordings."""
        files = LocalFiles(self.folder / "recordings")

        def stored() -> bool:
            query = select(tables.calls.c.sid).where(tables.calls.c.duration_ms.is_not(None))
            with self.engine.connect() as connection:
                rows = connection.execute(query).all()
            growing = [reading.find(files, name).growing for name in reading.names(files)]
            return len(rows) >= count and not self.record.waiting and not any(growing)

        await until(stored)


@asynccontextmanager
async def desk(
    folder: Path,
    *,
    url: str | None = None,
    readers: Readers | None = None,
    hosts: tuple[str, ...] | None = None,
    webhook: str | None = None,
    change: Callable[[Config], Config] = lambda config: config,
    config: Config | None = None,
    **options: Any,
) -> AsyncIterator[Desk]:
    """A server with records in that folder, and the API."""
    script = {"script": options.pop("script")} if "script" in options else {}
    config = config or configured("ws://127.0.0.1:1/", **options)
    given = url or f"sqlite:///{folder}/offhook.db"
    records = RecordsSettings(folder=folder, database=given, webhook=WebhookSettings(url=webhook))
    config = dataclasses.replace(config, records=records)
    if hosts is not None:
        server = config.server.model_copy(update={"operator_hosts": hosts})
        config = dataclasses.replace(config, server=server)
    config = change(config)
    engine = database.open_engine(database.url_of(given))
    record = Record(engine, folder / "journal", Prices())
    theirs, ours = socket.socketpair()
    processes = CallProcesses(folder / "journal", CallProcess.over(theirs))
    files = LocalFiles(folder / "recordings")
    api = Api(config, SecretStr(TOKEN), engine, files, processes, readers=readers)
    try:
        ledger = CallLedger(folder / ledger_file.FILE)
        with record, ledger, LedgerFeed(engine, folder / ledger_file.FILE):
            parts: dict[str, Any] = {"record": record, "api": api, "ledger": ledger}
            async with whole_server(config=config, operator=ours, **parts, **script) as made:
                yield Desk(made, folder, engine, record, api)
    finally:
        processes.close()
        engine.dispose()
