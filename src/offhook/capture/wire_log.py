"""The wire log of a call: the messages of its captures in pages, with the audio counted.

A capture grows by 2.6 MB a minute, nearly all of it audio; one page reads at most SCAN_BYTES. A
call that two processes carried has two captures, which follow each other. All of it blocks.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple, TypeAlias

import msgspec

from offhook.capture.tap import Direction
from offhook.capture.writer import SUFFIX, CaptureHeader, CaptureLine
from offhook.errors import UserError
from offhook.events.types import Leg
from offhook.recordings.disk_writer import end_of_name

PAGE_MAX: Final = 500
"""Entries of a page, at most."""

SCAN_BYTES: Final = 8 * 1024 * 1024
"""Bytes that one page reads: some three minutes of a call. A page may have fewer entries for it."""

TEXT_MAX: Final = 16 * 1024
"""Characters of a message in an entry; the file has the rest."""

LINE_MAX: Final = 1024 * 1024
"""Bytes of a line that is decoded; a longer one is told by its size."""

WireKind: TypeAlias = Literal["message", "audio", "opened", "closed", "unreadable", "ended"]

_AUDIO: Final = re.compile(
    rb'\{"at":([0-9.eE+-]+),"leg":"(caller|agent)","dir":"(in|out)","audio":"([^"]*)"'
)
_CURSOR: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,15})", re.ASCII)
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_header: Final = msgspec.json.Decoder(CaptureHeader)
_line: Final = msgspec.json.Decoder(CaptureLine)


@dataclass(slots=True, kw_only=True)
class WireEntry:
    """A message, or frames of audio that follow each other on one leg and in one direction.

    `at_ms` counts from the beginning of the call. `name` is the type of a message, `text` its JSON,
    secrets masked, at most TEXT_MAX characters of it, or the close code, or the slug of the ending.
    `size` is in bytes; of audio it is mu-law, 8 a millisecond, in so many `frames`.
    """

    at_ms: int
    what: WireKind
    leg: Leg | None = None
    direction: Direction | None = None
    name: str = ""
    text: str = ""
    size: int = 0
    frames: int = 0


@dataclass(frozen=True, slots=True)
class WirePage:
    """A page of a wire log. `next_cursor` asks for the following one; None: no page follows yet."""

    entries: list[WireEntry]
    next_cursor: str | None
    size: int
    """Bytes of all captures of the call."""


class _Place(NamedTuple):
    """A place in the captures of a call: which file, and the bytes before it."""

    file: int
    offset: int


def captures_of(folder: Path | None, call_sid: str) -> list[Path]:
    """Return the captures of a call, the oldest first. Raises UserError E-CAP-07 without any."""
    end = end_of_name(call_sid, SUFFIX)
    found: list[Path] = []
    if folder is not None and folder.is_dir():
        found = [path for path in folder.iterdir() if path.name.endswith(end) and _is_plain(path)]
    if not found:
        raise UserError(
            "E-CAP-07",
            "There is no wire log of this call: its messages were not captured into the folder that"
            " this server captures into.",
            "Start the server with --capture before the call: offhook serve --capture captures",
        )
    return sorted(found)


def page(
    files: list[Path], started_ms: int, limit: int = 200, cursor: str | None = None
) -> WirePage:
    """Return a page of a call's wire log; `limit` is 1 to PAGE_MAX.

    `started_ms` is when the call began, in ms since 1970. Raises UserError E-ASK-02 for the cursor,
    and OSError when a file cannot be read.
    """
    place = _place_of(cursor, files)
    entries: list[WireEntry] = []
    left = SCAN_BYTES
    while place.file < len(files) and left > 0 and len(entries) < limit:
        with files[place.file].open("rb") as file:
            reader = _Reader(file, place.offset, started_ms)
            read = reader.read(limit - len(entries), left)
        entries += read
        left -= max(1, reader.offset - place.offset)
        place = _Place(place.file, reader.offset)
        if reader.at_end:
            if place.file + 1 == len(files):
                return WirePage(entries, None, _size(files))
            place = _Place(place.file + 1, 0)
    return WirePage(entries, f"{place.file}.{place.offset}", _size(files))


class _Reader:
    """Reader of one capture from an offset on. `at_end`: nothing whole follows."""

    def __init__(self, file: BinaryIO, offset: int, started_ms: int) -> None:
        self._file = file
        self._later_ms = 0.0
        header = file.readline(LINE_MAX)
        try:
            date = datetime.fromisoformat(_header.decode(header).date)
            self._later_ms = date.timestamp() * 1000 - started_ms
        except (*_UNREADABLE, ValueError):  # of a newer version, or cut
            pass
        self.offset = max(offset, len(header))
        self.at_end = False

    def read(self, limit: int, most_bytes: int) -> list[WireEntry]:
        """Return up to `limit` entries, of at most so many bytes and a line."""
        entries: list[WireEntry] = []
        stop = self.offset + most_bytes
        self._file.seek(self.offset)
        while self.offset < stop:
            line = self._file.readline(LINE_MAX)
            if not line.endswith(b"\n") and len(line) < LINE_MAX:
                self.at_end = True  # the end, or a line that is being written
                break
            size = len(line) + self._skip_rest(line)
            entry = self._entry(line, size)
            if not _joined(entries, entry):
                if len(entries) == limit:
                    break
                entries.append(entry)
            self.offset += size
        return entries

    def _skip_rest(self, line: bytes) -> int:
        """Pass over the rest of a line that is too long. Return its bytes."""
        skipped = 0
        while not line.endswith(b"\n"):
            line = self._file.readline(LINE_MAX)
            if not line:
                break
            skipped += len(line)
        return skipped

    def _at_ms(self, at: float) -> int:
        return round(at + self._later_ms)

    def _entry(self, line: bytes, size: int) -> WireEntry:
        audio = _AUDIO.match(line)
        if audio is not None:
            leg: Leg = "caller" if audio[2] == b"caller" else "agent"
            way: Direction = "in" if audio[3] == b"in" else "out"
            mulaw = len(audio[4]) * 3 // 4 - audio[4].count(b"=")
            return WireEntry(
                at_ms=self._at_ms(_number(audio[1])),
                what="audio",
                leg=leg,
                direction=way,
                size=mulaw,
                frames=1,
            )
        try:
            if size > LINE_MAX:
                raise msgspec.DecodeError
            found = _line.decode(line)
        except _UNREADABLE:
            return WireEntry(at_ms=self._at_ms(0), what="unreadable", size=size)
        return _of_line(found, self._at_ms(found.at), size)


def _of_line(line: CaptureLine, at_ms: int, size: int) -> WireEntry:
    entry = WireEntry(at_ms=at_ms, what="message", leg=line.leg, direction=line.dir)
    if line.ended is not None:
        entry.what, entry.text = "ended", line.ended[:TEXT_MAX]
    elif line.opened:
        entry.what = "opened"
    elif line.closed is not None:
        entry.what, entry.text = "closed", line.closed[:TEXT_MAX]
    elif line.unreadable is not None:
        entry.what, entry.size = "unreadable", line.unreadable
    else:
        entry.name = _name_of(line.message)
        entry.text = msgspec.json.encode(line.message).decode()[:TEXT_MAX]
        entry.size = size
    return entry


def _name_of(message: object) -> str:
    """Return the type of a message: Twilio names it `event`, Deepgram `type`."""
    if isinstance(message, dict):
        for field in ("event", "type"):
            if isinstance(message.get(field), str):
                return str(message[field])[:80]
    return ""


def _joined(entries: list[WireEntry], audio: WireEntry) -> bool:
    """Add audio to that of the same wire, if only audio lies between. Return whether it was."""
    if audio.what != "audio":
        return False
    for entry in reversed(entries[-4:]):
        if entry.what != "audio":
            return False
        if (entry.leg, entry.direction) == (audio.leg, audio.direction):
            entry.frames += 1
            entry.size += audio.size
            return True
    return False


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _place_of(cursor: str | None, files: list[Path]) -> _Place:
    if cursor is None:
        return _Place(0, 0)
    given = _CURSOR.fullmatch(cursor)
    if given is None or int(given[1]) >= len(files):
        raise UserError(
            "E-ASK-02",
            "The cursor is not one that Offhook gave out.",
            "Ask for the first page, and then with next_cursor of each answer.",
        )
    return _Place(int(given[1]), int(given[2]))


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _size(files: list[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def pieces(files: list[Path], piece_bytes: int) -> Iterator[bytes]:
    """Return the content of all captures of a call, in pieces. Blocks."""
    for path in files:
        with path.open("rb") as file:
            while piece := file.read(piece_bytes):
                yield piece
