#!/usr/bin/env python3
"""Write the tables of docs/licences.md from the packages that are installed here.

`make licences` runs it. tests/test_licences.py compares both, and holds a plain install to its
limits.
"""

import importlib.metadata
import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "licences.md"

EXTRAS: Final = ("postgres", "local", "ears")
"""Extras that `make ears` installs, with `make setup`."""

SAME: Final = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What packages write for what SPDX has a name for."""

FROM_THEIR_FILES: Final = {
    "aiofastnet": "MIT",
    "espeakng-loader": "GPL-3.0-or-later",  # eSpeak NG's, which is in it
    "google-re2": "BSD-3-Clause",
    "picows": "MIT",
    "py-nanotts": "Apache-2.0",
}
"""Packages whose metadata names no licence, or not exactly: as their licence files say."""

COPYLEFT: Final = re.compile(r"GPL|EUPL|CDDL|SSPL|MPL", re.IGNORECASE)


def canonical(name: str) -> str:
    """Return a package's name in the one form in which names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(
    name: str, extras: Sequence[str] = (), found: dict[str, Distribution] | None = None
) -> dict[str, Distribution]:
    """Return a package and everything that it needs here, by canonical names."""
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


def added_by(extra: str) -> dict[str, Distribution]:
    """Return what an extra adds to a plain install here."""
    plain = installed("offhook").keys()
    return {name: it for name, it in installed("offhook", [extra]).items() if name not in plain}


def licence_of(distribution: Distribution) -> str:
    """Return a package's licence by SPDX's name; empty when its metadata names none."""
    metadata = distribution.metadata
    classifiers = metadata.get_all("Classifier") or []
    named = [line.rpartition("::")[2].strip() for line in classifiers if "License ::" in line]
    written = [metadata[key] for key in ("License-Expression", "License") if key in metadata]
    plain = written[0].partition("\n")[0] if written else ""
    licence = plain or " AND ".join(named)
    own = FROM_THEIR_FILES.get(canonical(metadata["Name"]))
    return own or SAME.get(licence, licence)


def size_of(distribution: Distribution) -> int:
    """Return the bytes of a package's files, without bytecode."""
    files = (Path(str(path.locate())) for path in distribution.files or ())
    return sum(f.stat().st_size for f in files if f.suffix != ".pyc" and f.is_file())


def machine() -> str:
    """Return what the figures depend on: system, processor and Python."""
    version = ".".join(map(str, sys.version_info[:2]))
    return f"{platform.system()} {platform.machine()}, Python {version}"


def sizes() -> dict[str, tuple[int, int]]:
    """Return packages and bytes of what a plain install brings, and of what each extra adds."""
    plain = installed("offhook")
    del plain["offhook"]
    parts = {"plain": plain, **{extra: added_by(extra) for extra in EXTRAS}}
    return {name: (len(here), sum(map(size_of, here.values()))) for name, here in parts.items()}


def size_table() -> str:
    """Return the table of packages and megabytes."""
    lines = [f"| {machine()} | Packages | MB |", "| --- | --- | --- |"]
    for name, (count, size) in sizes().items():
        what = "a plain install, besides Offhook" if name == "plain" else f"`[{name}]` adds"
        lines.append(f"| {what} | {count} | {size / 1e6:.0f} |")
    return "\n".join(lines)


def licence_table(packages: dict[str, Distribution]) -> str:
    """Return the table of licences, with the packages under each."""
    by_licence: dict[str, list[str]] = {}
    for name, distribution in packages.items():
        if name != "offhook":
            by_licence.setdefault(licence_of(distribution), []).append(name)
    lines = ["| Licence | Packages |", "| --- | --- |"]
    for licence, names in sorted(by_licence.items(), key=lambda each: (-len(each[1]), each[0])):
        shown = f"**{licence}**" if COPYLEFT.search(licence) else licence
        lines.append(f"| {shown} | {', '.join(f'`{name}`' for name in sorted(names))} |")
    return "\n".join(lines)


def page() -> str:
    """Return docs/licences.md with the tables of this machine."""
    tables = {"sizes": size_table(), "plain": licence_table(installed("offhook"))}
    tables |= {extra: licence_table(added_by(extra)) for extra in EXTRAS}
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->\n", "<!-- end -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{table}\n\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
