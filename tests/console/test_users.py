"""Signing in at the page: by a link, then as a user with a password, and what a viewer is shown."""

import re

from playwright.async_api import Browser, expect
from tests.console import chromium
from tests.console.console_server import ConsoleServer, require_built

PASSWORD = "four words of mine"


async def test_a_link_signs_in_once_and_makes_a_user_who_signs_in(
    browser: Browser, server: ConsoleServer
) -> None:
    require_built()
    link = f"{server.url}/enter#{server.sign_in_code()}"
    async with chromium.context(browser) as context, chromium.watched(context) as watched:
        page = watched.page
        watched.expects("401")  # nobody is signed in at first
        await page.goto(link)
        await expect(page).to_have_url(re.compile("/live$"))
        cookie = next(c for c in await context.cookies() if c["name"] == "offhook_session")
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        await page.goto(server.url + "/users")
        await page.get_by_role("button", name="Add a user").click()
        await page.get_by_label("Name").fill("eve")
        await page.get_by_label("Role").select_option("viewer")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Add", exact=True).click()
        await expect(page.get_by_role("cell", name="eve", exact=True)).to_be_visible()
        await page.get_by_role("tab", name="Audit log").click()
        await expect(page.get_by_role("row").filter(has_text="eve").first).to_be_visible()
    async with chromium.context(browser) as context, chromium.watched(context) as watched:
        page = watched.page
        watched.expects("401")
        await page.goto(link)  # again
        await expect(page.get_by_text("This link was used already")).to_be_visible()
        for password in (PASSWORD + "!", PASSWORD):
            await page.get_by_label("Name").fill("eve")
            await page.get_by_label("Password").fill(password)
            await page.get_by_role("button", name="Sign in").click()
            if password != PASSWORD:
                await expect(page.get_by_text("The name or the password is wrong")).to_be_visible()
        await expect(page).to_have_url(re.compile("/live$"))
        await page.goto(server.url + "/users")
        await expect(page.get_by_text("Only admins see users")).to_be_visible()
