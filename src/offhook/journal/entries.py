"""Entries of the journal: each is an event, as JSON, with its call and its times.

    ["CallerSaid", "CA0123…", 5230, 1795536000123, {"text": "Hello?", "start_ms": 4310}]

Name of the event, CallSid, ms of the call, wall clock in ms since 1970, fields. A later version
may add fields with defaults to an event, and events, and rename both (events/stored.py): lines of
an earlier one stay readable.

A line that another process wrote, and that this one has inherited with the call, ends with the id
of that process and the number that the line has in its journal, as do those of live calls' files:

    ["CallerSaid", "CA0123…", 5230, 1795536000123, {…}, "0f6b…", 7354515456000017]
"""

import dataclasses
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET

from offhook.events.stored import decode_event
from offhook.events.types import CallEvent, Event, FunctionCalled
from offhook.journal.segments import LINE_MAX
from offhook.text.clean import whole

_ENCODER: Final = msgspec.json.Encoder()

_LINES: Final = msgspec.json.Decoder(tuple[str, str, int, int, msgspec.Raw])

_INHERITED: Final = msgspec.json.Decoder(tuple[str, str, int, int, msgspec.Raw, str, int])


class MalformedEntryError(Exception):
    """Error: a line is not an entry of this version."""


class Origin(NamedTuple):
    """The process that wrote an inherited line, and the line's number in its journal."""

    process_id: str
    number: int


class JournalEntry(NamedTuple):
    """An entry and its line's number. `wall_ms` is the wall clock when it was written.

    `origin` is None unless the line was inherited with its call.
    """

    number: int
    call_sid: str
    at_ms: int
    wall_ms: int
    event: Event
    origin: Origin | None = None


class InheritedLine(NamedTuple):
    """A line of the journal of a process that has had a call before, and where it is from."""

    process_id: str
    number: int
    line: bytes

    def encoded(self) -> bytes:
        """Return the line as the heir keeps it."""
        return b'%s,"%s",%d]' % (self.line.rstrip(b"]"), self.process_id.encode(), self.number)


def encode(call_event: CallEvent, wall_ms: int) -> bytes:
    """Return the line of an event: LINE_MAX bytes at most, beyond which its texts are cut, visibly.

    Texts that are cut, or that hold half characters, are the only ones to be changed.
    """
    try:
        line = _encode(call_event, wall_ms)
    except UnicodeEncodeError:
        call_event = dataclasses.replace(call_event, event=_changed(call_event.event, whole))
        line = _encode(call_event, wall_ms)
    if len(line) <= LINE_MAX:
        return line
    return _encode(dataclasses.replace(call_event, event=_cut(call_event.event)), wall_ms)


def _cut(event: Event) -> Event:
    """Return the event with texts cut so that they fit into an entry in any alphabet."""
    most = LINE_MAX // (8 * max(1, len(dataclasses.fields(event))))

    def cut(text: str) -> str:
        if len(text) <= most:
            return text
        return f"{text[:most]} … (cut: {len(text)} characters are more than {most})"

    return _changed(event, cut)


def _changed(event: Event, change: Callable[[str], str]) -> Event:
    texts = {
        field.name: change(value)
        for field in dataclasses.fields(event)
        if isinstance(value := getattr(event, field.name), str)
    }
    return dataclasses.replace(event, **texts)  # type: ignore[arg-type]  # each a text before


def _encode(call_event: CallEvent, wall_ms: int) -> bytes:
    event = call_event.event
    return _ENCODER.encode(
        (type(event).__name__, call_event.call_sid, call_event.at_ms, wall_ms, event)
    )


def decode(number: int, line: bytes, *, opaque: bool = False) -> JournalEntry:
    """Return the entry of a line. Raises MalformedEntryError for any other line.

    Without `opaque` the event has none of the fields `events.types.OPAQUE`, which are for the
    process that goes on with the call, and not for a record or a display.
    """
    try:
        origin = None
        if line.endswith(b"}]"):
            name, call_sid, at_ms, wall_ms, fields = _LINES.decode(line)
        else:
            name, call_sid, at_ms, wall_ms, fields, process_id, its = _INHERITED.decode(line)
            origin = Origin(process_id, its)
        event: Event = decode_event(name, fields)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError) as error:
        # The error's message may hold what was said.
        raise MalformedEntryError(type(error).__name__) from None
    if not opaque and type(event) is FunctionCalled and event.thought_signature is not UNSET:
        event = dataclasses.replace(event, thought_signature=UNSET)
    return JournalEntry(number, call_sid, at_ms, wall_ms, event, origin)


def origin_of(line: bytes) -> Origin | None:
    """Return the process that wrote a line, and its number there; None if it does not say so."""
    try:
        *_, process_id, number = _INHERITED.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return Origin(process_id, number)


def wall_ms_of(line: bytes) -> int:
    """Return the wall clock when a line was written, in ms since 1970; 0 if it does not say so."""
    try:
        return (_LINES if line.endswith(b"}]") else _INHERITED).decode(line)[3]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0
