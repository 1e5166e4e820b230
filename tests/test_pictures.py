"""The pictures of the documentation are what `make pictures` draws, and what commands print."""

import re
import runpy
from pathlib import Path

import pytest
from tests.test_docs import ROOT, pages

DRAWN = runpy.run_path(str(ROOT / "scripts" / "draw_pictures.py"))
PICTURES: dict[Path, str] = DRAWN["pictures"]()


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_what_make_pictures_draws(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PICTURES[path]


def test_every_picture_is_on_a_page_and_none_is_left_over() -> None:
    folder = ROOT / "docs" / "pictures"
    assert {path for path in folder.iterdir() if path.is_file()} == set(PICTURES)
    shown = {
        (page.parent / target).resolve()
        for page in pages()
        for target in re.findall(r"!\[[^\]]+\]\(([^)]+\.svg)\)", page.read_text("utf-8"))
    }
    assert set(PICTURES) - shown == set()


def test_what_check_prints_is_in_its_picture() -> None:
    session = DRAWN["RECORDED"]["check"]
    recorded = (DRAWN["terminal"].SESSIONS / "check.txt").read_text(encoding="utf-8")
    assert session.run() == recorded, "python -m scripts.draw_pictures --record check"


def test_each_view_of_the_console_has_small_pictures_and_some_are_shown() -> None:
    taken = runpy.run_path(str(ROOT / "scripts" / "console_pictures.py"))
    folder: Path = taken["PICTURES"]
    assert {path.name for path in folder.iterdir()} == set(taken["names"]())
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert {name: size for name, size in sizes.items() if size > taken["BYTES_MAX"]} == {}
    for page in (ROOT / "README.md", ROOT / "docs" / "console.md"):
        assert "pictures/console/" in page.read_text("utf-8")
