"""What is said of this machine, for each of its states."""

from pathlib import Path

import pytest

from offhook.config import AppConfig, load_app
from offhook.doctor import machine
from offhook.doctor.check import Check


def config(tmp_path: Path, folder: str) -> AppConfig:
    path = tmp_path / "offhook.yaml"
    path.write_text(f'records: {{folder: "{folder}", journal_limit: 16000000}}')
    return load_app(path, {})


@pytest.mark.parametrize(
    ("check", "status", "reason"),
    [
        (machine.check_versions("1.0", "1.0"), "good", "picows 1.0"),
        (machine.check_versions("1.1", "1.0"), "bad", "picows is 1.1, and"),
        (machine.check_versions(None, "1.0"), "bad", "is not installed"),
        (machine.check_versions("1.0", None, (3, 99)), "remark", "not tried"),
        (machine.check_files(50, 1024, is_recording=True), "good", "1024"),
        (machine.check_files(40, 256, is_recording=False), "good", "enough for 42"),
        (machine.check_files(50, 256, is_recording=True), "bad", "32 calls"),
        (machine.check_clock(2, "Twilio"), "good", "within 5 s"),
        (machine.check_clock(-8, "Twilio"), "remark", "8 s behind Twilio"),
        (machine.check_clock(61, "Twilio"), "bad", "61 s ahead of Twilio"),
        (machine.check_room(Path("d"), 11_000_000, 1), "bad", "needs 12 to start"),
        (machine.check_room(Path("d"), 100_000_000, 1), "bad", "full disk"),
        (machine.check_room(Path("d"), 300_000_000, 400_000_000), "remark", "journal_limit"),
        (machine.check_room(Path("d"), 300_000_000, 1), "good", "300 MB"),
    ],
)
def test_each_state_has_its_reason(check: Check, status: str, reason: str) -> None:
    assert check.status == status
    assert reason in check.reason
    assert bool(check.command) == (status != "good")


def test_a_folder_that_is_not_there_yet_is_looked_at_where_it_would_be_made(
    tmp_path: Path,
) -> None:
    assert machine.check_disk(config(tmp_path, "a/b/c")).status == "good"
    assert not (tmp_path / "a").exists()
    assert [each.name for each in tmp_path.iterdir()] == ["offhook.yaml"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = machine.check_disk(config(tmp_path, "file"))
    assert (found.status, "cannot be written" in found.reason) == ("bad", True)


def test_the_pinned_release_is_that_of_this_installation() -> None:
    installed, wanted = machine.installed_versions()
    assert installed is not None
    assert wanted in (None, installed)
