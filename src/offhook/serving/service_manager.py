"""The service manager, such as systemd, that is told how the server is: sd_notify(3).

Python's standard library alone: the supervisor imports this.
"""

import contextlib
import socket
from collections.abc import MutableMapping
from typing import Final

BEATS_IN_LIMIT: Final = 3
"""Beats within the time after which systemd ends a service that has sent none."""

STATE_S: Final = 1.0
"""Seconds that a state may wait until the manager has room for it; a beat does not wait."""


class ServiceManager:
    """The service manager that started this process; without one, nothing is sent.

    Its variables are taken out of `environ`, because they are not for processes that this one
    starts. A manager that is gone makes nothing fail, and one that does not read makes nothing wait
    longer than STATE_S.

    Attributes:
        due_at: Time of the next beat, by time.monotonic; None: no beats are wanted.
    """

    def __init__(self, environ: MutableMapping[str, str], pid: int) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        limit_us = environ.pop("WATCHDOG_USEC", "")
        watched = environ.pop("WATCHDOG_PID", str(pid))
        # A name that begins with @ is in Linux's abstract namespace.
        self._address: Final = "\0" + address[1:] if address.startswith("@") else address
        wants_beats = bool(address) and watched == str(pid) and limit_us.isdecimal()
        self._beat_s: Final = int(limit_us) / 1_000_000 / BEATS_IN_LIMIT if wants_beats else 0.0
        self.due_at: float | None = 0.0 if self._beat_s else None

    def ready(self, status: str = "Calls are answered.") -> None:
        """Say that calls are answered."""
        self._send(f"READY=1\nSTATUS={status}")

    def restarting(self, now: float) -> None:
        """Say that the call process starts again, at `now` by time.monotonic; `ready` follows."""
        self._send_reloading(now, "The call process starts again.")

    def reloading(self, now: float) -> None:
        """Say that the next call process starts, at `now` by time.monotonic; `ready` follows."""
        self._send_reloading(now, "The next call process starts; calls are answered.")

    def _send_reloading(self, now: float, status: str) -> None:
        now_us = int(now * 1_000_000)
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now_us}\nSTATUS={status}")

    def stopping(self) -> None:
        """Say that no new call is accepted."""
        self._send("STOPPING=1\nSTATUS=Live calls finish; no new one is accepted.")

    def beat(self, now: float) -> None:
        """Send a beat if one is due."""
        if self.due_at is not None and now >= self.due_at:
            self.due_at = now + self._beat_s
            self._send("WATCHDOG=1", wait_s=0.0)

    def _send(self, state: str, wait_s: float = STATE_S) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        ):
            sock.settimeout(wait_s)
            sock.sendto(state.encode(), self._address)
