"""Writing to stderr without ever waiting for its reader.

A pipe that is not read, a terminal held with Ctrl-S and a full disk all make a write wait or fail.
On the event loop that would stop every call, so a thread writes. The text that waits for it has a
bound; text beyond is lost and counted.
"""

import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from offhook.concurrency.background_thread import State

WAITING_BYTES: Final = 256 * 1024
"""Bytes of text that wait for the thread: a thousand lines of log. New text beyond is lost."""

GATHER_S: Final = 0.05
"""Seconds for which the thread gathers text before it writes.

A thread that is woken for each line takes the interpreter from the event loop each time: with 40
calls begun a second, that was an eighth of all CPU time.
"""

GATHER_BYTES: Final = WAITING_BYTES // 4
"""Bytes of text that are written at once, without gathering more."""

PIECE_BYTES: Final = 4096
"""Bytes of one write, unless a text is longer: a pipe with several writers keeps such a piece whole
(POSIX's PIPE_BUF, which is 4096 or more where servers run)."""

FLUSH_S: Final = 2.0
"""Seconds that a stopping process waits for the last lines to be written."""


class Printer(io.TextIOBase):
    """A text file that never makes its writer wait, and writes to the file descriptor `fd`.

    Each `write` is kept or lost as a whole. As soon as there is room again, the printer's thread
    calls `tell` for a line with the number of lost writes, and the type of an exception that
    has lost some, or an empty text.

    The thread survives any exception of a write and of `tell`: without it no line would come any
    more. What was raised unexpectedly is told beside the lost writes, by the name of its type.
    """

    name: Final = "printer"

    def __init__(self, fd: int, tell: Callable[[int, str], str]) -> None:
        self._fd = fd
        self._tell = tell
        self._changed = threading.Condition()
        self._waiting: list[bytes] = []
        self._size = 0
        self._untold = 0
        self._stopping = False
        self._idle = False
        """True while the thread waits for a first text, and must be woken for it."""
        self.lost = 0
        """Number of writes that were lost since the start."""
        self.faults = 0
        """Number of unexpected exceptions: in a write, which is lost, or in `tell`."""
        self._fault = ""
        """Type of the last one that no line has told yet."""
        # A daemon: a write that never ends must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Bytes that are not written yet."""
        return self._size

    @property
    def state(self) -> State:
        """State of the thread, as BackgroundThread.state: `dead` if it has ended by itself."""
        return "ok" if self._thread.is_alive() or self._stopping else "dead"

    @property
    def full(self) -> bool:
        """True if the next text would be lost, so that it need not be made."""
        return self._size >= WAITING_BYTES

    def write(self, text: str, /) -> int:
        """Queue text to be written soon."""
        data = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if self.full:
                self._count_lost(1)
            else:
                self._waiting.append(data)
                self._size += len(data)
            if self._idle or self._size >= GATHER_BYTES:
                self._changed.notify()
        return len(text)

    def lose(self) -> None:
        """Count a text that was lost without being made."""
        with self._changed:
            self._count_lost(1)
            self._changed.notify()

    def isatty(self) -> bool:
        """Return whether the descriptor is a terminal."""
        return os.isatty(self._fd)

    def stop(self) -> None:
        """Write the text that waits, for FLUSH_S seconds at most."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(FLUSH_S)

    def _count_lost(self, count: int) -> None:
        self.lost += count
        self._untold += count

    # --- in the thread ---

    def _run(self) -> None:
        batch: Sequence[bytes] = ()
        failing = False
        while True:
            with self._changed:
                # In one step, so that all of the next batch is older than what was lost meanwhile.
                self._size -= sum(map(len, batch))
                while not (self._waiting or self._stopping or (self._untold and not failing)):
                    self._idle = True
                    self._changed.wait()
                self._idle = False
                if not self._stopping and self._size < GATHER_BYTES:
                    self._changed.wait(GATHER_S)
                batch, self._waiting = self._waiting, []
                untold, self._untold = self._untold, 0
            if not batch and (failing or not untold):
                return
            failed = sum(len(piece) for piece in _pieces(batch) if not self._write(piece))
            untold += failed
            failing = bool(untold) and not self._tell_lost(untold)
            with self._changed:
                self.lost += failed
                if failing:
                    self._untold += untold

    def _tell_lost(self, lost: int) -> bool:
        fault = self._fault
        try:
            line = self._tell(lost, fault)
        except BaseException as error:  # noqa: BLE001 - without this thread nothing would be logged
            self._count_fault(error)
            fault = self._fault
            line = f"{lost} log lines were lost; a fault in the printer: {fault}\n"
        is_told = self._write([line.encode("utf-8", "backslashreplace")])
        if is_told and self._fault == fault:
            self._fault = ""
        return is_told

    def _count_fault(self, error: BaseException) -> None:
        self.faults += 1
        self._fault = type(error).__name__

    def _write(self, piece: Sequence[bytes]) -> bool:
        """Write texts to the descriptor together, and return whether that worked.

        sys.stderr is not used: Python locks and flushes its buffer at exit, so a thread that hangs
        in it would crash or hang the whole process.
        """
        try:
            rest = memoryview(b"".join(piece))
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            return False
        except BaseException as error:  # noqa: BLE001 - as in _tell_lost
            self._count_fault(error)
            return False
        return True


def _pieces(batch: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Yield the texts of a batch, as many together as fit into PIECE_BYTES, at least one."""
    begin = size = 0
    for index, data in enumerate(batch):
        if size and size + len(data) > PIECE_BYTES:
            yield batch[begin:index]
            begin, size = index, 0
        size += len(data)
    if begin < len(batch):
        yield batch[begin:]
