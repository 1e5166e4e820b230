"""Reader of captured calls: the actions of the caller, and the messages that came back.

offhook/capture.py writes the files.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from offhook import audio
from offhook.capture import writer
from offhook.capture.writer import CaptureHeader, CaptureLine
from offhook.errors import UserError
from offhook.testing.simulator.twilio.stream import EndedBy

GAP_MAX_MS: Final = 60_000
"""Longest gap in ms between Twilio's timestamps that counts as silence; longer ones are errors."""

_header: Final = msgspec.json.Decoder(CaptureHeader)
_line: Final = msgspec.json.Decoder(CaptureLine)
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _AnyVersion(msgspec.Struct):
    offhook_capture: int


@dataclass(frozen=True, slots=True)
class Captured:
    """A captured call. `whole` is True if the file ends with the call's ending."""

    path: Path
    header: CaptureHeader
    lines: tuple[CaptureLine, ...]
    whole: bool
    cut: bool
    """True if the last line is incomplete."""

    @property
    def started_ms(self) -> float:
        """Time in ms at which Twilio's `start` arrived."""
        return next(line.at for line in self.lines if _is(line, "start"))

    @property
    def ended_by(self) -> EndedBy | None:
        """Side that ended the stream; None if the file does not have the end of the stream."""
        for line in self.lines:
            if _is(line, "stop"):
                return "caller"
            if line.leg == "caller" and line.closed is not None:
                return "server" if line.dir == "out" else "loss"
        return None


@dataclass(frozen=True, slots=True)
class CallerSide:
    """Actions of the caller, with times in ms from the stream's start.

    `audio` is the caller's whole audio, in whole frames, with silence where none arrived.
    """

    audio: bytes
    keys: tuple[tuple[int, str], ...]
    hung_up_ms: int | None


@dataclass(frozen=True, slots=True)
class CapturedFunctionCall:
    """A function call of the agent that the agent did not cancel."""

    at_ms: float
    name: str
    arguments: Any
    """Arguments decoded from JSON, or the text itself if it is not JSON."""


@dataclass(frozen=True, slots=True)
class SpokenText:
    """A ConversationText message of the agent's connection."""

    at_ms: float
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class AgentWire:
    """Messages of the agent's connection to compare, with times in ms from the stream's start."""

    texts: tuple[SpokenText, ...]
    functions: tuple[CapturedFunctionCall, ...]
    ending: str | None
    """Slug of the call's ending."""


Message: TypeAlias = dict[str, Any]


def read(path: Path) -> Captured:
    """Read a capture from a file. Raises UserError E-CAP-03 to E-CAP-05.

    An incomplete last line is left out: the call was not over, or the disk was full.
    """
    try:
        head, *rest = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(
            "E-CAP-03",
            f"{path} cannot be read: {error.strerror}.",
            "Name a file that offhook serve --capture has written.",
        ) from None
    header = _read_header(path, head)
    cut = rest.pop() if rest else b""
    lines = []
    for number, text in enumerate(rest, 2):
        try:
            lines.append(_line.decode(text))
        except _UNREADABLE:
            raise UserError(
                "E-CAP-03",
                f"{path}:{number} is no line of a capture.",
                "Use the file as it was written, or capture the call anew.",
            ) from None
    captured = Captured(
        path, header, tuple(lines), bool(lines) and lines[-1].ended is not None, bool(cut)
    )
    if not caller_side(captured).audio:
        raise UserError(
            "E-CAP-05",
            f"Nothing in {path} can be played again: no audio of a caller is in it.",
            "Use the capture of a call whose stream was opened.",
        )
    return captured


def _read_header(path: Path, head: bytes) -> CaptureHeader:
    try:
        version = msgspec.json.decode(head, type=_AnyVersion).offhook_capture
        if version <= writer.VERSION:
            return _header.decode(head)
    except _UNREADABLE:
        raise UserError(
            "E-CAP-03",
            f"{path} is not a capture.",
            "Name a file that offhook serve --capture has written.",
        ) from None
    raise UserError(
        "E-CAP-04",
        f"{path} is a capture of version {version}; this Offhook reads versions up to"
        f" {writer.VERSION}.",
        "Use the version of Offhook that wrote it, or a later one.",
    )


