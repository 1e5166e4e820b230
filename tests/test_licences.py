"""The page on licences has every package that a plain install brings, under its licence."""

import importlib.metadata
import re
from collections.abc import Sequence
from importlib.metadata import Distribution

from packaging.requirements import Requirement
from tests.test_docs import DOCS, rows, sections

SAME = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What packages write for what SPDX has a name for."""

FROM_THEIR_FILES = {"aiofastnet": "MIT", "google-re2": "BSD-3-Clause", "picows": "MIT"}
"""Packages whose metadata names no licence, or not exactly: as their licence files say."""

COPYLEFT = re.compile(r"GPL|EUPL|CDDL|SSPL|MPL", re.IGNORECASE)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(
    name: str, extras: Sequence[str] = (), found: dict[str, Distribution] | None = None
) -> dict[str, Distribution]:
    """That package and everything that it needs here, by canonical names."""
    found = {} if found is None else found
    found[canonical(name)] = distribution = importlib.metadata.distribution(name)
    for text in distribution.requires or ():
        needed = Requirement(text)
        if needed.marker is not None and not any(
            needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        ):
            continue
        if canonical(needed.name) not in found or needed.extras:
            installed(needed.name, tuple(needed.extras), found)
    return found


def licence_of(distribution: Distribution) -> str:
    """Its licence, by SPDX's name; empty when its metadata names none."""
    metadata = distribution.metadata
    classifiers = metadata.get_all("Classifier") or []
    named = [line.rpartition("::")[2].strip() for line in classifiers if "License ::" in line]
    written = [metadata[key] for key in ("License-Expression", "License") if key in metadata]
    plain = written[0].partition("\n")[0] if written else ""
    licence = plain or " AND ".join(named)
    own = FROM_THEIR_FILES.get(canonical(metadata["Name"]))
    return own or SAME.get(licence, licence)


def listed() -> dict[str, str]:
    """The packages of the page's table, with the licence under which it has them."""
    table = rows(sections(DOCS / "licences.md", 2)["A plain install"])
    return {name: row[0].strip("*") for row in table for name in re.findall(r"`([\w-]+)`", row[1])}


def test_every_package_of_a_plain_install_is_on_the_page_with_its_licence() -> None:
    here = installed("offhook")
    assert len(here) > 40
    assert "psycopg-binary" in here, "extras of dependencies are walked too"
    del here["offhook"]
    assert {name: licence_of(found) for name, found in here.items()} == {
        name: licence for name, licence in listed().items() if name in here
    }


def test_the_page_says_in_words_what_is_copyleft() -> None:
    page = (DOCS / "licences.md").read_text()
    copyleft = {licence for licence in listed().values() if COPYLEFT.search(licence)}
    assert copyleft == {"LGPL-3.0-only", "MPL-2.0"}
    assert all(f"**{licence}**" in page for licence in copyleft)


def test_what_the_page_lists_is_locked() -> None:
    """A package that left the dependencies leaves the page; those of other systems may be there."""
    locked = (DOCS.parent / "requirements" / "dev.txt").read_text()
    names = {
        canonical(name) for name in re.findall(r"^([\w.-]+)(?:\[[^]]*])?==", locked, re.MULTILINE)
    }
    assert listed().keys() - names == set()
