"""Every view, and every state of one, before axe-core: no serious finding, in light and in dark."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from playwright.async_api import Browser, expect
from tests.console.axe import serious
from tests.console.calls import kept_call
from tests.console.console_server import GREETING, ConsoleServer, require_built
from tests.console.scripted import is_wider_than_its_window
from tests.console.views import STATES, VIEWS

UNRECORDED: Final = "+12025550101"
"""The number of the agent billing, which records nothing."""
SCHEMES: Final[Mapping[Literal["light", "dark"], dict[str, Any]]] = {
    "light": {},
    "dark": {"runOnly": ["color-contrast"]},
}
"""The rules by which each scheme is checked: dark differs from light in its colours alone."""


def test_every_view_is_looked_at() -> None:
    folders = Path(__file__).parents[2] / "web" / "src" / "views"
    assert {view.folder for view in VIEWS} == {path.name for path in folders.iterdir()}


async def test_no_view_has_a_serious_finding(browser: Browser, server: ConsoleServer) -> None:
    require_built()
    left: list[str] = []
    async with kept_call(server.public_url) as past:
        await past.person.until_heard(GREETING)
    async with kept_call(server.public_url, to=UNRECORDED) as silent:
        await silent.person.until_heard(GREETING)
    for sid in (past.sid, silent.sid):
        await server.until_stored(sid)
    async with (
        kept_call(server.public_url) as call,
        server.page(browser, microphone=True) as watched,
    ):
        watched.expects("404")  # the record of a call that has just begun
        await call.person.until_heard(GREETING)
        sids = {"live": call.sid, "past": past.sid, "silent": silent.sid}
        for view in (*VIEWS, *STATES):
            await view.open(watched.page, server.url, **sids)
            for scheme, rules in SCHEMES.items():
                await watched.page.emulate_media(color_scheme=scheme)
                found = await serious(watched.page, rules=rules)
                left += [f"{view.name}, {scheme}: {finding}" for finding in found]
            # 1280 by 1024 at 400 %.
            await watched.page.set_viewport_size({"width": 320, "height": 256})
            if await is_wider_than_its_window(watched.page):
                left.append(f"{view.name} is wider than a window of 320 px")
            await watched.page.set_viewport_size({"width": 1280, "height": 720})
    assert left == []


async def test_the_page_before_signing_in_has_no_serious_finding(
    browser: Browser, server: ConsoleServer
) -> None:
    require_built()
    async with server.page(browser, "/", signed_in=False) as watched:
        await expect(watched.page.get_by_role("button", name="Sign in")).to_be_visible()
        watched.expects("401")
        assert await serious(watched.page) == []
