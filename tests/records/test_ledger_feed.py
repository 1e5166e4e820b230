"""The ledger and the database: what each takes over from the other, on both databases."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from tests.waiting import wait_until

from offhook.outbound.errors import TryLaterError
from offhook.outbound.ledger_file import LedgerFile, Placement
from offhook.records import database, dnc, ledger_feed, tables
from offhook.records.dnc import DoNotCallEntry
from offhook.records.ledger_feed import LedgerFeed, copy_placements, follow_list, import_from

ADA, BOB, CLEO = "+12025550142", "+12025550143", "+12025550144"
ONE = Placement("key", "id-1", "f" * 64, 1_000_000, "CA1")
DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def ledger(tmp_path: Path) -> LedgerFile:
    return LedgerFile(tmp_path / "ledger.db")


def bar(engine: Engine, *numbers: str) -> None:
    with engine.begin() as connection:
        for number in numbers:
            dnc.bar(connection, DoNotCallEntry(number, 1000, "by hand", None))


def unbar(engine: Engine, number: str) -> None:
    with engine.begin() as connection:
        dnc.unbar(connection, number)


def follow(engine: Engine, ledger: LedgerFile) -> None:
    with engine.connect() as connection:
        follow_list(connection, ledger)


def copy(engine: Engine, ledger: LedgerFile) -> None:
    with engine.begin() as connection:
        until = copy_placements(connection, ledger)
    ledger.copied(until)


def test_a_new_ledger_gets_what_earlier_versions_kept_in_the_database(
    engine: Engine, ledger: LedgerFile
) -> None:
    bar(engine, ADA)
    row = {"key": "key", "id": "id-1", "fingerprint": "f" * 64, "made_ms": 1_000_000, "day": 300}
    with engine.begin() as connection:
        connection.execute(tables.placements.insert(), {**row, "sid": "CA1"})
    with engine.connect() as connection:
        import_from(connection, ledger)
    assert ledger.claim(replace(ONE, id="id-2", sid=None)) == ONE
    assert ledger.is_barred(ADA)
    assert not ledger.is_barred(BOB)
    assert ledger.uncopied(10) == [], "the database has it"


def test_a_database_without_the_present_schema_fills_no_ledger(
    empty: Engine, ledger: LedgerFile
) -> None:
    with empty.connect() as connection, pytest.raises(Exception, match="E-ASK-07"):
        import_from(connection, ledger)
    with pytest.raises(TryLaterError, match="E-OUT-25"):
        ledger.claim(ONE)


def test_what_another_machine_adds_and_removes_is_followed(
    engine: Engine, ledger: LedgerFile
) -> None:
    bar(engine, ADA, BOB)
    with engine.connect() as connection:
        import_from(connection, ledger)
    unbar(engine, ADA)
    bar(engine, CLEO)
    follow(engine, ledger)
    assert ledger.barred() == {BOB: True, CLEO: True}


def test_who_asked_in_a_call_stays_barred_until_the_database_has_had_and_lost_the_number(
    engine: Engine, ledger: LedgerFile
) -> None:
    with engine.connect() as connection:
        import_from(connection, ledger)
    ledger.bar(ADA)
    for _ in range(3):
        follow(engine, ledger)
        assert ledger.is_barred(ADA)
    bar(engine, ADA)  # the journal has come to it
    follow(engine, ledger)
    assert ledger.barred() == {ADA: True}
    unbar(engine, ADA)  # by the operator, on any machine
    follow(engine, ledger)
    assert not ledger.is_barred(ADA)


def test_no_import_lifts_a_number_that_was_barred_while_it_ran(
    engine: Engine, ledger: LedgerFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    bar(engine, ADA)
    with engine.connect() as connection:
        import_from(connection, ledger)
    unbar(engine, ADA)
    barred = LedgerFile.barred

    def meanwhile(self: LedgerFile) -> dict[str, bool]:
        found = barred(self)
        LedgerFile(tmp).bar(ADA)  # in a call, after the list was read
        return found

    tmp = Path(ledger._database._path)
    monkeypatch.setattr(LedgerFile, "barred", meanwhile)
    follow(engine, ledger)
    assert ledger.is_barred(ADA)
    monkeypatch.undo()
    follow(engine, ledger)
    assert ledger.is_barred(ADA), "the database has not had it since"


def test_many_numbers_are_taken_over_in_batches(
    engine: Engine, ledger: LedgerFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_feed, "BATCH", 10)
    numbers = [f"+1202555{number:04}" for number in range(105)]
    with engine.connect() as connection:
        import_from(connection, ledger)
    bar(engine, *numbers)
    follow(engine, ledger)
    assert sorted(ledger.barred()) == numbers
    for number in numbers[:55]:
        unbar(engine, number)
    follow(engine, ledger)
    assert sorted(ledger.barred()) == numbers[55:]


def test_a_ledger_that_is_lost_gets_its_keys_from_the_databases_copy(
    engine: Engine, ledger: LedgerFile, tmp_path: Path
) -> None:
    with engine.connect() as connection:
        import_from(connection, ledger)
    one = replace(ONE, sid=None)
    ledger.claim(one)
    copy(engine, ledger)
    ledger.name("id-1", "CA1")
    second = replace(one, key="second", id="id-2")
    ledger.claim(second)
    ledger.retake(second, replace(second, id="id-3"))
    copy(engine, ledger)
    assert ledger.uncopied(10) == []
    ledger.close()
    for part in tmp_path.glob("ledger.db*"):
        part.unlink()
    with engine.connect() as connection:
        import_from(connection, ledger)
    assert ledger.claim(one) == ONE
    assert ledger.claim(second) == replace(second, id="id-3")


def test_the_copy_forgets_what_the_ledger_forgets(engine: Engine, ledger: LedgerFile) -> None:
    with engine.connect() as connection:
        import_from(connection, ledger)
    for day in range(95):
        ledger.claim(Placement(f"day {day}", f"id {day}", "f", DAY_MS * (20_000 + day) + 7))
        if day in (3, 50, 94):
            copy(engine, ledger)
    with engine.connect() as connection:
        left = set(connection.scalars(select(tables.placements.c.key)))
    assert left == {f"day {day}" for day in range(4, 95)}


def test_the_thread_waits_for_a_database_and_then_follows_it(
    empty: Engine, ledger: LedgerFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_feed, "START_S", 0.01)
    monkeypatch.setattr(ledger_feed, "RETRY_S", (0.01, 0.01))
    monkeypatch.setattr(ledger_feed, "EVERY_S", 0.02)
    with LedgerFeed(empty, tmp_path / "ledger.db") as feed:
        with pytest.raises(TryLaterError, match="E-OUT-25"):
            ledger.claim(ONE)
        database.upgrade(empty)
        wait_until(lambda: ledger.is_filled)
        bar(empty, ADA)
        wait_until(lambda: ledger.is_barred(ADA))
        unbar(empty, ADA)
        wait_until(lambda: not ledger.is_barred(ADA))
        ledger.claim(replace(ONE, sid=None))
        wait_until(lambda: not ledger.uncopied(1))
        assert feed.thread.faults == 0
