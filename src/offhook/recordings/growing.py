"""The growing file of a recording, for the disk writer."""

import contextlib
import errno
import logging
import threading
from collections.abc import Callable
from typing import BinaryIO, Final

from offhook.errors import UserError
from offhook.recordings import reading
from offhook.recordings.files import LocalFiles
from offhook.recordings.repair import repair_one
from offhook.recordings.silencing import Side, overwrite
from offhook.recordings.wav import StereoWriter

_log: Final = logging.getLogger("offhook.recordings")

NOT_HERE: Final = "its beginning is on the disk of the node before, or was deleted"
"""Reason why a recording does not go on where a call was taken over."""


class GrowingRecording:
    """A disk.GrowingFile. A part is a stretch of the left side, then as much of the right.

    `over` is called once, by the thread, when the file is closed. With `resumed_at`, a sample, it
    goes on with the file of a process that died.
    """

    def __init__(
        self,
        store: LocalFiles,
        name: str,
        call_sid: str,
        over: Callable[[], None],
        resumed_at: int | None = None,
    ) -> None:
        self.why: str | None = None
        """Reason why the file takes nothing more; None: it takes more."""
        self._store = store
        self._name = name
        self._call_sid = call_sid
        self._over = over
        self._file: BinaryIO | None = None
        self._wav: StereoWriter | None = None
        self._samples = 0
        self._resumed_at = resumed_at
        self._broken = False
        self._is_abandoned = False
        # Stretches to be silenced come from any thread, until the file is closed.
        self._lock = threading.Lock()
        self._silences: list[tuple[int, int, Side]] = []
        self._closed = False

    @property
    def stopped(self) -> bool:
        """True if the file takes nothing more."""
        return self.why is not None

    def stop(self, why: str) -> None:
        """Take nothing more: what is there stays, and the call goes on."""
        if self.why is None:
            self.why = why
            _log.warning(
                "E-AUD-02 The recording of call %s has stopped: %s.",
                self._call_sid,
                why,
                extra={"call_sid": self._call_sid},
            )

    def abandon(self) -> None:
        """Write no more audio, and no sizes if another process has gone on with the file."""
        self._is_abandoned = True

    def silence(self, start: int, end: int, side: Side) -> bool:
        """Silence samples, now or as soon as they come. Return False if the file is closed."""
        with self._lock:
            if not self._closed:
                self._silences.append((start, end, side))
            return not self._closed

    def write(self, parts: list[bytes]) -> None:
        """Append parts. Called by the disk writer's thread."""
        if self._broken or self._is_abandoned:
            return
        try:
            wav, file = self._opened()
            for part in parts:
                half = len(part) // 2
                wav.write(part[:half], part[half:])
                self._samples += half
            self._silence_written()
            file.flush()
        except OSError as error:
            self._break(error)

    def _opened(self) -> tuple[StereoWriter, BinaryIO]:
        """Return the file, which the first write opens."""
        if self._wav is not None and self._file is not None:
            return self._wav, self._file
        if self._resumed_at is None:
            file = self._file = self._store.create(self._name)
            wav = self._wav = StereoWriter(file)
        else:
            file = self._file = self._begun()
            wav = self._wav = StereoWriter.resume(file, self._resumed_at)
            self._samples = wav.samples
        return wav, file

    def _begun(self) -> BinaryIO:
        """Return the file that another process began. Raises OSError."""
        try:
            return self._store.open(self._name, change=True)
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, NOT_HERE) from None

    def close(self) -> None:
        """Put the sizes into the header and close the file. Called by the disk writer's thread."""
        try:
            if self._wav is not None and self._file is not None:
                if not self._is_abandoned or self._wav.is_alone():
                    self._silence_written()
                    self._wav.close()
                self._file.close()
        except OSError as error:
            self._break(error)
        self._file = self._wav = None
        with self._lock:
            self._closed = True
            left, self._silences = self._silences, []
        if left:  # requested after the last write, or the disk had failed before their turn
            with contextlib.suppress(OSError, UserError):
                for start, end, side in left:
                    reading.silence_samples(self._store, self._name, start, end, side)
        self._over()

    def _silence_written(self) -> None:
        with self._lock:
            due, self._silences = self._silences, []
            # The rest of a stretch that is not written yet waits for it.
            self._silences += [
                (max(s, self._samples), e, side) for s, e, side in due if e > self._samples
            ]
        if due and self._file is not None:
            for start, end, side in due:
                end = min(end, self._samples)
                overwrite(self._file, start, end, side)
            self._file.seek(0, 2)

    def _break(self, error: OSError) -> None:
        self._broken = True
        self.stop(str(error.strerror or error))
        file, self._file, self._wav = self._file, None, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()
            with contextlib.suppress(OSError, ValueError):
                repair_one(self._store, self._name)
