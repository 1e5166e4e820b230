"""Heartbeat of a process: it tells the supervisor that its event loop goes on.

A process that hangs does not end, so nobody would start another. It writes a byte every BEAT_S
to a socket; the supervisor looks for them now and then, and neither side ever waits for the other.
Looks are counted, and not only time: a machine that was suspended, or a supervisor that was
stopped, finds no beats in one look and finds them in the next.
"""

import contextlib
import socket
from typing import Final

BEAT_S: Final = 2.0
"""Seconds between two beats."""

LOOK_S: Final = 5.0
"""Seconds between two looks."""

SILENT_LOOKS: Final = 6
"""Looks in a row without a beat after which the process counts as hanging: 30 s."""


class Heartbeat:
    """The supervisor's side of the heartbeat of one run of a process.

    A process counts as hanging only after its first beat: its start may take long.
    """

    def __init__(self, now: float, look_s: float = LOOK_S) -> None:
        self._look_s = look_s
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._has_begun = False
        self._silent = 0
        self.due_at = now + look_s
        """Time of the next look, by the clock of `now`."""

    @property
    def descriptor(self) -> int:
        """Descriptor that the process inherits."""
        return self._theirs.fileno()

    def on_started(self) -> None:
        """Close the copy of the descriptor that the process has inherited."""
        self._theirs.close()

    def hangs(self, now: float) -> bool:
        """Return whether the process hangs; look for beats if a look is due."""
        if now < self.due_at:
            return False
        self.due_at = now + self._look_s
        if self._drain():
            self._has_begun, self._silent = True, 0
        elif self._has_begun:
            self._silent += 1
        return self._silent >= SILENT_LOOKS

    def close(self) -> None:
        """Close the socket: the process has ended."""
        self._ours.close()
        self._theirs.close()

    def _drain(self) -> bool:
        found = False
        with contextlib.suppress(OSError):
            while self._ours.recv(4096):
                found = True
        return found


async def beat(descriptor: int) -> None:
    """Write a beat every BEAT_S to the inherited descriptor, until cancelled."""
    import asyncio  # the supervisor does without it

    with socket.socket(fileno=descriptor) as sock:
        sock.setblocking(False)
        while True:
            # A supervisor that is stopped, or gone, must not stop this process.
            with contextlib.suppress(OSError):
                sock.send(b".")
            await asyncio.sleep(BEAT_S)
