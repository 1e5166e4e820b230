"""The operator's server: its listener, and the file by which commands find it."""

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from offhook.api.problems import ApiError
from offhook.clock import LoopClock
from offhook.concurrency.background_thread import WatchedThread
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import AppConfig
from offhook.errors import UserError
from offhook.net.addresses import is_this_machine
from offhook.observability.metrics import catalogue
from offhook.observability.stderr import Printer
from offhook.serving.http_server import GracefulHttpServer, http_server
from offhook.serving.listen import address_of, listen
from offhook.serving.record_keeping import RecordKeeping

_log: Final = logging.getLogger("offhook.operator")

FILE: Final = "operator.json"
"""Name of the file in the folder of records that has the listener's URL."""

LISTEN_AGAIN_S: Final = 5.0
"""Seconds until a listener whose port is in use is tried again."""

LOOK_S: Final = 0.2
"""Seconds between two looks if this process follows the journals now."""


WATCH_S: Final = 1.0
"""Seconds between two looks at the threads."""


class OperatorServer:
    """The operator's paths on a listener of their own. `run` serves until `stop` is called.

    Only the operator's server that follows the journals listens: of several on one data folder,
    the others wait.
    """

    def __init__(self, config: AppConfig, keeping: RecordKeeping) -> None:
        self.started: Final = asyncio.Event()
        """Event that is set when the listener answers."""
        self.url = ""
        """URL of the listener, once `started`."""
        self._config = config
        self._address = config.server.require_operator_listen()
        self._keeping = keeping
        self.stopping: Final = asyncio.Event()
        """Event that is set by `stop`."""
        self._web: GracefulHttpServer | None = None
        self._terminal: Printer | None = None
        self._tasks: ServerTasks | None = None
        self._own_threads: Sequence[WatchedThread] = ()
        self._beside: ServerTasks | None = None
        self._faults = 0
        """Number of unexpected exceptions, without those of threads and of the running tasks."""
        keeping.api.metrics.ask(catalogue.OPERATOR_FAULTS, self._count_faults)

    def on_loop_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Count the exception of a callback of the event loop, and log it: a loop's handler."""
        self._faults += 1
        loop.default_exception_handler(context)

    def _count_faults(self) -> int:
        tasks = 0 if self._tasks is None else self._tasks.faults
        tasks += 0 if self._beside is None else self._beside.faults
        return self._faults + tasks + sum(thread.faults for thread in self._threads)

    @property
    def _threads(self) -> Sequence[WatchedThread]:
        return (*self._own_threads, *self._keeping.threads)

    def stop(self) -> None:
        """End live streams and requests soon, and then `run`."""
        self.stopping.set()

    async def run(
        self,
        printer: Printer | None = None,
        threads: Sequence[WatchedThread] = (),
        beside: ServerTasks | None = None,
    ) -> None:
        """Serve until `stop`. Raises RuntimeError when a thread has died: only a restart helps.

        `threads` are those of this process that are not of the record's keeping, and `beside` owns
        its tasks beside this one. May be called again after a fault.

        On a terminal's printer a link is printed that signs in to the console. A log is no place
        for it: it is kept, and others read it.
        """
        self._terminal = printer if printer is not None and printer.isatty() else None
        self._own_threads, self._beside = threads, beside
        self._keeping.show_live(asyncio.get_running_loop())
        async with asyncio.TaskGroup() as group:
            self._faults += 0 if self._tasks is None else self._tasks.faults
            tasks = self._tasks = ServerTasks(group)
            streams = self._keeping.api.streams
            streams.clock, streams.tasks = LoopClock(asyncio.get_running_loop()), tasks
            watching = group.create_task(self._watch_threads(), name="watch threads")
            serving = tasks.keep("operator's HTTP", self._serve, until=self.stopping)
            await self.stopping.wait()
            await self._keeping.end_live()
            self._keeping.api.live.close()
            streams.close()
            if self._web is None:
                serving.cancel()
            else:
                self._web.should_exit = True
            with contextlib.suppress(asyncio.CancelledError):
                await serving
            watching.cancel()
        self._keeping.api.close()

    async def _watch_threads(self) -> None:
        while True:
            dead = [thread.name for thread in self._threads if thread.state == "dead"]
            if dead:
                raise RuntimeError(f"threads have died: {', '.join(dead)}")
            await asyncio.sleep(WATCH_S)

    async def _serve(self) -> None:
        await self._until_following()
        sock = await self._listen()
        tls = not is_this_machine(self._address[0])
        settings = self._config.server
        if not tls:  # the certificate is of the public host's name
            settings = settings.model_copy(update={"tls_cert": None, "tls_key": None})
        self.url = f"{'https' if settings.tls_cert else 'http'}://{address_of(sock)}"
        api = self._keeping.api
        web = http_server(
            api.auth,
            sock,
            settings,
            decide=lambda upgrade: api.streams.decide(upgrade, api.auth.admit_socket),
            started=self.started,
            files_of_stream=2,  # the page's socket and the stream of the call process
        )
        self._web = web
        try:
            with _announced(self._config.records.folder, self.url):
                await self._say_where()
                await web.serve()
            if not self.stopping.is_set():
                raise RuntimeError("nothing answers the operator any more")
        finally:
            self._web = None
            self.started.clear()
            web.listener.close()

    async def _until_following(self) -> None:
        is_told = False
        while not self._keeping.follower.is_following:
            if not is_told:
                folder = self._config.records.folder
                _log.info("another operator process follows %s: waiting for its end", folder)
                is_told = True
            await asyncio.sleep(LOOK_S)

    async def _listen(self) -> socket.socket:
        """Return the listening socket; while its port is in use, try again."""
        is_told = False
        while True:
            try:
                return listen(*self._address, option="--operator-listen")
            except UserError as problem:
                if not is_told:
                    _log.error(
                        "%s %s Calls go on, and their events are recorded; it is tried again. %s",
                        problem.code,
                        problem.what,
                        problem.fix,
                    )
                    is_told = True
            await asyncio.sleep(LISTEN_AGAIN_S)

    async def _say_where(self) -> None:
        where = "OFFHOOK_API_TOKEN"
        if self._config.server.api_token is None:
            where = str(self._config.records.folder / "api-token")
        _log.info("the operator's API: %s/docs, its token: %s", self.url, where)
        how = "offhook users link prints a link that signs in"
        if self._terminal is not None:
            try:
                link = await self._keeping.api.sign_in_link(self._named_url())
            except (ApiError, SQLAlchemyError):
                _log.warning("the database does not answer: nobody can sign in to the console yet")
            else:
                self._terminal.write(f"  console          {link}\n")
                how = "that link signs in once; offhook users link prints another"
        _log.info("the console: %s; %s", self._named_url(), how)

    def _named_url(self) -> str:
        """Return the URL of the listener by a name under which it is served."""
        scheme, _, address = self.url.partition("://")
        if is_this_machine(self._address[0]):
            return self.url
        names = self._config.server.operator_hosts
        name = next(one for one in names if not is_this_machine(one))
        return f"{scheme}://{name}:{address.rpartition(':')[2]}"


@contextlib.contextmanager
def _announced(folder: Path, url: str) -> Iterator[None]:
    """Have the file name the listener while entered."""
    path = folder / FILE
    new = path.with_name(f".{FILE}-{os.getpid()}")
    content = {"url": url, "pid": os.getpid()}
    new.write_text(json.dumps(content) + "\n", encoding="utf-8")
    new.replace(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            if json.loads(path.read_text(encoding="utf-8")) == content:
                path.unlink()
