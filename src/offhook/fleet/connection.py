"""The one connection of a call process to the fleet's database.

A kept task owns it: it connects, runs what is asked one after the other, and connects again. Every
message has a deadline, after which its socket is shut down: a cancelled query of psycopg may wait
seconds for a server that has stopped, and a message that is cut has ended for certain on our side.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg import errors

from offhook.fleet.places import DirectoryAwayError
from offhook.net.lost_ends import NODE_NOTICES, POSTGRES_NOTICES

_log: Final = logging.getLogger("offhook.fleet")

DEADLINE_S: Final = 1.0
"""Seconds within which every answer of the directory is there, or an error."""

CONNECT_S: Final = 3
"""Seconds that connecting may take."""

AGAIN_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds to wait before connecting again: after the first failure, the second, and so on."""

_OPTIONS: Final = (
    "-c statement_timeout=900 -c lock_timeout=800 -c application_name=offhook-fleet"
    " -c default_transaction_isolation=read\\ committed"
    f" {POSTGRES_NOTICES}"
)
"""A statement ends in the server before its deadline here, and holds no lock beyond it."""


_PATIENT: Final = (errors.QueryCanceled, errors.LockNotAvailable, errors.DeadlockDetected)
"""Errors of one message, after which the connection is as good as before."""

_T = TypeVar("_T")

Link: TypeAlias = "psycopg.AsyncConnection[Any]"
Work: TypeAlias = Callable[[Link], Awaitable[_T]]


class _Request:
    __slots__ = ("answer", "until", "work")

    def __init__(self, work: Work[Any], until: float) -> None:
        self.work = work
        self.until = until
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


def conninfo(url: str) -> str:
    """Return what libpq connects with, of a URL of the records."""
    scheme, _, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"


class FleetConnection:
    """The connection to the database at `url`. `greet` is run first on each new one.

    Attributes:
        problem: Why the database is away; empty while it answers.
    """

    def __init__(self, url: str, greet: Work[None], now: Callable[[], float]) -> None:
        self.problem = "it was not reached yet"
        self._conninfo = conninfo(url)
        self._greet = greet
        self._now = now
        self._requests: deque[_Request] = deque()
        self._some = asyncio.Event()
        self._sock: socket.socket | None = None

    async def do(self, work: Work[_T], *, deadline_s: float = DEADLINE_S) -> _T:
        """Return what `work` returns, which is run on the connection when its turn comes.

        Raises DirectoryAwayError when the database is away, refuses, or is too slow.
        """
        if self.problem:
            raise DirectoryAwayError(self.problem)
        request = _Request(work, self._now() + deadline_s)
        self._requests.append(request)
        self._some.set()
        found: _T = await request.answer
        return found

    async def serve(self) -> None:
        """Connect, and do what is asked, for ever; a kept task."""
        failures = 0
        try:
            while True:
                try:
                    link = await self._connect()
                    try:
                        await self._cut_after(link, DEADLINE_S, self._greet)
                        failures = 0
                        self._on_back()
                        await self._work_off(link)
                    finally:
                        await link.close()
                except (psycopg.Error, OSError) as error:
                    self._on_away(error)
                await asyncio.sleep(AGAIN_S[min(failures, len(AGAIN_S) - 1)])
                failures += 1
        finally:
            self._on_away(None)

    async def _connect(self) -> Link:
        return await psycopg.AsyncConnection.connect(
            self._conninfo,
            autocommit=True,
            prepare_threshold=None,  # a pooler may give each message another session
            connect_timeout=CONNECT_S,
            options=_OPTIONS,
            **NODE_NOTICES,
        )

    async def _work_off(self, link: Link) -> None:
        """Do what is asked until the connection is lost."""
        while True:
            while not self._requests:
                self._some.clear()
                await self._some.wait()
            request = self._requests.popleft()
            left_s = request.until - self._now()
            if request.answer.done():
                continue
            if left_s <= 0:
                _refuse(request, "the messages before it took too long")
                continue
            try:
                found = await self._cut_after(link, left_s, request.work)
            except _PATIENT as error:
                _refuse(request, type(error).__name__)
            except BaseException as error:
                _refuse(request, type(error).__name__)
                raise
            else:
                if not request.answer.done():
                    request.answer.set_result(found)

    async def _cut_after(self, link: Link, seconds: float, work: Work[_T]) -> _T:
        with socket.socket(fileno=os.dup(link.fileno())) as sock:
            self._sock = sock
            cut = asyncio.get_running_loop().call_later(seconds, self.cut)
            try:
                return await work(link)
            finally:
                cut.cancel()
                self._sock = None

    def cut(self) -> None:
        """End what is being done on the connection, which is lost with it."""
        if self._sock is not None:
            with contextlib.suppress(OSError):  # it is gone already
                self._sock.shutdown(socket.SHUT_RDWR)

    def _on_back(self) -> None:
        _log.info("the fleet's database answers")
        self.problem = ""

    def _on_away(self, error: Exception | None) -> None:
        """Refuse what waits; `error` says why the database is away, None that we stop."""
        problem = "this process stops" if error is None else _words(error)
        if not self.problem and error is not None:
            _log.error("E-FLEET-05 the fleet's database is away: %s", problem)
        self.problem = problem
        while self._requests:
            _refuse(self._requests.popleft(), problem)


async def rows_of(link: Link, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    cursor = await link.execute(statement.encode(), values)
    return await cursor.fetchall()


async def count_of(link: Link, statement: str, values: Mapping[str, Any]) -> int:
    """Return how many rows a statement has changed."""
    return (await link.execute(statement.encode(), values)).rowcount


async def together(
    link: Link, statement: str, values: Mapping[str, Any]
) -> list[list[tuple[Any, ...]]]:
    """Return the rows of several statements that are sent as one message, one transaction."""
    async with psycopg.AsyncClientCursor(link) as cursor:
        await cursor.execute(statement.encode(), values)
        found = []
        while True:
            found.append(await cursor.fetchall() if cursor.description else [])
            if not cursor.nextset():
                return found


def _refuse(request: _Request, why: str) -> None:
    if not request.answer.done():
        request.answer.set_exception(DirectoryAwayError(why))


def _words(error: Exception) -> str:
    """Return why the database is away, without what a message may quote of a row."""
    if isinstance(error, errors.UndefinedTable):
        return "its tables are not there yet"
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        return f"SQLSTATE {error.sqlstate}"
    first = str(error).strip().splitlines()[:1]
    return first[0][:200] if first else type(error).__name__
