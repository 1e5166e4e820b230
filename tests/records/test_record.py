"""The record of a server: what it is told is in the database soon, and once, whatever happens."""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, event, text
from tests.postgres import Postgres
from tests.records.record import Record
from tests.records.test_store import began, ended, rows
from tests.waiting import wait_until

from offhook.config import Prices
from offhook.errors import UserError
from offhook.events import types as events
from offhook.events.types import CallEvent, Event
from offhook.journal import segments
from offhook.journal.entries import encode
from offhook.journal.segments import LINE_MAX
from offhook.journal.writer import JournalWriter
from offhook.records import database, tables


def record_of(engine: Engine, folder: Path) -> Record:
    return Record(engine, folder / "journal", Prices())


class Calls:
    """Some calls that say one numbered thing after another."""

    def __init__(self, record: Callable[[CallEvent], object], count: int = 3) -> None:
        self._record = record
        self._at_ms = 0
        self.sids = [f"CA{number}" for number in range(count)]
        self.said: list[tuple[str, str]] = []
        for sid in self.sids:
            self._tell(sid, began())

    def say(self, times: int) -> None:
        for _ in range(times):
            self._at_ms += 1
            for sid in self.sids:
                self.said.append((sid, f"line {self._at_ms}"))
                self._tell(sid, events.CallerSaid(f"line {self._at_ms}"))

    def end(self) -> None:
        for sid in self.sids:
            self._tell(sid, ended())

    def _tell(self, sid: str, happened: Event) -> None:
        self._record(CallEvent(sid, self._at_ms, happened))


def said(engine: Engine) -> list[tuple[str, str]]:
    rows_of = sorted(rows(engine, tables.utterances), key=lambda row: row["line"])
    return [(row["call_sid"], row["text"]) for row in rows_of]


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "offhook.records")
    return caplog


def test_what_is_told_is_soon_in_the_database(engine: Engine, tmp_path: Path) -> None:
    with record_of(engine, tmp_path) as record:
        calls = Calls(record)
        calls.say(20)
        wait_until(lambda: record.waiting == 0)
        assert said(engine) == calls.said
        assert record.state == "ok"


def test_leaving_writes_what_is_left(engine: Engine, tmp_path: Path) -> None:
    with record_of(engine, tmp_path) as record:
        calls = Calls(record)
        calls.say(200)
        calls.end()
    assert said(engine) == calls.said
    assert {row["slug"] for row in rows(engine, tables.calls)} == {"caller_hung_up"}


def test_it_makes_its_schema(empty: Engine, tmp_path: Path) -> None:
    with record_of(empty, tmp_path), empty.connect() as connection:
        assert database.version(connection) == database.HEAD


def test_what_a_killed_server_left_is_in_order_and_its_calls_end(
    engine: Engine, tmp_path: Path, quiet: pytest.LogCaptureFixture
) -> None:
    """Of a killed server the journal is there, and a database that knows nothing of it."""
    journal = JournalWriter(tmp_path / "journal" / ("a" * 32), 10**9, 7 << 52)
    calls = Calls(lambda call_event: journal.append([encode(call_event, 1_795_000_000_000)]))
    calls.say(50)
    journal.close()
    with record_of(engine, tmp_path):
        # All of it is there as soon as the follower has settled.
        assert said(engine) == calls.said
        assert {row["slug"] for row in rows(engine, tables.calls)} == {"server_died"}
        assert {row["duration_ms"] for row in rows(engine, tables.calls)} == {50}
    assert "3 calls of the last run had no end" in quiet.text


def test_a_database_of_a_newer_version_is_refused(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UserError, match=r"E-REC-04 .*9999"), record_of(engine, tmp_path):
        pass
    # It gave its folder back.
    with pytest.raises(UserError, match="E-REC-04"), record_of(engine, tmp_path):
        pass


def test_a_line_that_the_database_refuses_keeps_none_of_the_others_out(
    engine: Engine, tmp_path: Path, quiet: pytest.LogCaptureFixture
) -> None:
    with record_of(engine, tmp_path) as record:
        calls = Calls(record)
        calls.say(5)
        # No column takes so large a number.
        record(CallEvent(calls.sids[0], 2**63, events.AudioDropped("agent", 7, "full")))
        calls.say(5)
        wait_until(lambda: record.waiting == 0)
        assert said(engine) == calls.said
    dead = (tmp_path / "journal" / "dead-letters").read_text()
    assert "AudioDropped" in dead
    assert quiet.text.count("cannot be written") == 1


