"""What the other tests here stand on: pages that fail on their errors, and calls that are kept."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect
from tests.console import chromium
from tests.console.calls import kept_call
from tests.console.console_server import GREETING, HOURS, OPEN, ConsoleServer
from tests.waiting import until

OURS = "http://127.0.0.1:9/"


async def serve(page: Page, html: str, policy: str = "") -> None:
    """Answer every request of a page to OURS with this HTML, without a server."""

    async def answer(route: Route) -> None:
        headers = {"Content-Security-Policy": policy} if policy else {}
        await route.fulfill(body=html, content_type="text/html", headers=headers)

    await page.route(f"{OURS}**", answer)
    await page.goto(OURS)


@pytest.mark.parametrize(
    ("html", "policy", "told"),
    [
        ("<script>console.error('it broke')</script>", "", "it broke"),
        ("<script>undefined.field</script>", "", "uncaught: Cannot read"),
        ("<script>1</script>", "script-src 'self'", "Content Security Policy"),
        ("<img src='https://example.com/a.png'>", "", "requests https://example.com/a.png"),
    ],
)
async def test_a_page_fails_by_what_it_does(
    browser: Browser, html: str, policy: str, told: str
) -> None:
    async def use() -> None:
        async with chromium.context(browser) as context, chromium.watched(context) as watched:
            await serve(watched.page, html, policy)
            await until(lambda: told in str(watched.faults))

    with pytest.raises(AssertionError, match=re.escape(told)):
        await use()


async def test_an_error_that_is_expected_is_none(browser: Browser) -> None:
    async with chromium.context(browser) as context, chromium.watched(context) as watched:
        watched.expects("it broke")
        await serve(watched.page, "<script>console.error('oh, it broke')</script>")


async def test_a_page_of_a_running_server(browser: Browser, server: ConsoleServer) -> None:
    async with server.page(browser, "/docs") as watched:
        await expect(watched.page).to_have_title(re.compile("Offhook"))


async def test_a_call_is_kept_until_somebody_ends_it(server: ConsoleServer) -> None:
    async with kept_call(server.public_url) as call:
        await call.person.until_heard(GREETING)
        await call.person.until_quiet()
        call.person.say(HOURS)
        await call.person.until_heard(OPEN)
    report = await call.ended()
    assert (report.ending, report.faults) == ("caller_hung_up", [])


def test_without_a_chromium_tests_are_skipped_loudly_and_fail_in_ci(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "Google Chrome"
    monkeypatch.setattr(chromium, "NAMES", ("chromium", str(program)))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="NO CHROMIUM"):
        chromium.path()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="NO CHROMIUM"):
        chromium.path()
    program.touch(mode=0o755)
    assert chromium.path() == str(program), "as on macOS, where it is not on PATH"
