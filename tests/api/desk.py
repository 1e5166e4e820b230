"""A whole server that keeps records, and the operator who asks it."""

import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from pydantic import SecretStr
from sqlalchemy import select
from tests import migrated
from tests.waiting import until
from tests.whole_server import WholeServer, configured, whole_server

from offhook.api.reading import Readers
from offhook.config import Config, RecordsSettings, WebhookSettings
from offhook.observability.stderr import Printer
from offhook.recordings import reading
from offhook.recordings.files import LocalFiles
from offhook.records import tables
from offhook.serving.call_serving import CallFiles
from offhook.serving.in_process import OperatorSide

TOKEN = "a-token-of-the-operator"


class Desk:
    """The operator's side of a running server."""

    def __init__(
        self, whole: WholeServer, folder: Path, files: CallFiles, side: OperatorSide
    ) -> None:
        self.folder = folder
        self.whole = whole
        self.files = files
        self.side = side
        self.api = side.keeping.api
        self.engine = side.keeping.engine

    @property
    def url(self) -> str:
        """URL of the operator's listener."""
        return self.side.server.url

    @property
    def port(self) -> int:
        """Port of the operator's listener."""
        return int(self.url.rpartition(":")[2])

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
        """Send a request to the operator's listener; those about health go to the public port."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if host is not None:
            sent["Host"] = host
        content = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            content = json.dumps(body)
        url = self.whole.origin if path in ("/healthz", "/readyz") else self.url
        return await self.whole.http.request(
            method, url + path, headers=sent, content=content, timeout=20
        )

    async def until_stored(self, count: int = 1) -> None:
        """Wait until the disk has so many calls, whole: rows and recordings."""
        files = LocalFiles(self.folder / "recordings")

        def stored() -> bool:
            query = select(tables.calls.c.sid).where(tables.calls.c.duration_ms.is_not(None))
            with self.engine.connect() as connection:
                rows = connection.execute(query).all()
            growing = [reading.find(files, name).growing for name in reading.names(files)]
            return len(rows) >= count and not self.files.journal.waiting and not any(growing)

        await until(stored)


@asynccontextmanager
async def desk(
    folder: Path,
    *,
    url: str | None = None,
    readers: Readers | None = None,
    hosts: tuple[str, ...] | None = None,
    webhook: str | None = None,
    captures: Path | None = None,
    change: Callable[[Config], Config] = lambda config: config,
    config: Config | None = None,
    printer: Printer | None = None,
    **options: Any,
) -> AsyncIterator[Desk]:
    """A server with records in that folder, and the operator's side in the same process."""
    passed = ("script", "make_tap", "people", "supervisor")
    served = {name: options.pop(name) for name in passed if name in options}
    config = config or configured("ws://127.0.0.1:1/", **options)
    records = RecordsSettings(
        folder=folder,
        database=url or f"sqlite:///{folder}/offhook.db",
        webhook=WebhookSettings(url=webhook),
        webhook_secrets=(SecretStr("whsec_" + "ab12" * 10),),
    )
    if url is None:
        migrated.put(folder / "offhook.db")
    server = {"api_token": SecretStr(TOKEN), "operator_listen": "127.0.0.1:0"}
    if hosts is not None:
        server["operator_hosts"] = hosts
    config = dataclasses.replace(
        config, records=records, server=config.server.model_copy(update=server)
    )
    config = change(config)
    side = OperatorSide(config, readers, captures)
    with side, CallFiles(config) as files:
        await until(side.keeping.follower.settled.is_set)
        async with (
            side.run(printer),
            whole_server(config=config, files=files, operator=side.link, **served) as made,
        ):
            await side.server.started.wait()
            yield Desk(made, folder, files, side)
