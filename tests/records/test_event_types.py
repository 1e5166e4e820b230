"""Every type of event is kept, shown and erased: a new one needs no code for that."""

import csv
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec import UNSET
from sqlalchemy import Engine, text
from tests.events.test_describe import example
from tests.records.test_store import WALL, apply, began, ended, lines, rows

from offhook.cli.calls.call_page import page
from offhook.cli.calls.export import _csv, _jsonl
from offhook.cli.calls.record_access import every
from offhook.config import Prices, RetentionSettings
from offhook.events import types as events
from offhook.events.describe import describe
from offhook.events.types import OPAQUE, PRIVATE, Event
from offhook.recordings.files import LocalFiles
from offhook.records import call_record, database, tables
from offhook.records.erasing import erase
from offhook.records.filters import CallFilter
from offhook.records.models import EventRecord
from offhook.records.retention import Retention
from offhook.records.store import RecordStore
from offhook.records.timeline import UNLISTED

EVENTS: tuple[type[Event], ...] = get_args(Event)
DAY_MS = 86_400_000

FUNCTION = events.FunctionCalled("ID", "NAME", "ARGUMENTS of FunctionCalled")
WITH: dict[type[Event], tuple[list[Event], list[Event]]] = {
    events.FunctionAnswered: ([FUNCTION], []),
    events.FunctionDropped: ([FUNCTION], []),
    events.FunctionFinishedLate: ([FUNCTION], []),
    events.AgentAnnounced: ([], [events.AgentSaid("", "TEXT of AgentAnnounced", 9, True)]),
    events.AgentHeard: ([], [events.AgentSaid("", "", 9, interrupted=True)]),
}
"""Events that are part of another event's entry, and what comes before and after them."""

NOT_SHOWN: dict[tuple[type[Event], str], str] = {
    (events.CallerSaid, "behavior"): "early access: live events have it",
    (events.AgentAnnounced, "behavior"): "early access, as of what the caller says",
    (events.DialRefused, "to"): "a number that was not dialled is the log's, where it may be told",
    (events.FunctionFinishedLate, "outcome"): "the function's is done_late or failed_late",
}
"""Texts of events that the record of a call leaves out, with the reason."""


def made(kind: type[Event]) -> Event:
    """An event whose private texts name field and kind; other texts name the field."""
    private = {
        field.name: f"{field.name.upper()} of {kind.__name__}"
        for field in dataclasses.fields(kind)
        if field.name in PRIVATE
    }
    if kind is events.CallBegan:
        private["variables"] = '{"name": "VARIABLES of CallBegan"}'
    # The journal gives no record what only the call itself needs (journal/test_entries.py).
    opaque = {field.name: UNSET for field in dataclasses.fields(kind) if field.name in OPAQUE}
    event = dataclasses.replace(example(kind), **private, **opaque)  # type: ignore[arg-type]
    if isinstance(event, events.AgentAnnounced | events.AgentHeard):
        return dataclasses.replace(event, utterance=1)
    return event


def call_with(engine: Engine, *happened: Event) -> None:
    first = happened[0] if isinstance(happened[0], events.CallBegan) else began()
    rest = [event for event in happened if event is not first]
    apply(engine, lines((0, first), *((10 + at, event) for at, event in enumerate(rest))))


def texts_of(event: Event) -> list[str]:
    """The texts of an event that the record shows."""
    kind = type(event)
    texts = {
        field.name: value
        for field in dataclasses.fields(event)
        if isinstance(value := getattr(event, field.name), str)
        and (kind, field.name) not in NOT_SHOWN
    }
    if kind is events.CallBegan:
        texts["variables"] = "VARIABLES of CallBegan"
    return list(texts.values())


def secrets(event: Event) -> list[str]:
    kind = type(event)
    names = {field.name for field in dataclasses.fields(kind)} & PRIVATE
    return [f"{name.upper()} of {kind.__name__}" for name in names]


def as_json(engine: Engine) -> dict[str, Any]:
    with engine.connect() as connection:
        record = call_record.exported(call_record.shown(connection, "CA1"), "USD")
    made: dict[str, Any] = msgspec.to_builtins(record)
    return made


