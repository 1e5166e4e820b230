"""The page of errors, docs/errors.md: its sections by code, and its endings by slug.

The page is in the wheel (pyproject.toml, force-include); a checkout reads it where it is written.
"""

import difflib
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import offhook
from offhook.errors import UserError

WIDTH: Final = 79
"""Columns of the text: a terminal has 80 as a rule."""

_CODE: Final = re.compile(r"E-[A-Z]+-\d\d")
_TYPED: Final = re.compile(r"(?:E-?)?([A-Z]+)-?(\d{1,2})", re.IGNORECASE)
_LINK: Final = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class ErrorSection:
    """The section of a code: what it quotes first, and its text for a terminal."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """The page of errors. `sections` are by code, `endings` are texts by slug."""

    sections: Mapping[str, ErrorSection]
    endings: Mapping[str, str]

    def find(self, typed: str) -> str | None:
        """Return the text of a code, however it is typed, or of a slug; None for neither."""
        section = self.sections.get(_normal(typed))
        return section.text if section is not None else self.endings.get(typed.lower())

    def nearest(self, typed: str) -> list[str]:
        """Return the codes and slugs that are most like what was typed, three at most."""
        family = [code for code in self.sections if code.startswith(_normal(typed)[:5])]
        alike = difflib.get_close_matches(_normal(typed), self.sections, 3)
        slugs = difflib.get_close_matches(typed.lower(), self.endings, 3)
        return list(dict.fromkeys([*alike, *slugs, *family]))[:3]


def read() -> ErrorPage:
    """Return the page. Raises UserError E-EXP-01 when this installation lacks it."""
    package = Path(offhook.__file__).parent
    for path in (package / "errors.md", package.parents[1] / "docs" / "errors.md"):
        if path.is_file():
            return parse(path.read_text(encoding="utf-8"))
    raise UserError(
        "E-EXP-01",
        "This installation has no page of errors.",
        "Install Offhook again, or read docs/errors.md in its repository.",
    )


def parse(page: str) -> ErrorPage:
    """Return the sections and the endings of a page."""
    sections = {}
    for part in re.split(r"^###? ", page, flags=re.MULTILINE):
        title, _, body = part.partition("\n")
        if _CODE.fullmatch(title.strip()):
            first = body.strip().partition("\n\n")[0]
            quoted = " ".join(line.removeprefix("> ") for line in first.splitlines())
            text = f"{title.strip()}\n\n{_for_terminal(body)}"
            sections[title.strip()] = ErrorSection(_plain(quoted), text)
    return ErrorPage(sections, _endings(page))


def _endings(page: str) -> dict[str, str]:
    found = {}
    _, _, part = page.partition("\n## Endings\n")
    for line in part.splitlines():
        cells = [_plain(cell.strip()) for cell in line.strip().strip("|").split("|")]
        if re.match(r"\| `[a-z_]+` \|", line) and len(cells) == 5:
            slug, by, words, when, gets = cells
            lines = (f"{slug}: {words}", "", f"When: {when}", f"Whose doing: {by}")
            told = [textwrap.fill(each, WIDTH, subsequent_indent="  ") for each in lines]
            found[slug] = "\n".join([*told, f"The caller gets: {gets}"])
    return found


def _normal(typed: str) -> str:
    """Return a code as the page writes it: `dg-2` and `e-dg-02` are E-DG-02."""
    shape = _TYPED.fullmatch(typed.strip())
    return typed.upper() if shape is None else f"E-{shape[1].upper()}-{int(shape[2]):02}"


def _for_terminal(body: str) -> str:
    """Return the paragraphs of a section, wrapped; tables and code keep their lines."""
    out = []
    for paragraph in re.split(r"\n{2,}|\n(?=- )", body.strip()):
        if paragraph.startswith(("|", "```", "    ")):
            out.append(_plain(paragraph))
            continue
        words = _plain(" ".join(line.removeprefix("> ").strip() for line in paragraph.splitlines()))
        first = "  " if paragraph.startswith(">") else ""
        rest = "  " if paragraph.startswith((">", "- ")) else ""
        out.append(textwrap.fill(words, WIDTH, initial_indent=first, subsequent_indent=rest))
    return "\n\n".join(out)


def _plain(text: str) -> str:
    """Return a text without Markdown's marks; a link to a page keeps the page's name."""
    text = _LINK.sub(_linked, text)
    return text.replace("**", "").replace("`", "")


def _linked(link: re.Match[str]) -> str:
    label, target = link.groups()
    page = target.partition("#")[0]
    return label if not page or page in label else f"{label} (docs/{page})"