# --- the caller's side ---------------------------------------------------------------------------


def caller_side(captured: Captured) -> CallerSide:
    """Return the caller's actions; none if the capture has no `start`."""
    side = bytearray()
    keys: list[tuple[int, str]] = []
    hung_up: int | None = None
    started: float | None = None
    before: int | None = None  # Twilio's time of the last audio, and its length
    for line in captured.lines:
        if _is(line, "start"):
            started = line.at
        if started is None or line.leg != "caller" or line.dir != "in":
            continue
        if line.audio is not None:
            gap = _gap(line, before, started, len(side))
            side += audio.SILENCE * (gap * audio.BYTES_PER_MS) + line.audio
            if line.ms is not None:
                before = line.ms + audio.milliseconds(len(line.audio))
        elif _is(line, "dtmf"):
            digit = str(_part(line.message, "dtmf").get("digit", ""))
            keys.append((audio.milliseconds(len(side)), digit))
        elif _is(line, "stop"):
            hung_up = audio.milliseconds(len(side))
            break
    side += audio.SILENCE * (-len(side) % audio.FRAME_BYTES)
    return CallerSide(bytes(side), tuple(keys), hung_up)


def _gap(line: CaptureLine, before: int | None, started: float, size: int) -> int:
    """Return the milliseconds of silence before this piece of audio."""
    if not size:
        # The first frame is sent when its 20 ms of sound are over.
        frames = round((line.at - started) / audio.FRAME_MS) - 1
        gap = max(0, frames) * audio.FRAME_MS
    elif line.ms is None or before is None:
        gap = 0
    else:
        gap = max(0, line.ms - before)
    return gap if gap <= GAP_MAX_MS else 0


# --- what came back ------------------------------------------------------------------------------


def to_caller(captured: Captured) -> Iterator[tuple[float, CaptureLine]]:
    """Yield the messages to Twilio, and the socket's end, with their ms from the stream's start."""
    started = captured.started_ms
    for line in captured.lines:
        if line.leg == "caller" and (line.dir == "out" or line.closed is not None):
            yield line.at - started, line


def told(lines: Iterable[CaptureLine]) -> AgentWire:
    """Collect the agent's texts and function calls, and the ending, from lines of a capture.

    Times are in ms from the stream's start, or as in the lines if they have no `start`.
    """
    lines = tuple(lines)
    started = next((line.at for line in lines if _is(line, "start")), 0.0)
    texts: list[SpokenText] = []
    functions: dict[str, CapturedFunctionCall] = {}
    ending: str | None = None
    for line in lines:
        if line.ended is not None:
            ending = line.ended
        if line.leg != "agent" or line.dir != "in" or not isinstance(line.message, dict):
            continue
        at_ms, message = line.at - started, line.message
        match message.get("type"):
            case "ConversationText":
                role, content = str(message.get("role", "")), str(message.get("content", ""))
                texts.append(SpokenText(at_ms, role, content))
            case "FunctionCallRequest":
                for number, call in enumerate(_functions(message)):
                    one = CapturedFunctionCall(at_ms, str(call.get("name", "")), _arguments(call))
                    functions[str(call.get("id", f"{at_ms} {number}"))] = one
            case "FunctionCallCancelled":
                for call in _functions(message):
                    functions.pop(str(call.get("id", "")), None)
    return AgentWire(tuple(texts), tuple(functions.values()), ending)


def _functions(message: Message) -> Iterator[Message]:
    calls = message.get("functions")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict):
            yield call


def _arguments(call: Message) -> Any:
    text = call.get("arguments", "")
    try:
        return msgspec.json.decode(text)
    except (*_UNREADABLE, TypeError):
        return text


def _is(line: CaptureLine, event: str) -> bool:
    """Return True if the line is Twilio's message `event`."""
    return (
        line.leg == "caller"
        and line.dir == "in"
        and isinstance(line.message, dict)
        and line.message.get("event") == event
    )


def _part(message: Message, name: str) -> Message:
    part = message.get(name)
    return part if isinstance(part, dict) else {}