def test_a_line_of_a_newer_version_is_kept_aside(
    engine: Engine, tmp_path: Path, quiet: pytest.LogCaptureFixture
) -> None:
    with record_of(engine, tmp_path) as record:
        calls = Calls(record)
        record.journal._lines.append(b'["CallerSang","CA0",3,4,{"tune":"daisy"}]')
        record.journal._told += 1
        calls.say(3)
        wait_until(lambda: record.waiting == 0)
        assert said(engine) == calls.said
    assert "CallerSang" in (tmp_path / "journal" / "dead-letters").read_text()
    assert "daisy" not in quiet.text


def test_a_database_that_is_locked_for_long(
    tmp_path: Path, quiet: pytest.LogCaptureFixture
) -> None:
    engine = database.open_engine(database.url_of(f"sqlite:///{tmp_path}/offhook.db"))
    event.listen(engine, "connect", lambda c, _: c.execute("PRAGMA busy_timeout=50"))
    with record_of(engine, tmp_path) as record:
        with engine.connect() as other:
            other.exec_driver_sql("BEGIN EXCLUSIVE")
            calls = Calls(record)
            calls.say(20)
            wait_until(lambda: record.state == "waiting for the database")
            calls.say(20)
            assert record.waiting == len(calls.said) + len(calls.sids)
        wait_until(lambda: record.waiting == 0)
        wait_until(lambda: record.state == "ok")
    assert said(engine) == calls.said
    assert "E-REC-05" in quiet.text
    assert "none was lost" in quiet.text
    engine.dispose()


def test_a_commit_of_which_no_answer_came_is_not_made_twice(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with record_of(engine, tmp_path) as record:
        calls = Calls(record)
        wait_until(lambda: record.waiting == 0)
        commit = engine.dialect.do_commit
        kind = engine.dialect.loaded_dbapi.OperationalError

        def commit_and_break_off(connection: Any) -> None:
            commit(connection)
            monkeypatch.undo()
            raise kind("the server closed the connection unexpectedly")

        monkeypatch.setattr(engine.dialect, "do_commit", commit_and_break_off)
        calls.say(10)
        wait_until(lambda: record.waiting == 0)
        calls.say(10)
        calls.end()
    assert said(engine) == calls.said
    assert not (tmp_path / "journal" / "dead-letters").exists()


@pytest.fixture
def on_postgres(postgres: Postgres) -> Iterator[URL]:
    """A database of its own on a PostgreSQL that others use, too."""
    with postgres.database(migrated=True) as url:
        yield url


def ask_postgres(url: URL, statement: str) -> None:
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as admin:
        admin.execute(b"SET default_transaction_read_only = off")
        admin.execute(statement.encode())
        admin.execute(
            b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            b" WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (
            "ALTER DATABASE {0} SET default_transaction_read_only = on",
            "ALTER DATABASE {0} RESET default_transaction_read_only",
        ),
        ("ALTER TABLE utterances RENAME TO gone", "ALTER TABLE gone RENAME TO utterances"),
    ],
    ids=["a replica that takes nothing", "a table that is being moved"],
)
def test_a_postgresql_that_refuses_every_line_is_waited_for(
    on_postgres: URL, begin: str, end: str, tmp_path: Path, quiet: pytest.LogCaptureFixture
) -> None:
    """Its refusal is about itself, not about a line: none is put aside."""
    url = on_postgres.render_as_string(hide_password=False)
    engine = database.open_engine(database.url_of(url))
    with record_of(engine, tmp_path) as record:
        calls = Calls(record)
        calls.say(5)
        wait_until(lambda: record.waiting == 0)
        ask_postgres(on_postgres, begin.format(on_postgres.database))
        calls.say(5)
        wait_until(lambda: record.state == "waiting for the database")
        ask_postgres(on_postgres, end.format(on_postgres.database))
        calls.say(5)
        calls.end()
        wait_until(lambda: record.waiting == 0)
        assert said(engine) == calls.said
    engine.dispose()
    assert not (tmp_path / "journal" / "dead-letters").exists()


