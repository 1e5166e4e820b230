"""From a table for each kind of row to one of events: nothing of a call is lost or changed."""

import json
import sys
from typing import Any

import msgspec
import pytest
from alembic import op
from sqlalchemy import Engine, inspect, text
from tests.processes import started
from tests.records.test_store import PRICES, call, lines, rows

from offhook.errors import UserError
from offhook.events import types as events
from offhook.journal.entries import JournalEntry
from offhook.records import call_record, database, tables
from offhook.records.store import RecordStore

BEGAN_MS = 1_795_000_000_000

OLD = """
INSERT INTO calls (sid, account_sid, agent, direction, came_by, from_number, to_number, variables,
  journal, line, started_ms, last_ms, stream_at_ms, duration_ms, fault, slug, words, detail,
  agent_ms, tier, text_erased, billed_status, billed_ms, delays)
  VALUES ('CA1', 'AC1', 'desk', 'inbound', 'webhook', '+12025550142', '+12025550100',
  '{"name": "Ada"}', 'j', 10, 1795000000000, 9000, 40, 9000, 'nobody', 'caller_hung_up',
  'the caller hung up', '', 8000, 'standard', FALSE, 'completed', 9100,
  '{"to_agent":[1],"to_caller":[],"to_clear":[]}');
INSERT INTO utterances VALUES
  ('CA1', 12, 'agent', 'We are', 'We are open', 1000, 1900, 900, TRUE),
  ('CA1', 13, 'caller', 'A "table", Zoë?', 'A "table", Zoë?', NULL, 3000, NULL, FALSE);
INSERT INTO turns VALUES
  ('CA1', 14, 3300, NULL, NULL, 100, 300, NULL, 600),
  ('CA1', 15, 3350, 310, 350, NULL, NULL, NULL, NULL);
INSERT INTO functions VALUES
  ('CA1', 16, 'f1', 'paint', '{"colour": "red"}', 3400, 'answered', 'done', 0),
  ('CA1', 17, 'f2', 'pay', '{}', 3500, 'done_late', 'paid', 900),
  ('CA1', 18, 'f3', 'pay', '{}', 3600, 'failed_late', 'no', 800),
  ('CA1', 19, 'f4', 'pay', '{}', 3700, 'call_over', NULL, NULL),
  ('CA1', 20, 'f4', 'pay', '{}', 3800, NULL, NULL, NULL);
INSERT INTO keys VALUES ('CA1', 21, 3900, '7');
INSERT INTO messages VALUES ('CA1', 22, 4000, 'Ada', '', 'Call back.');
INSERT INTO dials VALUES ('CA1', 23, 1795000004100, 'transfer', 'ann', '+12025550101');
INSERT INTO agent_sessions VALUES ('CA1', 11, 'req-1', 300, 260);
INSERT INTO troubles VALUES
  ('CA1', 24, 4200, 'TransferFailed', 'caller', 'busy', 'ann', NULL),
  ('CA1', 25, 4300, 'DialRefused', 'caller', 'text', 'country', NULL),
  ('CA1', 26, 4400, 'AgentWarned', 'agent', 'SLOW', 'slow', NULL),
  ('CA1', 27, 4500, 'Fault', 'caller', NULL, 'a start', NULL),
  ('CA1', 28, 4600, 'AudioDropped', 'caller', NULL, 'late', 400),
  ('CA1', 29, 4700, 'AudioDropped', 'agent', NULL, 'full', 40),
  ('CA1', 30, 4800, 'InterpreterHeld', NULL, NULL, 'book at tools.py:7', 900),
  ('CA1', 31, 4900, 'StreamTrouble', 'caller', '31921', 'closed', NULL);
INSERT INTO applied VALUES ('j', 31);
INSERT INTO calls (sid, account_sid, agent, direction, came_by, from_number, to_number, variables,
  journal, line, started_ms, last_ms, agent_ms, tier, text_erased)
  VALUES ('CA2', 'AC1', 'desk', 'inbound', 'webhook', '', '', '{}', 'j', 40, 1795000000000, 700, 0,
  'standard', TRUE);
INSERT INTO dials VALUES ('CA2', 41, 1795000000600, 'busy', '', '+12025550101')
"""
"""Rows of schema 0007: each kind of row and each outcome of a function in CA1. CA2 has lost its
server, and what was said in it has been erased."""

