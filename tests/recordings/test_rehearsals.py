"""Recordings that rehearsals leave behind."""

import os
from pathlib import Path

from offhook.recordings import rehearsals


def test_what_rehearsals_have_left_is_found_oldest_first_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    demo = tmp_path / rehearsals.of_demo("CA" + "1" * 32)
    for age, path in enumerate((tmp_path / "rehearsal.wav", demo)):
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    for mine in ("song.wav", "calls/song.wav", "calls/demo.txt"):
        (tmp_path / mine).touch()
    assert rehearsals.left(tmp_path) == [demo, tmp_path / "rehearsal.wav"]
    assert rehearsals.left(tmp_path, 1000) == [demo]
    assert rehearsals.erase(rehearsals.left(tmp_path)) == {}
    assert rehearsals.left(tmp_path) == []
    assert (tmp_path / "calls/song.wav").exists()


def test_a_file_that_cannot_be_removed_is_told(tmp_path: Path) -> None:
    (tmp_path / "rehearsal.wav").mkdir()
    assert list(rehearsals.erase(rehearsals.left(tmp_path))) == [str(tmp_path / "rehearsal.wav")]
