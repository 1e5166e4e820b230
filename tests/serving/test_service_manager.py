"""What the service manager is told, on a real datagram socket (sd_notify(3))."""

import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.serving.test_supervisor import started, supervised
from tests.waiting import GIVEN_UP_AFTER_S

from offhook.serving.service_manager import ServiceManager

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no supervisor on Windows")


class Manager:
    """A service manager's socket."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        sock.settimeout(GIVEN_UP_AFTER_S)
        self.sock = sock
        self.environ = dict(os.environ) | {"NOTIFY_SOCKET": address}

    def next(self) -> dict[str, str]:
        """Return the fields of the next message."""
        text = self.sock.recv(4096).decode()
        return dict(line.split("=", 1) for line in text.splitlines())

    def until(self, state: str) -> None:
        """Read messages up to one that has this state."""
        while state not in self.next():
            pass


@contextmanager
def manager(address: str) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address.replace("@", "\0", 1))
        yield Manager(sock, address)


@pytest.fixture
def notified() -> Iterator[Manager]:
    with manager("@" + secrets.token_hex(8)) as made:
        yield made


linux = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")


@linux
def test_the_manager_is_told_of_start_restart_and_stop(tmp_path: Path, notified: Manager) -> None:
    with supervised(tmp_path, environ=notified.environ) as made:
        assert notified.next()["READY"] == "1"
        started(made)
        assert made.lines("environ") == [""], "it is not for processes that are started"
        before_us = time.monotonic_ns() // 1000
        os.kill(made.calls[0], signal.SIGKILL)
        told = notified.next()
        assert told["RELOADING"] == "1"
        assert before_us - 1 <= int(told["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert notified.next()["READY"] == "1"
        made.until(2, lambda: made.calls)
        assert made.ask() == made.calls[1], "it was ready when it was said to be"
        (tmp_path / "ends-at-once").touch()
        made.stop()
        assert notified.next()["STOPPING"] == "1"
        assert made.end() == 0


@linux
def test_nothing_is_ready_when_the_call_process_cannot_start(
    tmp_path: Path, notified: Manager
) -> None:
    (tmp_path / "broken").touch()
    with supervised(tmp_path, environ=notified.environ) as made:
        assert made.end() == 3
    notified.sock.settimeout(0)
    with pytest.raises(BlockingIOError):
        notified.next()


@linux
def test_beats_come_while_a_stop_waits_for_calls_too(tmp_path: Path, notified: Manager) -> None:
    environ = notified.environ | {"WATCHDOG_USEC": "300000"}
    with supervised(tmp_path, environ=environ) as made:
        notified.until("READY")
        made.stop()  # the call process stays: a call is live
        notified.until("STOPPING")
        assert [notified.next() for _ in range(3)] == [{"WATCHDOG": "1"}] * 3
        made.stop()
        assert made.end() == 0


@linux
def test_an_address_that_is_a_path_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a whole path may be longer than an address can be
    with manager("notify") as told:
        ServiceManager(told.environ, os.getpid()).ready()
        assert told.next()["READY"] == "1"


def test_beats_are_for_the_process_that_is_named() -> None:
    def due(**environ: str) -> float | None:
        return ServiceManager({"NOTIFY_SOCKET": "@nobody", **environ}, 7).due_at

    assert due() is None
    assert due(WATCHDOG_USEC="3000000") is not None
    assert due(WATCHDOG_USEC="3000000", WATCHDOG_PID="7") is not None
    assert due(WATCHDOG_USEC="3000000", WATCHDOG_PID="8") is None
    assert due(WATCHDOG_USEC="soon") is None
    assert ServiceManager({"WATCHDOG_USEC": "3000000"}, 7).due_at is None


def test_a_manager_that_is_gone_does_no_harm() -> None:
    environ = {"NOTIFY_SOCKET": "@" + secrets.token_hex(8), "WATCHDOG_USEC": "3000000"}
    told = ServiceManager(environ, 7)
    told.ready()
    told.beat(time.monotonic())
    told.stopping()
    assert environ == {}


@linux
def test_a_manager_that_does_not_read_makes_nothing_wait_long() -> None:
    with manager("@" + secrets.token_hex(8)) as told:
        server = ServiceManager(told.environ | {"WATCHDOG_USEC": "3"}, os.getpid())
        for at in range(2000):  # more than the socket has room for
            server.beat(time.monotonic() + at)
        server.stopping()
