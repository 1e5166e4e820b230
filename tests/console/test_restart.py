"""A server that is restarted, or dies, under an open page."""

import os
import signal
from pathlib import Path

from playwright.async_api import Browser, expect
from tests.console.calls import kept_call
from tests.console.console_server import GREETING, HOURS, OPEN, console_server, require_built

from offhook.bench.serve import free_port


async def test_the_operators_process_dies_under_an_open_page(
    browser: Browser, tmp_path: Path
) -> None:
    require_built()
    async with (
        console_server(tmp_path, "--operator-listen", f"127.0.0.1:{free_port()}") as server,
        server.page(browser) as watched,
        kept_call(server.public_url) as call,
    ):
        page = watched.page
        for expected in ("Failed to load resource", "net::ERR_"):
            watched.expects(expected)  # the browser tells of each request that nobody answers
        await call.person.until_heard(GREETING)
        await page.goto(f"{server.url}/live/{call.sid}")
        log = page.get_by_role("log", name="Transcript")
        await expect(log).to_contain_text(GREETING)
        operator = await server.serving.until_started("operator")
        os.kill(operator, signal.SIGKILL)
        await server.serving.until_started("operator", other_than=operator)
        await call.person.until_quiet()
        call.person.say(HOURS)
        await expect(log).to_contain_text(HOURS)
        await expect(log).to_contain_text(OPEN)
        # What was said before stands there once.
        assert (await log.inner_text()).count(GREETING) == 1