def printed(engine: Engine) -> str:
    with engine.connect() as connection:
        record = call_record.shown(connection, "CA1")
    return "\n".join(line.plain for line in page(record, "USD"))


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", EVENTS)
def test_it_is_kept_and_shown(engine: Engine, kind: type[Event]) -> None:
    event = made(kind)
    before, after = WITH.get(kind, ([], []))
    call_with(engine, *before, event, *after)
    kept = next(row for row in rows(engine, tables.events) if row["kind"] == kind.__name__)
    assert msgspec.json.decode(kept["body"], type=kind) == event
    record = as_json(engine)
    assert len(record["timeline"]) == (kind in WITH or kind not in UNLISTED)
    shown = json.dumps(record, ensure_ascii=False)
    assert [text for text in texts_of(event) if text not in shown] == []


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", [kind for kind in EVENTS if kind not in UNLISTED])
def test_it_is_a_line_of_the_page(engine: Engine, kind: type[Event]) -> None:
    event = made(kind)
    call_with(engine, *WITH.get(kind, ([], []))[0], event)
    [line] = [line for line in printed(engine).splitlines() if re.match(r" +\d+  ", line)]
    (entry,) = as_json(engine)["timeline"]
    if entry["kind"] == "event":
        assert describe(event, texts=True) in line
    told = set(secrets(event)) & set(texts_of(event))
    assert [text for text in told if text not in line] == []


def test_what_is_not_listed_is_for_a_reason() -> None:
    assert set(UNLISTED) <= set(EVENTS)
    assert all(UNLISTED.values())
    assert len(UNLISTED) < 12, "the list is short"


