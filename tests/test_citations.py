"""What a comment cites as its source is there: a section of docs/protocols, by its number."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = {name: ROOT / "docs" / "protocols" / name for name in ("twilio.md", "deepgram.md")}

NUMBER: Final = re.compile(r"^#+ (\d+(?:\.\d+)?) ", re.MULTILINE)
CITED: Final = re.compile(
    r"(?P<page>\b(?:twilio|deepgram)\.md\b)"
    r"|(?P<other>\b(?:RFC \d+|XML 1\.0)(?: §\d+ to)? )?§(?P<section>\d+(?:\.\d+)?)"
)
FOREIGN: Final = re.compile(r"\b([\w-]+\.md),? §")


def sources() -> Iterator[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "src", "bench", "scripts"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    yield from (ROOT / name for name in listed if name.endswith((".py", ".md")))


def sections(page: str) -> set[str]:
    return set(NUMBER.findall(PAGES[page].read_text("utf-8")))


def unresolved(text: str) -> list[str]:
    """Citations that lead nowhere. A bare number is of the page that was named last."""
    numbers = {page: sections(page) for page in PAGES}
    page = next((match["page"] for match in CITED.finditer(text) if match["page"]), None)
    lost = [name for name in FOREIGN.findall(text) if name not in PAGES]
    for match in CITED.finditer(text):
        if match["page"]:
            page = match["page"]
        elif not match["other"] and (page is None or match["section"] not in numbers[page]):
            lost.append(f"{page} §{match['section']}")
    return lost


def test_every_citation_leads_to_a_section() -> None:
    found = {
        str(path.relative_to(ROOT)): lost
        for path in sources()
        if (lost := unresolved(path.read_text("utf-8")))
    }
    assert found == {}


def test_a_citation_that_leads_nowhere_is_found() -> None:
    assert unresolved("# (twilio.md §1.3, deepgram.md §2.14; RFC 9112 §2.2)") == []
    assert unresolved("# (twilio.md §1.99)") == ["twilio.md §1.99"]
    assert unresolved("# twilio.md §1.3, and §8.8") == ["twilio.md §8.8"]
    assert unresolved("# (§1.3)") == ["None §1.3"]
    assert "local-voice.md" in unresolved("# twilio.md §1.3; local-voice.md §1.2")


SOURCE: Final = re.compile(r"\[\d+\]|\*(?:observed|inferred|disputed)\b", re.IGNORECASE)


def test_every_section_names_its_source_or_says_how_sure_it_is() -> None:
    """A section with text of its own: a vendor's page in brackets, or one of the marks."""
    without = []
    for page, path in PAGES.items():
        text, _, listed = path.read_text("utf-8").partition("## Sources")
        parts = re.split(r"^#+ (\d+(?:\.\d+)? .*)$", text, flags=re.MULTILINE)
        for head, body in zip(parts[1::2], parts[2::2], strict=True):
            if body.strip() and SOURCE.search(body) is None:
                without.append(f"{page} {head}")
        unknown = set(re.findall(r"\[\d+\]", text)) - set(re.findall(r"\[\d+\]", listed))
        assert unknown == set(), page
    assert without == []


def test_sections_stand_in_order_and_once() -> None:
    for page in PAGES:
        numbers = NUMBER.findall(PAGES[page].read_text("utf-8"))
        keys = [tuple(map(int, number.split("."))) for number in numbers]
        assert keys == sorted(set(keys))
