"""An upgrade of a large database: what it does and how far it is, in the log and in /readyz."""

import logging
from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests.api.desk import desk
from tests.records.test_follower import LIMIT, follower_of
from tests.waiting import until_it, wait_until

from offhook.journal import upgrade_note
from offhook.journal.keeper import EventJournal
from offhook.records import database, upgrade_progress
from offhook.records.upgrade_progress import OnStep, UpgradeStep


def test_each_step_is_told_of_as_it_begins(empty: Engine) -> None:
    told: list[UpgradeStep] = []
    database.migrate(empty, "0010")
    database.upgrade(empty, told.append)
    due = [each for each in database.revisions() if each > "0010"]
    assert told == [UpgradeStep(n, len(due), each) for n, each in enumerate(due, 1)]
    database.upgrade(empty, told.append)
    assert len(told) == len(due)


def test_the_first_making_of_the_tables_is_no_upgrade(empty: Engine) -> None:
    told: list[UpgradeStep] = []
    assert database.upgrade(empty, told.append) == (None, database.HEAD)
    assert told == []


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_long_upgrade_is_told_of_until_it_is_over(
    empty: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("QUIET_S", "NOTE_S"):
        monkeypatch.setattr(upgrade_progress, name, 0.01)
    caplog.set_level(logging.INFO, "offhook.records")
    root = tmp_path / "journal"
    upgrade, seen = database.upgrade, []

    def slowly(engine: Engine, on_step: OnStep) -> tuple[str | None, str]:
        on_step(UpgradeStep(2, 6, "0008"))
        wait_until(lambda: bool(journal.upgrading))
        seen.append(journal.upgrading)
        return upgrade(engine)

    monkeypatch.setattr(database, "upgrade", slowly)
    with EventJournal(root, LIMIT) as journal, follower_of(empty, root):
        wait_until(lambda: bool(seen) and not journal.upgrading)
    told = "the database is upgraded: step 2 of 6 (schema 0008), "
    assert seen[0].startswith(told)
    assert "MB written of a database of" in seen[0]
    assert any(line.startswith(told) for line in caplog.messages)
    assert any("the upgrade of the database has taken" in line for line in caplog.messages)
    assert not (root / upgrade_note.FILE).exists()


def test_an_upgrade_of_a_moment_is_not_told_of(
    empty: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "offhook.records")
    with upgrade_progress.UpgradeProgress(empty, tmp_path) as progress:
        progress.on_step(UpgradeStep(1, 1, "0013"))
    assert caplog.messages == []
    assert list(tmp_path.glob("*upgrade*")) == []


def test_a_note_that_was_left_behind_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade_note.write(tmp_path, "the database is upgraded")
    note = upgrade_note.UpgradeNote(tmp_path)
    assert note.read() == "the database is upgraded"
    monkeypatch.setattr(upgrade_note, "STALE_S", 0.0)
    assert note.read() == ""


async def test_readiness_says_how_far_it_is_and_calls_are_taken(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        note = "the database is upgraded: step 2 of 6"
        upgrade_note.write(tmp_path / "journal", note)

        async def is_told() -> bool:
            answer = await at.ask("/readyz")
            assert answer.status_code == 200
            return bool(answer.json()["records"] == note)

        await until_it(is_told)
