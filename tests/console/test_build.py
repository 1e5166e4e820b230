"""The console's page, as `make console` built it, is of its sources, small, and sealed."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from scripts.build_console import STATIC, WEB, built_hash, sources_hash

FIRST_LOAD_MAX = 250 * 1024

needs_build = pytest.mark.skipif(not STATIC.exists(), reason="the page is not built: make console")


def manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((STATIC / "manifest.json").read_text())
    return found


def loaded(start: str) -> set[str]:
    """Return the files that the browser gets for a chunk: itself, what it imports, their styles."""
    files, seen, chunks = set[str](), set[str](), [start]
    while chunks:
        name = chunks.pop()
        if name in seen:
            continue
        seen.add(name)
        chunk = manifest()[name]
        files |= {chunk["file"], *chunk.get("css", ()), *chunk.get("assets", ())}
        chunks += chunk.get("imports", ())
    return files


def compressed(files: set[str]) -> int:
    return sum(len(gzip.compress((STATIC / name).read_bytes())) for name in files)


@needs_build
def test_the_build_is_of_the_present_sources() -> None:
    assert built_hash() == sources_hash(), "web/ has changed: make console"


@needs_build
def test_the_first_load_of_every_view_is_small() -> None:
    shell = {"index.html"} | loaded("index.html")
    views = manifest()["index.html"]["dynamicImports"]
    assert {"src/views/live/index.tsx", "src/views/call/index.tsx"} <= set(views)
    for view in views:
        size = compressed(shell | loaded(view))
        assert size < FIRST_LOAD_MAX, f"{view}: {size} bytes compressed"


@needs_build
def test_nothing_is_inlined_in_the_page_or_loaded_from_outside() -> None:
    html = (STATIC / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\ssrc=)", html) == []
    assert not re.search(r"<style|\sstyle=|\son\w+=", html)
    # Namespaces are names, not addresses to load from; the rest of a match shows what it is.
    namespaces = re.compile(r"http://www\.w3\.org/\S*")
    for path in STATIC.rglob("*.*"):
        if path.suffix in {".html", ".css", ".js"}:
            text = namespaces.sub("", path.read_text())
            loads = re.findall(
                r"(?:src|href|import|url|fetch)\W{1,3}(?:https?:)?//[^\"'\s)]+", text
            )
            assert loads == [], path.name
            assert "data:" not in text or path.suffix == ".js", path.name


SOURCES = [*(WEB / "src").rglob("*.ts"), *(WEB / "src").rglob("*.tsx")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(WEB / "src")))
def test_text_becomes_text_nodes_alone(path: Path) -> None:
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|new Function|\beval\("
    assert re.findall(ways, path.read_text()) == []


def test_the_lock_names_no_registry() -> None:
    lock = (WEB / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert "registry" not in lock
