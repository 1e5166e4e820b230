"""Texts from outside that are markup: a page shows them as they are, and nothing of them runs.

What a caller says, what an agent says and calls, numbers and names all come from outside.
"""

from pathlib import Path

from playwright.async_api import Browser, Page, expect
from tests.console.calls import kept_call
from tests.console.console_server import BYE, console_server, require_built

from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn

CORPUS = (
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    "<svg/onload=window.pwned=1>",
    '"><iframe srcdoc="<script>parent.pwned = 1</script>">',
    "javascript:window.pwned=1//",
    "</textarea><a href='javascript:window.pwned=1'>click</a>",
    "{{constructor.constructor('window.pwned = 1')()}}",
    "\u202eright to left\u202c \u0007\u0000",
)
"""Texts that run, or hide, where they are put into a page as markup."""

ALL = " ".join(CORPUS[:-1])

HOSTILE = Script(
    turns=[
        ScriptTurn(
            hear=ALL,
            function_calls=[ScriptFunctionCall(name="order_status", arguments={"number": ALL})],
            say=[ALL],
        )
    ],
    fallback=ScriptTurn(hear=CORPUS[-1], say=[BYE]),
    silence_ms=300,
    reply_ms=50,
)


async def nothing_ran(page: Page) -> None:
    assert await page.evaluate("window.pwned") is None
    for tag in ("iframe", "main img", "main script", "a[href^='javascript']"):
        assert await page.locator(tag).count() == 0, tag


async def test_markup_is_text_in_every_view(browser: Browser, tmp_path: Path) -> None:
    require_built()
    async with (
        console_server(tmp_path, script=HOSTILE) as server,
        server.page(browser) as watched,
    ):
        page = watched.page
        async with kept_call(server.public_url, from_="+12025550142") as call:
            await call.person.until_quiet()
            await page.goto(f"{server.url}/live/{call.sid}")
            call.person.say("What are your opening hours?")
            log = page.get_by_role("log", name="Transcript")
            for text in CORPUS[:-1]:
                await expect(log).to_contain_text(text)
            await nothing_ran(page)
            await page.goto(f"{server.url}/live")
            await expect(page.locator("main")).to_contain_text("<script>")
            await nothing_ran(page)
        await server.until_stored(call.sid)
        for path in (f"/calls/{call.sid}", "/calls", "/calls?text=%3Cscript%3E", "/quality"):
            await page.goto(server.url + path)
            await expect(page.locator("main :is(h1, h2)").first).to_be_visible()
            if path == f"/calls/{call.sid}":
                await expect(page.locator("main")).to_contain_text(CORPUS[0])
            await nothing_ran(page)