def test_a_connection_that_dies_at_any_statement_loses_and_doubles_nothing(
    on_postgres: URL, tmp_path: Path, quiet: pytest.LogCaptureFixture
) -> None:
    url = on_postgres.render_as_string(hide_password=False)
    engine = database.open_engine(database.url_of(url))
    kill_at, statements = [0], [0]

    @event.listens_for(engine, "before_cursor_execute")
    def _kill(connection: Any, cursor: Any, *_: Any) -> None:
        statements[0] += 1
        if kill_at[0] and statements[0] >= kill_at[0]:
            kill_at[0] = 0
            pid = cursor.connection.info.backend_pid
            with psycopg.connect(url, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", (pid,))

    with record_of(engine, tmp_path) as record:
        calls = Calls(record)
        wait_until(lambda: record.waiting == 0)
        for nth in range(1, 9):
            statements[0], kill_at[0] = 0, nth
            calls.say(1)
            wait_until(lambda: record.waiting == 0)
        calls.end()
        wait_until(lambda: record.waiting == 0)
        kill_at[0] = 0
        assert said(engine) == calls.said
    engine.dispose()
    assert not (tmp_path / "journal" / "dead-letters").exists()


@pytest.fixture(scope="module")
def postgres_of_this_file() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture
def own_postgres(postgres_of_this_file: Postgres) -> Postgres:
    """A PostgreSQL that runs, and that a test may stop."""
    postgres_of_this_file.start_again()
    return postgres_of_this_file


def test_a_postgresql_that_is_stopped_for_a_while_and_one_that_hangs(
    own_postgres: Postgres, tmp_path: Path, quiet: pytest.LogCaptureFixture
) -> None:
    with own_postgres.database() as url:
        engine = database.open_engine(database.url_of(url.render_as_string(hide_password=False)))
        with record_of(engine, tmp_path) as record:
            calls = Calls(record, 10)
            calls.say(10)
            own_postgres.shut_down()
            calls.say(50)
            wait_until(lambda: record.state == "waiting for the database")
            calls.say(50)
            own_postgres.start_again()
            wait_until(lambda: record.waiting == 0)
            assert said(engine) == calls.said
            wait_until(lambda: record.state == "ok")

            stopped = own_postgres.processes()
            for process in stopped:
                process.suspend()
            try:
                began_at = time.perf_counter()
                calls.say(100)
                # What is told waits for nobody: 1,000 lines in the time that a disk would need.
                assert time.perf_counter() - began_at < 5
            finally:
                for process in reversed(stopped):
                    process.resume()
            wait_until(lambda: record.waiting == 0)
            assert said(engine) == calls.said
        engine.dispose()


def test_a_postgresql_that_is_not_there_at_the_start_is_waited_for(
    own_postgres: Postgres, tmp_path: Path, quiet: pytest.LogCaptureFixture
) -> None:
    with own_postgres.database() as url:
        own_postgres.shut_down()
        engine = database.open_engine(database.url_of(url.render_as_string(hide_password=False)))
        with record_of(engine, tmp_path) as record:
            assert record.state == "waiting for the database"
            calls = Calls(record)
            calls.say(10)
            own_postgres.start_again()
            wait_until(lambda: record.waiting == 0)
            assert said(engine) == calls.said
        engine.dispose()


def test_a_line_beyond_what_the_journal_takes_is_cut_visibly_and_those_after_it_are_kept(
    engine: Engine, tmp_path: Path
) -> None:
    """One word of a caller's that fills a message of Deepgram's once ended the journal's thread."""
    with record_of(engine, tmp_path) as record:
        calls = Calls(record, count=1)
        for text in ("x" * 1024 * 1024, "\x01" * 1024 * 1024, "\ud83d"):
            record(CallEvent("CA0", 1, events.CallerSaid(text)))
        calls.say(1)
        calls.end()
        wait_until(lambda: not record.waiting)
        assert record.lost == 0
        assert record.state == "ok"
    cut, escaped, half, last = [text for _, text in said(engine)]
    assert len(cut) > 10_000
    most = LINE_MAX // (8 * len(dataclasses.fields(events.CallerSaid)))
    assert cut.endswith(f"characters are more than {most})")
    assert escaped.endswith(f"characters are more than {most})")
    assert half == "\ufffd"
    assert last == "line 1"


def test_a_disk_with_faults_of_its_own_costs_lines_and_no_thread(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, broken = segments.create, [True]

    def failing(path: Path) -> int:
        if broken[0]:
            raise OSError(5, "Input/output error")
        return create(path)

    with record_of(engine, tmp_path) as record:
        monkeypatch.setattr(segments, "create", failing)
        calls = Calls(record)
        for _ in range(120):  # more than the journal has room for, and memory
            record(CallEvent("CA0", 1, events.CallerSaid("x" * 400_000)))
        wait_until(lambda: record.lost > 0 and record.state == "losing lines")
        broken[0] = False
        wait_until(lambda: record.state == "ok")
        calls.say(3)
        calls.end()
        wait_until(lambda: not record.waiting)
        assert record.state == "ok"
        assert [thread.state for thread in record.threads] == ["ok", "ok"]
        assert set(calls.said) <= set(said(engine))


def test_a_dead_thread_shows_in_the_state(engine: Engine, tmp_path: Path) -> None:
    with record_of(engine, tmp_path) as record:
        record.threads[0].stop(30)  # as if it had died: nobody has told the record to stop
        record.threads[0]._stopping.clear()
        assert record.state == "the journal thread is dead"
