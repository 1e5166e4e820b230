"""Captures: the messages of each call's two sockets with their times, in one file per call.

A file is JSON Lines: a CaptureHeader, then a CaptureLine for each message, last how the call ended.
One thread writes the files of all calls, off the audio path; a file is readable at any time. A
failure there stops the capture of that call, and never the call. Secrets are masked before anything
waits to be written (masking.py); speech is kept, as it is the purpose of a capture.

Uses of captures: testing/replay.
"""

import logging
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from offhook import __version__
from offhook.call.ending import Ending
from offhook.capture.masking import Masks
from offhook.capture.tap import Direction, NewCall, OnWire, Tap
from offhook.concurrency.background_thread import ThreadOwner
from offhook.errors import UserError
from offhook.events.types import CameBy, Leg
from offhook.recordings.disk_writer import DiskWriter, file_of_call
from offhook.twilio import messages

_log: Final = logging.getLogger("offhook.capture")

SUFFIX: Final = ".jsonl"

VERSION: Final = 1
"""Version of the format. A reader accepts files of its own version and earlier ones."""

WAITING_BYTES: Final = 16 * 1024 * 1024
"""Bytes of lines waiting for the disk, of all calls; beyond, a call's capture is stopped."""


class CaptureHeader(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """First line of a capture.

    `from` and `to` are empty where Twilio did not tell them. `from` of a call from a browser is the
    user's name.
    """

    offhook_capture: int
    offhook: str
    """Version of Offhook that wrote the file."""
    date: str
    """Time at which the call began, ISO 8601, UTC."""
    call_sid: str
    agent: str
    webhook: bool
    by: CameBy | None = None
    """Way in which the call came; None in files of versions that kept `webhook` alone."""
    from_: str = ""
    to: str = ""


class CaptureLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message, at ms since the call began; exactly one of the fields after `dir` is set.

    `dir` is `in` for a message from a vendor. `audio` is mu-law, base64 in the file, without
    its wrapping; `ms` is Twilio's own time of it, since its stream began.
    """

    at: float
    leg: Leg | None = None
    dir: Direction | None = None
    audio: bytes | None = None
    message: Any = None
    opened: bool = False
    closed: str | None = None
    """Code and reason of a closed socket."""
    unreadable: int | None = None
    """Size in bytes of a message that could not be read."""
    ended: str | None = None
    """Ending of the call (docs/errors.md, Endings): the last line, without a leg."""
    ms: int | None = None


_encode: Final = msgspec.json.Encoder().encode


class Captures(ThreadOwner):
    """Captures of every call that begins in its context, written into `folder`: a MakeTap.

    `secrets` are values that must not be in any file. Raises UserError E-CAP-01 when no file
    can be made in the folder, which is created if it is missing.
    """

    def __init__(self, folder: Path, secrets: tuple[str, ...]) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise UserError(
                "E-CAP-01",
                f"Calls cannot be captured into {folder}: {error.strerror}.",
                "Name a folder that can be written with --capture.",
            ) from None
        self._folder = folder
        self._secrets = secrets
        self.thread: DiskWriter = DiskWriter("captures", WAITING_BYTES)

    def _after_stop(self, *, in_time: bool) -> None:
        if not in_time:
            _log.warning("E-CAP-02 The last lines of the captures were not written in time.")

    def __call__(self, call: NewCall) -> Tap:
        """Return the tap of a new call."""
        now = datetime.now(UTC)
        path = self._folder / file_of_call(call.call_sid, now, SUFFIX)
        header = CaptureHeader(
            offhook_capture=VERSION,
            offhook=__version__,
            date=now.isoformat(timespec="milliseconds"),
            call_sid=call.call_sid,
            agent=call.agent,
            webhook=call.webhook,
            by=call.by,
            from_=call.from_,
            to=call.to,
        )
        file = _File(call.call_sid, path)
        self.thread.put(file, _encode(header))
        return _Capture(file, self.thread, Masks(self._secrets))


def line_of(message: OnWire, masks: Masks) -> CaptureLine:
    """Return a message in the form of a capture line."""
    at, leg, way = round(message.at_ms, 1), message.leg, message.direction
    match message.kind:
        case "open":
            return CaptureLine(at=at, leg=leg, dir=way, opened=True)
        case "close":
            closed = masks.text(message.data.decode("utf-8", "replace"))
            return CaptureLine(at=at, leg=leg, dir=way, closed=closed)
        case "binary":
            if leg == "agent":
                return CaptureLine(at=at, leg=leg, dir=way, audio=message.data)
            return CaptureLine(at=at, leg=leg, dir=way, unreadable=len(message.data))
    # Nearly every message of this leg is audio, which is read once, and kept without its JSON.
    if leg == "caller" and b'"media"' in message.data:
        audio, ms = _audio(message)
        if audio is not None:
            return CaptureLine(at=at, leg=leg, dir=way, audio=audio, ms=ms)
    try:
        content = msgspec.json.decode(message.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        content = None
    if not isinstance(content, dict):
        return CaptureLine(at=at, leg=leg, dir=way, unreadable=len(message.data))
    return CaptureLine(at=at, leg=leg, dir=way, message=masks.message(content))


def _audio(message: OnWire) -> tuple[bytes | None, int | None]:
    """Return the audio and the time of a media message of the inbound track or of ours."""
    try:
        if message.direction == "out":
            played = messages.read_ours(message.data)
            return (
                played.media.payload if isinstance(played, messages.PlayMessage) else None
            ), None
        heard = messages.read(message.data)
    except messages.MalformedTwilioMessageError:
        return None, None
    # The caller's side is the inbound track (twilio.md §1.3).
    if not isinstance(heard, messages.Media) or heard.media.track != "inbound":
        return None, None
    ms = str(heard.media.timestamp)
    return heard.media.payload, int(ms) if ms.isascii() and ms.isdecimal() else None


class _Capture:
    """Tap that captures one call."""

    def __init__(self, file: "_File", writer: DiskWriter, masks: Masks) -> None:
        self._file = file
        self._writer = writer
        self._masks = masks
        self._at = 0.0

    def on_wire(self, message: OnWire) -> None:
        """Capture one message."""
        if not self._file.stopped:
            self._at = message.at_ms
            self._writer.put(self._file, _encode(line_of(message, self._masks)))

    def on_ended(self, ending: Ending | None) -> None:
        """Write the ending of the call, and close the file."""
        slug = "unknown" if ending is None else ending.how.slug
        self._writer.put(self._file, _encode(CaptureLine(at=round(self._at, 1), ended=slug)))
        self._writer.close(self._file)


class _File:
    """File of one call: a disk.GrowingFile."""

    def __init__(self, call_sid: str, path: Path) -> None:
        self.stopped = False
        self.call_sid = call_sid
        self._path = path
        self._broken = False
        self._descriptor: int | None = None

    def stop(self, why: str) -> None:
        """Stop writing; the file stays as it is, and the call goes on."""
        if not self.stopped:
            self.stopped = True
            sid = {"call_sid": self.call_sid}
            _log.warning(
                "E-CAP-02 The capture of call %s has stopped: %s.", self.call_sid, why, extra=sid
            )

    def write(self, parts: list[bytes]) -> None:
        """Append lines. Runs in the thread."""
        if self._broken:
            return
        data = b"".join(line + b"\n" for line in parts)
        try:
            if self._descriptor is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                self._descriptor = os.open(self._path, flags, 0o600)
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            self._broken = True
            self.stop(str(error.strerror))
            self.close()

    def close(self) -> None:
        """Close the file. Runs in the thread."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                os.close(descriptor)
            except OSError as error:
                self.stop(str(error.strerror))
