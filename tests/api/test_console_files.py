"""The page's files: open to all, and to its own origin alone."""

import contextlib
import os
import re
from pathlib import Path

from tests.api.desk import desk
from tests.waiting import until

from offhook.api import console_files
from offhook.api.console_files import ConsoleFiles
from offhook.api.paths import SESSION
from offhook.observability.stderr import Printer

WEB = Path(__file__).parents[2] / "web" / "src"


def built(folder: Path) -> Path:
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>Page</title>" + "x" * 2000)
    (folder / "assets" / "main-a1.js").write_text("let text = 'as it is';" * 100)
    (folder / "assets" / "font-a1.woff2").write_bytes(bytes(range(256)))
    (folder / "build.json").write_text('{"sources": "secret"}')
    (folder.parent / "outside.js").write_text("outside")
    return folder


async def test_the_page_needs_nobody_signed_in_and_is_bound_to_its_origin(tmp_path: Path) -> None:
    files = ConsoleFiles(built(tmp_path / "static"))
    async with desk(tmp_path / "data") as d:
        d.api.auth._files = files
        for path in (
            "/",
            "/live",
            "/live/CA1",
            "/calls?agent=x",
            "/calls/CA1",
            "/agents/a/b",
            "/agents/%C3%A4",
            "/phone",
            "/users",
            "/quality",
            "/enter",
            "/more",
        ):
            answer = await d.ask(path, token=None)
            assert answer.status_code == 200, path
            assert answer.text.startswith("<!doctype html>")
            assert answer.headers["content-type"].startswith("text/html")
            assert answer.headers["content-encoding"] == "gzip"
            assert answer.headers["cache-control"] == "no-store"
            policy = answer.headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert "*" not in policy
            assert "set-cookie" not in answer.headers
        for path, method, headers, status in (
            ("/live", "POST", {}, 401),
            ("/live", "DELETE", {}, 401),
            ("/", "GET", {"Host": "evil.example"}, 404),
            ("/assets/main-a1.js", "GET", {"Origin": "https://evil.example"}, 403),
        ):
            answer = await d.ask(path, method=method, token=None, headers=headers)
            assert answer.status_code == status, (path, method)


async def test_assets_are_kept_for_ever_and_nothing_else_is_read(tmp_path: Path) -> None:
    folder = built(tmp_path / "static")
    (folder / "assets" / "dir").mkdir()
    files = ConsoleFiles(folder)
    async with desk(tmp_path / "data") as d:
        d.api.auth._files = files
        for name, kind in (("main-a1.js", "text/javascript"), ("font-a1.woff2", "octet-stream")):
            for encoding in ("gzip", "identity"):
                answer = await d.ask(
                    f"/assets/{name}", token=None, headers={"Accept-Encoding": encoding}
                )
                assert answer.status_code == 200
                assert answer.content == (folder / "assets" / name).read_bytes()
                assert kind in answer.headers["content-type"]
                assert "immutable" in answer.headers["cache-control"]
                assert "no-store" not in answer.headers["cache-control"]
                assert answer.headers["x-content-type-options"] == "nosniff"
            assert (await d.ask(f"/assets/{name}", method="HEAD", token=None)).content == b""
        for path in (
            "/assets/",
            "/assets/dir",
            "/assets/main-a2.js",
            "/assets/../build.json",
            "/assets/..%2Fbuild.json",
            "/assets/..%2F..%2Foutside.js",
            "/assets/.hidden",
            "/assets/%2e%2e/build.json",
            "/assets/main-a1.js%00",
            "/assets/main-a1.js/",
            "/build.json",
            "/index.html",
            "/static/index.html",
            "/assets//main-a1.js",
            "/assets/" + "x" * 4000,
        ):
            answer = await d.ask(path, token=None)
            assert answer.status_code == 401, path
    assert len(files._assets) == 2


async def test_a_page_that_is_not_built_says_how_and_appears_once_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "static"
    async with desk(tmp_path / "data") as d:
        d.api.auth._files = ConsoleFiles(folder)
        answer = await d.ask("/", token=None)
        assert answer.status_code == 503
        assert "make console" in answer.text
        assert answer.headers["content-type"].startswith("text/plain")
        built(folder)
        assert (await d.ask("/", token=None)).status_code == 200


def test_every_view_of_the_page_has_its_address() -> None:
    """A view that is added, and not served, would be there until the page is loaded again."""
    shell = (WEB / "shell.tsx").read_text()
    links = re.findall(r'^  \["(/\w+)", "', shell, re.MULTILINE)
    names = re.findall(r"^  \[/\^\\/(?:\(\?:)?(\w+)", shell, re.MULTILINE)
    assert len(links) >= 5
    assert len(names) >= 8
    for path in {*links, *(f"/{name}" for name in names), "/enter"}:
        assert console_files._VIEW.fullmatch(path), path


async def test_a_terminal_is_shown_a_link_that_signs_in(tmp_path: Path) -> None:
    ours, terminal = os.openpty()
    os.set_blocking(ours, False)
    printer = Printer(terminal, lambda lost, fault: "")
    shown = b""

    def find() -> re.Match[bytes] | None:
        nonlocal shown
        with contextlib.suppress(BlockingIOError):
            shown += os.read(ours, 65536)
        return re.search(rb"console +(http://[^ ]+)/enter#([\w-]{43})\r\n", shown)

    try:
        async with desk(tmp_path, printer=printer) as d:
            await until(lambda: find() is not None)
            found = find()
            assert found is not None
            assert found[1].decode() == d.url
            body = {"code": found[2].decode()}
            answer = await d.ask(SESSION, method="POST", token=None, body=body)
            assert answer.json()["name"] == "sign-in link"
    finally:
        printer.stop()
        os.close(ours)
        os.close(terminal)