def test_transfers_keys_and_recordings_are_in_the_timeline(engine: Engine) -> None:
    """As docs/transfers.md, docs/keypad.md and docs/recordings.md promise."""
    happened: list[Event] = [
        events.CallerLeft("transfer", "ann"),
        events.CallerBack(),
        events.StreamBroke("cut off"),
        events.AgentSwitched("billing"),
        events.AgentMuted(on=True),
        events.AgentTold("The caller is a friend."),
        events.SecretEntered(16, complete=True),
        events.KeysEntered("4217"),
        events.RecordingStarted("one.wav"),
        events.RecordingPaused(),
        events.RecordingResumed(),
        events.RecordingEnded(900),
        events.RecordingFailed("the disk is full"),
        events.UtteranceRedacted("caller", 10, 90),
        events.DoNotCall("+12025550177"),
        events.AgentDisconnected(900),
    ]
    call_with(engine, *happened)
    with engine.connect() as connection:
        entries = call_record.shown(connection, "CA1").timeline
    assert entries == [
        EventRecord(
            at_ms=10 + number,
            event=type(event).__name__,
            fields=dataclasses.asdict(event),
            words=describe(event, texts=True),
        )
        for number, event in enumerate(happened)
    ]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_row_with_a_fields_earlier_name_is_shown_with_todays(engine: Engine) -> None:
    call_with(engine, events.CallerLeft("transfer", "ann"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE events SET body = replace(body, 'handoff', 'errand')"))
    with engine.connect() as connection:
        [entry] = call_record.shown(connection, "CA1").timeline
    assert isinstance(entry, EventRecord)
    assert entry.fields == {"handoff": "transfer", "destination": "ann"}
    assert entry.words == describe(events.CallerLeft("transfer", "ann"), texts=True)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_export_has_every_event(engine: Engine) -> None:
    whole = [made(kind) for kind in EVENTS if kind is not events.CallBegan]
    call_with(engine, *whole)
    with engine.connect() as connection:
        (line,) = _jsonl(connection, every(connection, CallFilter()), "USD")
        lines = "".join(_csv(every(connection, CallFilter()), "USD"))
    table = list(csv.DictReader(io.StringIO(lines)))
    assert json.loads(line) == as_json(engine)
    entries = json.loads(line)["timeline"]
    folded = len(WITH.keys() - UNLISTED) + 1  # ours and Deepgram's times are one turn
    assert len(entries) == len(EVENTS) - len(UNLISTED) - folded
    assert (table[0]["turns"], table[0]["functions"]) == ("1", "1")


# --- Versions ------------------------------------------------------------------------------------


def test_an_event_of_a_newer_version_is_shown_and_erased(engine: Engine, tmp_path: Path) -> None:
    """Servers of two versions may share a database whose schema is that of both."""
    call_with(engine, events.CallStarted(), ended())
    row = {"call_sid": "CA1", "line": 99, "at_ms": 500, "wall_ms": WALL + 500}
    newer = {"kind": "Sneezed", "body": '{"text": "Atishoo", "loud": true}'}
    changed = {"kind": "CallerSaid", "body": '{"text": ["Atishoo"]}', "line": 100}
    with engine.begin() as connection:
        connection.execute(tables.events.insert(), [row | newer, row | changed])
    sneezed, said = as_json(engine)["timeline"]
    assert (sneezed["event"], sneezed["words"]) == ("Sneezed", "")
    assert sneezed["fields"] == {"text": "Atishoo", "loud": True}
    assert said["fields"] == {"text": ["Atishoo"]}
    assert "Sneezed text Atishoo, loud True" in printed(engine)
    sweep(engine, tmp_path)
    sneezed, said = as_json(engine)["timeline"]
    assert (sneezed["fields"], said["text"]) == ({"text": "", "loud": True}, "")


# --- Erasing -------------------------------------------------------------------------------------

PRIVATE_KINDS = [
    kind for kind in EVENTS if PRIVATE & {field.name for field in dataclasses.fields(kind)}
]


def sweep(engine: Engine, folder: Path) -> None:
    (folder / "recordings").mkdir(exist_ok=True)
    files = LocalFiles(folder / "recordings")
    kept = RetentionSettings(text_days=30)
    swept = Retention(engine, files, RecordStore("j", Prices()), kept).sweep(WALL + 31 * DAY_MS)
    assert swept.texts == 1


def everything(engine: Engine) -> str:
    """All rows of all tables, but for numbers that are never to be rung."""
    return "".join(
        str(rows(engine, table))
        for table in tables.metadata.sorted_tables
        if table is not tables.do_not_call
    )


@pytest.mark.parametrize("kind", PRIVATE_KINDS)
def test_what_is_private_goes_with_the_texts(
    engine: Engine, tmp_path: Path, kind: type[Event]
) -> None:
    event = made(kind)
    call_with(engine, event, ended())
    there = everything(engine)
    assert [text for text in secrets(event) if text not in there] == []
    sweep(engine, tmp_path)
    left = everything(engine)
    assert [text for text in secrets(event) if text in left] == []
    row = next(row for row in rows(engine, tables.events) if row["kind"] == kind.__name__)
    emptied = msgspec.json.decode(row["body"], type=kind)
    nothing = {field.name: "" for field in dataclasses.fields(kind) if field.name in PRIVATE}
    assert emptied == dataclasses.replace(event, **nothing)  # type: ignore[arg-type]
    assert printed(engine)


@pytest.mark.parametrize("way", ["texts", "calls"])
def test_nothing_private_is_left_in_the_file(tmp_path: Path, way: str) -> None:
    engine = database.open_engine(database.url_of(f"sqlite:///{tmp_path}/offhook.db"))
    database.upgrade(engine)
    whole = [made(kind) for kind in PRIVATE_KINDS if kind is not events.DoNotCall]
    call_with(engine, *whole, ended())
    if way == "texts":
        sweep(engine, tmp_path)
    else:
        erase(engine, LocalFiles(tmp_path), tmp_path / "journal", ["CA1"])
    engine.dispose()
    left = b"".join(path.read_bytes() for path in tmp_path.glob("offhook.db*"))
    found = {text for event in whole for text in secrets(event) if text.encode() in left}
    assert found == set()


def test_every_private_field_is_a_text() -> None:
    """Which is what `erasing.without_texts` makes empty."""
    for kind in PRIVATE_KINDS:
        for field in dataclasses.fields(kind):
            if field.name in PRIVATE:
                assert field.type is str, f"{kind.__name__}.{field.name}"
