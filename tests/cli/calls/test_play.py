"""offhook calls play: with the player that is there."""

import json
import os
from pathlib import Path

import pytest
from tests.cli.in_process import offhook
from tests.records.filling import sid_of

from offhook.journal.folders import MACHINE


def player(folder: Path, exit_code: int) -> str:
    """A PATH with one program that plays: it writes down what it was asked for."""
    path = folder / "bin" / "aplay"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\necho "$@" > {folder}/played\nexit {exit_code}\n')
    path.chmod(0o755)
    return str(path.parent)


@pytest.mark.skipif(os.name != "posix", reason="Windows opens the file with what the user has")
def test_it_plays_with_what_there_is(folder: Path) -> None:
    ended = offhook(folder, "calls", "play", sid_of(2), PATH=player(folder, 0))
    assert ended.returncode == 0, ended.stderr
    assert (folder / "played").read_text() == "-q offhook-data/recordings/two.wav\n"


def test_a_player_that_fails_is_said(folder: Path) -> None:
    ended = offhook(folder, "calls", "play", sid_of(2), PATH=player(folder, 3))
    assert ended.returncode == 1
    assert "E-ASK-10 aplay could not play the recording: exit code 3." in ended.stderr


def test_without_a_player_it_says_where_the_file_is(folder: Path) -> None:
    ended = offhook(folder, "calls", "play", sid_of(2), PATH="")
    assert ended.returncode == 0
    assert ended.stdout.startswith("offhook-data/recordings/two.wav\nNo player is installed here")


def test_json_gives_the_path(folder: Path) -> None:
    answer = json.loads(offhook(folder, "calls", "play", sid_of(2), "--json").stdout)
    assert answer["duration_ms"] == 4000
    assert (folder / answer["path"]).read_bytes() == b"RIFF of a call"


def test_what_cannot_be_heard_is_said(folder: Path) -> None:
    not_recorded = offhook(folder, "calls", "play", sid_of(1))
    assert "E-ASK-09 The call cannot be heard: it was not recorded." in not_recorded.stderr
    (folder / "offhook-data" / "recordings" / "two.wav").unlink()
    gone = offhook(folder, "calls", "play", sid_of(2))
    assert "its recording is not there" in gone.stderr
    journals = folder / "offhook-data" / "journal"
    journals.mkdir(exist_ok=True)
    (journals / MACHINE).write_text("another")
    elsewhere = offhook(folder, "calls", "play", sid_of(2))
    assert "E-AUD-06" in elsewhere.stderr
    assert "is on the disk of another machine." in elsewhere.stderr
