"""The page on licences says what is installed, and a plain install stays small."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from tests.test_docs import DOCS, rows, sections

SCRIPT: dict[str, Any] = runpy.run_path(str(DOCS.parent / "scripts" / "licences.py"))
PAGE = DOCS / "licences.md"
EXTRAS: tuple[str, ...] = SCRIPT["EXTRAS"]
PARTS = {"A plain install": None, **{f"The extra `[{extra}]`": extra for extra in EXTRAS}}

NGROK = "The extra `[ngrok]`"

PACKAGES_MAX = 45
SIZE_MAX_MB = 65


def listed(part: str) -> dict[str, str]:
    """The packages of a part's table, with the licence under which it has them."""
    table = rows(sections(PAGE, 2)[part])
    return {name: row[0].strip("*") for row in table for name in re.findall(r"`([\w-]+)`", row[1])}


def locked(name: str) -> set[str]:
    """The packages of a file of requirements/."""
    text = Path(DOCS.parent / "requirements" / f"{name}.txt").read_text()
    found = re.findall(r"^([\w.-]+)(?:\[[^]]*])?==", text, re.MULTILINE)
    return set(map(SCRIPT["canonical"], found))


@pytest.mark.parametrize(("part", "extra"), PARTS.items())
def test_every_package_is_on_the_page_with_its_licence(part: str, extra: str | None) -> None:
    here = SCRIPT["installed"]("offhook") if extra is None else SCRIPT["added_by"](extra)
    found = {name: SCRIPT["licence_of"](it) for name, it in here.items() if name != "offhook"}
    assert found
    assert found == {name: its for name, its in listed(part).items() if name in here}


def test_the_page_is_what_make_licences_writes() -> None:
    if SCRIPT["machine"]() not in PAGE.read_text():
        pytest.skip("the page was made on another kind of machine")
    assert PAGE.read_text() == SCRIPT["page"]()


def test_a_plain_install_is_small() -> None:
    packages, size = SCRIPT["sizes"]()["plain"]
    assert 30 < packages <= PACKAGES_MAX, "besides Offhook"
    assert 30e6 < size <= SIZE_MAX_MB * 1e6
    assert f"{PACKAGES_MAX} packages and {SIZE_MAX_MB} MB" in " ".join(PAGE.read_text().split())


def test_a_plain_install_has_no_copyleft_and_extras_say_theirs_in_words() -> None:
    copyleft = SCRIPT["COPYLEFT"]
    assert not [its for its in listed("A plain install").values() if copyleft.search(its)]
    words = sections(PAGE, 1)["Licences of what Offhook runs with"].partition("##")[0]
    for extra in EXTRAS:
        for licence in listed(f"The extra `[{extra}]`").values():
            if copyleft.search(licence):
                assert licence.partition("-")[0] in words
                assert f"`[{extra}]`" in words


def test_what_the_page_lists_is_locked() -> None:
    """A package that left the dependencies leaves the page; those of other systems may be there."""
    assert set().union(*map(listed, PARTS)) - (locked("dev") | locked("ears")) == set()


def test_what_ngrok_brings_is_named_in_words() -> None:
    """No test installs that extra, so there is no table of it."""
    named = re.findall(r"^`([\w-]+)` \(MIT OR Apache-2.0\)", sections(PAGE, 2)[NGROK], re.MULTILINE)
    assert set(named) == locked("ngrok")