TIMELINE: list[dict[str, Any]] = [
    {"kind": "agent_session", "at_ms": 300, "request_id": "req-1", "dialled_ms": 260},
    {
        "kind": "utterance",
        "at_ms": 1000,
        "who": "agent",
        "text": "We are",
        "intended": "We are open",
        "start_ms": 1000,
        "end_ms": 1900,
        "heard_ms": 900,
        "interrupted": True,
        "estimated": True,
    },
    {
        "kind": "utterance",
        "at_ms": 3000,
        "who": "caller",
        "text": 'A "table", Zoë?',
        "intended": 'A "table", Zoë?',
        "start_ms": None,
        "end_ms": 3000,
        "heard_ms": None,
        "interrupted": False,
        "estimated": False,
    },
    {
        "kind": "turn",
        "at_ms": 3300,
        "first_byte_ms": 310,
        "first_played_ms": 350,
        "listen_ms": 100,
        "think_ms": 300,
        "speak_ms": None,
        "total_ms": 600,
    },
    *(
        {
            "kind": "function",
            "at_ms": at_ms,
            "id": of,
            "name": name,
            "arguments": arguments,
            "outcome": outcome,
            "content": content,
            "after_ms": after_ms,
        }
        for at_ms, of, name, arguments, outcome, content, after_ms in (
            (3400, "f1", "paint", '{"colour": "red"}', "answered", "done", 0),
            (3500, "f2", "pay", "{}", "done_late", "paid", 900),
            (3600, "f3", "pay", "{}", "failed_late", "no", 800),
            (3700, "f4", "pay", "{}", "call_over", None, None),
            (3800, "f4", "pay", "{}", None, None, None),
        )
    ),
    {"kind": "key", "at_ms": 3900, "digit": "7"},
    {"kind": "message", "at_ms": 4000, "from_name": "Ada", "number": "", "text": "Call back."},
    {
        "kind": "dial",
        "at_ms": 4100,
        "reason": "transfer",
        "destination": "ann",
        "to_number": "+12025550101",
    },
    *(
        {
            "kind": "trouble",
            "at_ms": at_ms,
            "event": event,
            "leg": leg,
            "code": code,
            "words": words,
            "ms": ms,
        }
        for at_ms, event, leg, code, words, ms in (
            (4200, "TransferFailed", "caller", "busy", "ann", None),
            (4300, "DialRefused", "caller", "text", "country", None),
            (4400, "AgentWarned", "agent", "SLOW", "slow", None),
            (4500, "ProtocolViolation", "caller", None, "a start", None),
            (4600, "AudioDropped", "caller", None, "late", 400),
            (4700, "AudioDropped", "agent", None, "full", 40),
            (4800, "InterpreterHeld", None, None, "book at tools.py:7", 900),
            (4900, "StreamTrouble", "caller", "31921", "closed", None),
        )
    ),
]
"""The timeline that the version before gave for the call in OLD."""


@pytest.fixture
def old(empty: Engine) -> Engine:
    """A database of schema 0007."""
    database.migrate(empty, "0007")
    with empty.begin() as connection:
        for statement in OLD.split(";\n"):
            connection.exec_driver_sql(statement)
    return empty


def test_a_call_reads_as_before(old: Engine) -> None:
    assert database.upgrade(old) == ("0007", database.HEAD)
    with old.connect() as connection:
        record = msgspec.to_builtins(
            call_record.exported(call_record.shown(connection, "CA1"), "USD")
        )
    assert record["timeline"] == TIMELINE
    shown = record["call"]
    counted = ("turns", "interruptions", "functions", "troubles")
    assert [shown[name] for name in counted] == [1, 1, 5, 7]
    assert record["variables"] == {"name": "Ada"}
    assert record["meters"]["stream_ms"] == 8960
    assert record["delays"]["to_agent"]["samples"] == 1


def test_every_event_is_json_of_its_type(old: Engine) -> None:
    database.upgrade(old)
    stored = rows(old, tables.events)
    assert len(stored) == 28
    for row in stored:
        kind = getattr(events, row["kind"])
        assert kind(**json.loads(row["body"]))
        assert row["wall_ms"] == BEGAN_MS + row["at_ms"]


def test_the_journal_goes_on_where_the_old_version_stopped(old: Engine) -> None:
    database.upgrade(old)
    store = RecordStore("j", PRICES)
    with old.begin() as connection:
        assert store.applied(connection) == 31
        batch: list[JournalEntry] = lines((700, events.CallerSaid("Hello?")), call_sid="CA2")
        store.apply(connection, [one._replace(number=42) for one in batch], 42)
        assert [end.call_sid for end in store.end_orphaned(connection)] == ["CA2"]
    assert call(old, "CA2")["duration_ms"] == 700
    assert call(old, "CA2")["slug"] == "server_died"


def test_what_was_erased_stays_erased(old: Engine) -> None:
    """The version before left the number that was dialled: it goes too."""
    database.upgrade(old)
    found = [row for row in rows(old, tables.events) if row["call_sid"] == "CA2"]
    assert [row["kind"] for row in found] == ["CallBegan", "Dialled"]
    assert "+1" not in "".join(row["body"] for row in found)


def test_who_only_reads_says_which_command_upgrades(old: Engine) -> None:
    with old.connect() as connection, pytest.raises(UserError, match="E-ASK-07") as problem:
        database.require_head(connection)
    assert problem.value.fix == "Run: offhook db upgrade"


def reads_as_old(engine: Engine) -> bool:
    with engine.connect() as connection:
        assert database.version(connection) == "0007"
        said = connection.scalar(text("SELECT intended FROM utterances WHERE line = 12"))
        digits = connection.scalar(text("SELECT digit FROM keys"))
        assert not inspect(connection).has_table("events")
        return (said, digits) == ("We are open", "7")


def test_a_migration_that_fails_in_its_midst_changes_nothing(
    old: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(op, "drop_index", fail)
        with pytest.raises(OSError, match="No space left"):
            database.upgrade(old)
    assert reads_as_old(old)
    test_a_call_reads_as_before(old)


MIGRATES_HALF = """
import sys, time
from alembic import op
from offhook.records import database

def hang(*_):
    print("most of it is done", flush=True)
    time.sleep(600)

op.drop_index = hang
database.upgrade(database.open_engine(database.url_of(sys.argv[1])))
"""


def test_a_migration_that_is_killed_changes_nothing(old: Engine, url: str) -> None:
    with started(sys.executable, "-c", MIGRATES_HALF, url) as migrating:
        assert migrating.stdout is not None
        assert migrating.stdout.readline() == "most of it is done\n"
        if old.dialect.name == "sqlite":
            assert reads_as_old(old), "who only reads is not kept waiting"
        migrating.kill()
        migrating.wait()
    old.dispose()
    test_a_call_reads_as_before(old)
