"""The documentation as a site, its pictures, and what pages say about commands, codes and slugs."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import typer.main
import yaml
from tests.sources import syntax_tree
from tests.test_docs import CODE, DOCS, ERRORS, ROOT, SRC, anchors, commands, pages, sections

from offhook.call.ending import Slug
from offhook.cli import app

SITE_CONFIG = ROOT / "mkdocs.yml"
PAGES = pages()


class Links(HTMLParser):
    """What a page links to, what it loads, and the places in it that can be linked to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.to: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self.places.add(value)
            elif name == "href" and tag == "a":
                self.to.append(value)
            elif name in ("src", "href", "srcset", "poster", "data", "action"):
                self.loaded.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: an unknown link, anchor or page fails."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    foreign = re.compile(r"(?i)^(?:[a-z]+:)?//")
    found = []
    for file in site.rglob("*.html"):
        if file.name == "404.html":  # for a server at the root; it asks for its own /search.html
            continue
        links = Links(file.read_text("utf-8"))
        found += [f"{file.name}: {one}" for one in links.loaded if foreign.match(one)]
    for file in site.rglob("*.css"):
        for url in re.findall(r"url\(['\"]?([^)'\"]+)", file.read_text("utf-8")):
            if foreign.match(url):
                found.append(f"{file.name}: {url}")
    for file in (site / "pictures").glob("*.svg"):
        found += re.findall(r"url\([^#)][^)]*\)|(?:href|src)=\"[^#\"][^\"]*\"", file.read_text())
    assert found == []


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    read = {file: Links(file.read_text("utf-8")) for file in site.rglob("*.html")}
    lost = []
    for file, links in read.items():
        if file.name in ("404.html", "search.html"):
            continue
        for link in links.to:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.exists() or (
                parts.fragment and target in read and parts.fragment not in read[target].places
            ):
                lost.append(f"{file.relative_to(site)}: {link}")
    assert lost == []


def navigation() -> Iterator[str]:
    """The pages in the site's navigation, in order."""

    def of(part: Any) -> Iterator[str]:
        if isinstance(part, str):
            yield part
        elif isinstance(part, list):
            for each in part:
                yield from of(each)
        else:
            for each in part.values():
                yield from of(each)

    yield from of(yaml.safe_load(SITE_CONFIG.read_text("utf-8"))["nav"])


def test_the_navigation_has_five_parts_and_every_page_once() -> None:
    nav = yaml.safe_load(SITE_CONFIG.read_text("utf-8"))["nav"]
    assert [name for part in nav[1:] for name in part] == [
        "Start",
        "Build",
        "Operate",
        "Reference",
        "Why",
    ]
    listed = list(navigation())
    assert len(set(listed)) == len(listed)
    own = {str(page.relative_to(DOCS)) for page in PAGES if page.is_relative_to(DOCS)}
    assert own - set(listed) == set()


def guides() -> list[Path]:
    """The pages for users: all of docs/ but design and protocols."""
    return sorted(page for page in PAGES if page.parent == DOCS and page.name != "index.md")


@pytest.mark.parametrize("page", guides(), ids=lambda page: page.name)
def test_a_page_begins_by_saying_whom_it_is_for(page: Path) -> None:
    title, _, rest = page.read_text("utf-8").partition("\n\n")
    assert title.startswith("# ")
    assert rest.startswith("For "), rest[:80]


def test_pages_read_alike_on_the_site_and_in_the_repository() -> None:
    wrong = {str(page.relative_to(ROOT)): list(read_differently(page)) for page in PAGES}
    assert {page: lines for page, lines in wrong.items() if lines} == {}


def read_differently(page: Path) -> Iterator[str]:
    """Yield each form that Python-Markdown and GitHub read differently."""
    if page.name == "README.md" and page.parent == ROOT:
        return
    before, fenced = "", False
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if re.match(r" *```", line):
            if line.startswith(" ") or (not fenced and before.strip()):
                yield f"{number}: a fence is indented, or follows text without a blank line"
            fenced = not fenced
        elif not fenced and before.strip():
            begins = re.match(r"(?:[-*] |\d+\. )", line)
            if begins and not re.match(r"(?:[-*] |\d+\. |  |#)", before):
                yield f"{number}: a list follows text without a blank line"
        before = line


# --- What pages say about the program --------------------------------------------------------


@cache
def options() -> dict[str, set[str]]:
    """Every command, by all of its words, and its options."""
    found = {}
    for name, command in commands(typer.main.get_command(app)):
        found[name] = {
            option
            for parameter in command.params
            for option in [*parameter.opts, *parameter.secondary_opts]
            if option.startswith("-")
        }
    return found


