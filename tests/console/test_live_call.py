"""A live call, by two people at their consoles, and on the caller's side of the wire."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Page, expect
from tests.console import chromium
from tests.console.calls import kept_call
from tests.console.console_server import BYE, GREETING, OPEN, ConsoleServer, require_built
from tests.waiting import until

from offhook import audio

PASSWORD = "correct horse battery staple"


@asynccontextmanager
async def person_at_console(
    browser: Browser, server: ConsoleServer, name: str, path: str
) -> AsyncIterator[Page]:
    """Add a user, and sign in on the page as people do."""
    async with (
        chromium.context(browser, microphone=True) as context,
        chromium.watched(context) as watched,
    ):
        watched.expects("401")
        added = await context.request.post(
            f"{server.url}/api/v1/users",
            headers=dict(server.serving.headers),
            data={"name": name, "role": "operator", "password": PASSWORD},
        )
        assert added.status == 201, await added.text()
        await watched.page.goto(server.url + path)
        await watched.page.get_by_label("Name").fill(name)
        await watched.page.get_by_label("Password").fill(PASSWORD)
        await watched.page.keyboard.press("Enter")
        yield watched.page


async def test_two_people_act_on_one_call(browser: Browser, server: ConsoleServer) -> None:
    require_built()
    async with kept_call(server.public_url) as call:
        await call.person.until_heard(GREETING)
        path = f"/live/{call.sid}"
        async with (
            person_at_console(browser, server, "ada", path) as ada,
            person_at_console(browser, server, "grace", path) as grace,
        ):
            await expect(ada.get_by_role("log")).to_contain_text(GREETING)

            await ada.get_by_role("button", name="Listen", exact=True).click()
            await expect(ada.get_by_text("You hear both sides.")).to_be_visible()
            await expect(grace.get_by_text("ada listening")).to_be_visible()

            await ada.get_by_label("To the agent").fill("They ask about the hours.")
            await ada.get_by_role("button", name="Whisper").click()
            await call.person.until_heard(OPEN)
            await expect(grace.get_by_role("log")).to_contain_text(OPEN)
            await call.person.until_quiet()

            await ada.get_by_role("button", name="Take over").click()
            await expect(ada.get_by_text("You speak with the caller.")).to_be_visible()
            await expect(
                grace.get_by_role("button", name="Take over")
            ).to_have_accessible_description("ada speaks with the caller. Ask them to hand back.")
            # The microphone of Chromium's fake device beeps once a second.
            await until(lambda: call.person.last(1500).strip(audio.SILENCE) != b"")
            await ada.get_by_label("What the agent should know").fill("I have told them the price.")
            await ada.get_by_role("button", name="Hand back").click()
            await expect(ada.get_by_role("button", name="Take over")).to_be_visible()
            await expect(grace.get_by_role("log")).to_contain_text("ada has handed the caller back")

            await grace.keyboard.press("s")
            await grace.get_by_label("When").select_option("interrupt")
            await grace.get_by_label("To the caller").fill(BYE)
            await grace.get_by_role("button", name="Say", exact=True).click()
            await call.person.until_heard(BYE)

            await grace.get_by_role("button", name="Hang up…").click()
            await grace.get_by_role("dialog").get_by_role("button", name="Hang up").click()
            report = await call.ended()
            assert report.faults == []
            for page in (ada, grace):
                await expect(page.get_by_role("heading", name="This call is over")).to_be_visible()


async def test_whoever_is_cut_off_while_they_speak_may_go_on_and_the_agent_has_the_caller_meanwhile(
    browser: Browser, server: ConsoleServer
) -> None:
    require_built()
    async with kept_call(server.public_url) as call:
        await call.person.until_heard(GREETING)
        async with person_at_console(browser, server, "lin", f"/live/{call.sid}") as page:
            await page.get_by_role("button", name="Take over").click()
            await expect(page.get_by_text("You speak with the caller.")).to_be_visible()
            await until(lambda: call.person.last(1500).strip(audio.SILENCE) != b"")

            await page.reload()
            cut_off = page.get_by_role("alert").filter(has_text="You were cut off while you spoke")
            await expect(cut_off).to_contain_text("They are with the agent again.")
            log = page.get_by_role("log")
            await expect(log).to_contain_text("handed the caller back")

            await page.get_by_role("button", name="Go on speaking").click()
            await expect(page.get_by_text("You speak with the caller.")).to_be_visible()
            await expect(cut_off).to_have_count(0)
            since = len(call.person.heard)
            await until(lambda: bytes(call.person.heard[since:]).strip(audio.SILENCE) != b"")
            await page.get_by_role("button", name="Hand back").click()
            await expect(page.get_by_role("button", name="Take over")).to_be_visible()
            await page.reload()
            await expect(page.get_by_role("button", name="Take over")).to_be_visible()
            await expect(cut_off).to_have_count(0)
        call.person.hang_up()
        await call.ended()
