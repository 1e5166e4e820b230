"""Every view before axe-core: no serious finding, in light and in dark."""

from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

from playwright.async_api import Browser, Page, expect
from tests.console.calls import kept_call
from tests.console.console_server import GREETING, ConsoleServer, require_built
from tests.console.views import VIEWS

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
SERIOUS = ("serious", "critical")
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")


async def findings(page: Page) -> list[str]:
    """What axe finds that keeps somebody from using the page."""
    await page.evaluate(AXE)
    found: dict[str, Any] = await page.evaluate("axe.run(document)")
    return [
        f"{one['impact']}: {one['id']}: {node['html'][:200]}: {node['failureSummary'][:300]}"
        for one in found["violations"]
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


def test_every_view_is_looked_at() -> None:
    folders = Path(__file__).parents[2] / "web" / "src" / "views"
    assert {view.folder for view in VIEWS} == {path.name for path in folders.iterdir()}


async def test_no_view_has_a_serious_finding(browser: Browser, server: ConsoleServer) -> None:
    require_built()
    left: list[str] = []
    async with kept_call(server.public_url) as past:
        await past.person.until_heard(GREETING)
    await server.until_stored(past.sid)
    async with kept_call(server.public_url) as call, server.page(browser) as watched:
        await call.person.until_heard(GREETING)
        for view in VIEWS:
            await view.open(watched.page, server.url, live=call.sid, past=past.sid)
            for scheme in SCHEMES:
                await watched.page.emulate_media(color_scheme=scheme)
                found = await findings(watched.page)
                left += [f"{view.name}, {scheme}: {finding}" for finding in found]
    assert left == []


async def test_the_page_before_signing_in_has_no_serious_finding(
    browser: Browser, server: ConsoleServer
) -> None:
    require_built()
    async with server.page(browser, "/", signed_in=False) as watched:
        await expect(watched.page.get_by_role("button", name="Sign in")).to_be_visible()
        watched.expects("401")
        assert await findings(watched.page) == []