def written(text: str) -> Iterator[str]:
    """The commands of Offhook that a page writes, in blocks and in code, each on one line."""
    text = text.replace("\\\n", " ")
    for block in re.findall(r"^```(?:\w+)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from re.findall(
            r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(offhook .*)", block, re.MULTILINE
        )
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for line in re.findall(r"`(?:\.venv/bin/)?(offhook [^`]+)`", " ".join(prose.split())):
        if r"\|" not in line:  # alternatives, in a table
            yield line


def mistake(line: str) -> str | None:
    """What is wrong with a command that a page writes."""
    words = re.sub(r"\s(#|  ).*|\|.*|>.*|[\[\]]", "", line).split()[1:]
    if not words or words[0].startswith(("-", "…", "is")):
        known_alone = (
            "--version",
            "--help",
            "-h",
            "--install-completion",
            "--show-completion",
            "…",
        )
        return None if not words or words[0] in known_alone else words[0]
    known = options()
    name = next((n for n in (" ".join(words[:2]), words[0]) if n in known), None)
    bare = len(words) == 1 or words[1].startswith(("-", "…"))
    if name is None and bare and f"{words[0]} list" in known:
        name = f"{words[0]} list"
    if name is None or name not in known:
        return f"there is no command {' '.join(words[:2])}"
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    unknown = given - known[name] - {"--help"}
    return f"{name} has no {', '.join(sorted(unknown))}" if unknown else None


def test_the_home_page_links_every_page_beside_it() -> None:
    """Design decisions and protocols, in folders of their own, are found through one of each."""
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "index.md").read_text("utf-8")))
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} - linked == set()


def test_the_commands_that_pages_write_are_there() -> None:
    wrong = {
        (str(page.relative_to(ROOT)), line): problem
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for line in written(page.read_text("utf-8"))
        if (problem := mistake(line))
    }
    assert wrong == {}


def test_a_command_that_is_not_there_is_found() -> None:
    page = "```\noffhook serv --show\n$ offhook serve --shw\n```\nand `offhook calls shw 1f3a`.\n"
    assert [mistake(line) is None for line in written(page)] == [False, False, False]
    good = (
        "```\nA=b offhook serve --show   # text\n```\n`offhook calls --since 7d` `offhook calls`\n"
    )
    assert [mistake(line) for line in written(good)] == [None, None, None]


def test_every_code_that_a_page_names_is_one() -> None:
    codes = sections(ERRORS, 3).keys()
    wrong = {
        str(page.relative_to(ROOT)): unknown
        for page in PAGES
        if page.name != "CHANGELOG.md"
        and (unknown := set(CODE.findall(page.read_text("utf-8"))) - codes)
    }
    assert wrong == {}


def test_the_slugs_that_pages_link_to_the_endings_are_slugs() -> None:
    slugs = {each.slug for each in Slug}
    named = {
        name
        for page in PAGES
        for name in re.findall(r"\[`([a-z_]+)`\]\([\w./-]*errors\.md#endings\)", page.read_text())
    }
    assert len(named) > 5
    assert named - slugs == set()


def test_symptoms_name_slugs_codes_and_settings_that_are_there() -> None:
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    assert len(sections(DOCS / "troubleshooting.md", 2)) >= 12
    assert len(set(CODE.findall(page))) >= 15
    source = "".join(path.read_text("utf-8") for path in SRC.rglob("*.py"))
    words = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", page))
    assert len(words & {each.slug for each in Slug}) >= 10
    assert [word for word in sorted(words) if not re.search(rf"\b{word}\b", source)] == []
    ended = sections(DOCS / "troubleshooting.md", 2)["The call ends after a few seconds"]
    listed = {
        slug
        for cell in re.findall(r"^\| (`[^|]*) \|", ended, re.MULTILINE)
        for slug in re.findall(r"`(\w+)`", cell)
    }
    assert listed
    assert listed - {each.slug for each in Slug} == set()


def test_the_pages_that_hints_name_are_there() -> None:
    lost = []
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(syntax_tree(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                continue
            for name, anchor in re.findall(
                r"\b((?:docs|src|examples)/[\w./-]+\.md)(?:#([\w-]+))?", node.value
            ):
                page = ROOT / name
                if not page.is_file() or (anchor and anchor not in anchors(page)):
                    lost.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}")
    assert lost == []
