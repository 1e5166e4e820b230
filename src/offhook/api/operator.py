"""Common base of all routes of the API: the record, the call processes, and threads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Engine
from starlette.responses import Response

from offhook.api.client_address import ClientAddresses
from offhook.api.links import Links
from offhook.api.live import LiveEvents
from offhook.api.live_board import LiveBoard
from offhook.api.live_snapshot import LiveSnapshots
from offhook.api.reading import Readers
from offhook.api.signed_in import SignedIn
from offhook.api.streams import PageStreams
from offhook.api.throttle import Throttle
from offhook.config import Prices
from offhook.link.processes import CallProcesses
from offhook.recordings.files import LocalFiles

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Operator:
    """Objects that the API works on.

    `files` has the recordings, `journal` is the journal's folder, `captures` that of `--capture`.
    `delivers`: there is an after-call webhook. `processes` carry the live calls.
    `throttle` counts wrong secrets by `addresses`. `shares_calls`: this node is one of several
    (`fleet:`).
    """

    engine: Engine
    files: LocalFiles
    captures: Path | None
    prices: Prices
    journal: Path
    delivers: bool
    processes: CallProcesses
    live: LiveEvents
    streams: PageStreams
    board: LiveBoard
    snapshots: LiveSnapshots
    links: Links
    readers: Readers
    signed_in: SignedIn
    throttle: Throttle
    addresses: ClientAddresses
    shares_calls: bool

    async def ask(self, question: Callable[[Connection], _T]) -> _T:
        """Run `question` in a thread, in a transaction that writes nothing; return its result."""

        def work() -> _T:
            with self.engine.connect() as connection:
                return question(connection)

        return await self.readers.run(work)

    async def change(self, work: Callable[[Connection], _T]) -> _T:
        """Run `work` in a thread, in a transaction that is committed; return its result."""

        def committed() -> _T:
            with self.engine.begin() as connection:
                return work(connection)

        return await self.readers.run(committed)

    async def answer(self, question: Callable[[Connection], Any]) -> Response:
        """Return the result of `question` as JSON, which is encoded in the thread, too."""

        def work(connection: Connection) -> bytes:
            return msgspec.json.encode(question(connection))

        return as_json(await self.ask(work))


def as_json(content: bytes) -> Response:
    """Return a response whose content is JSON already."""
    return Response(content, media_type="application/json")
