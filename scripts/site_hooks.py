"""Hooks by which MkDocs builds the site from pages that are also read in the repository.

Three things differ there: some pages are outside docs/, links lead to files that the site does not
have, and Python-Markdown is stricter about a few forms than GitHub.
"""

import posixpath
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]

OUTSIDE: Final = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
    "src/offhook/testing/scenarios/README.md": "scenario-files.md",
    "src/offhook/testing/simulator/dialogue/README.md": "dialogue-files.md",
    "src/offhook/testing/faults/README.md": "faults.md",
    "src/offhook/testing/README.md": "code/testing.md",
    "src/offhook/call/README.md": "code/call.md",
    "src/offhook/records/README.md": "code/records.md",
    "README.md": "index.md",
}
"""Pages outside docs/ that the site has, and their places in it. README leads to the home page."""

_FENCE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_COMMENT: Final = re.compile(r"^<!--.*?-->$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
_CELL_CODE: Final = re.compile(r"`[^`]*`")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give headings the anchors that GitHub gives them."""
    config.mdx_configs["toc"]["slugify"] = anchor
    return config


def anchor(title: str, separator: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", separator)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/."""
    for source, place in OUTSIDE.items():
        if place not in files.src_uris:
            files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links and what Python-Markdown would read otherwise."""
    source = repository_path(page.file)
    place = page.file.src_uri
    markdown = _COMMENT.sub("", markdown)
    return outside_fences(markdown, lambda text: unescaped_pipes(relinked(text, source, place)))


def repository_path(file: File) -> str:
    """Return the path in the repository of the file that a page is made from."""
    return next(
        (
            source
            for source, place in OUTSIDE.items()
            if place == file.src_uri and place != "index.md"
        ),
        f"docs/{file.src_uri}",
    )


def outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    """Return a page with all but its fenced blocks changed."""
    parts, last = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [change(markdown[last : fence.start()]), fence[0]]
        last = fence.end()
    return "".join([*parts, change(markdown[last:])])


def relinked(text: str, source: str, place: str) -> str:
    """Return text whose links lead to pages of the site, or to the repository."""

    def one(found: re.Match[str]) -> str:
        label, target = found[1], found[2]
        if "://" in target or target.startswith(("#", "mailto:")):
            return found[0]
        path, hash_, fragment = target.partition("#")
        named = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        inside = OUTSIDE.get(named) or named.removeprefix("docs/") * named.startswith("docs/")
        if not inside:
            url = repository_url()
            return f"[{label}]({url}/blob/main/{named}{hash_}{fragment})" if url else label
        to = posixpath.relpath(inside, posixpath.dirname(place) or ".")
        return f"[{label}]({to}{hash_}{fragment})"

    return _LINK.sub(one, text)


def repository_url() -> str | None:
    """Return the address of the repository that pyproject.toml names."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    urls = {name.lower(): url for name, url in project.get("urls", {}).items()}
    return next((urls[name] for name in ("repository", "source") if name in urls), None)


def unescaped_pipes(text: str) -> str:
    r"""Return text without the backslash of `\|` in code: only GitHub needs it in a table."""
    return "\n".join(
        _CELL_CODE.sub(lambda code: code[0].replace(r"\|", "|"), line)
        if line.startswith("|")
        else line
        for line in text.split("\n")
    )
