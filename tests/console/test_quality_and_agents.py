"""The views Quality and Agents in a real Chromium, on a running server."""

import re

from playwright.async_api import expect
from tests.console.axe import serious
from tests.console.calls import kept_call
from tests.console.chromium import Watched
from tests.console.console_server import GREETING, ConsoleServer


async def test_agents_are_shown_checked_and_their_functions_tried(
    console: Watched, server: ConsoleServer
) -> None:
    page = console.page
    await page.goto(f"{server.url}/agents")
    await expect(page.get_by_role("link", name="billing", exact=True)).to_be_visible()
    assert await serious(page) == []
    await page.get_by_role("link", name="reception", exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("reception")
    await expect(page.get_by_role("region", name="The file", exact=True)).to_contain_text(
        "Corner Table"
    )
    await page.get_by_role("button", name="Check the files").click()
    await expect(
        page.get_by_role("heading", name=re.compile("as they are now: good"))
    ).to_be_visible()

    status = page.locator(".agents-function", has_text="order_status")
    await status.get_by_role("button", name="Try it").click()
    await status.get_by_label("number").fill("4217")
    await status.get_by_role("button", name="Run it").click()
    await expect(status).to_contain_text("order 4217 is ready")
    await status.get_by_label("number").fill("0000")
    await status.get_by_role("button", name="Run it").click()
    await expect(status).to_contain_text("there is no such order")

    book = page.locator(".agents-function", has_text="book_table")
    await book.get_by_role("button", name="Try it").click()
    await book.get_by_label("day").fill("Monday")
    await book.get_by_label("people").fill("many")
    assert await serious(page) == []
    run = book.get_by_role("button", name="Run it…")
    await run.click()
    asked = page.get_by_role("dialog", name="Run book_table?")
    await expect(asked).to_contain_text("done for good")
    await asked.get_by_role("button", name="Do not run it").click()
    await expect(asked).not_to_be_visible()
    await expect(book).not_to_contain_text("The agent would be told")
    await run.click()
    await asked.get_by_role("button", name="Run it for good").click()
    await expect(book).to_contain_text("people: Input should be a valid integer")
    await book.get_by_label("people").fill("4")
    await run.click()
    await asked.get_by_role("button", name="Run it for good").click()
    await expect(book).to_contain_text('"booked":true')

    talk = page.get_by_role("link", name="Talk to it")
    await expect(talk).to_have_attribute("href", "/phone?agent=reception")


async def test_an_agent_that_is_not_there_any_more_is_told(
    console: Watched, server: ConsoleServer
) -> None:
    console.expects("404")
    await console.page.goto(f"{server.url}/agents/gone")
    heading = console.page.get_by_role("heading", name="No agent is called gone now")
    await expect(heading).to_be_visible()


async def test_quality_leads_to_the_calls_behind_it(
    console: Watched, server: ConsoleServer
) -> None:
    page = console.page
    async with kept_call(server.public_url) as call:
        await call.person.until_heard(GREETING)
    await call.ended()
    await server.until_stored(call.sid)
    reception = page.get_by_role("link", name="reception", exact=True)
    await page.goto(f"{server.url}/quality?days=7")
    await expect(page.get_by_role("heading", name="Quality")).to_be_visible()
    await expect(page.get_by_text("Latency of a turn")).to_be_visible()
    await expect(page.get_by_text("Answer heard after")).to_be_visible()
    assert await serious(page) == []
    counted = re.compile(r"^(Of )?(\d+) calls?$")
    links = page.get_by_role("link", name=counted)
    shown = [
        (await each.get_attribute("href"), await each.inner_text()) for each in await links.all()
    ]
    assert {re.sub(".*figure=", "", str(href)) for href, _ in shown} >= {"silence_ratio"}
    by_agent = page.get_by_role("table", name="Figures by agent").get_by_role("row")
    calls = by_agent.filter(has=reception).get_by_role("link").nth(1)
    shown.append((await calls.get_attribute("href"), f"{await calls.inner_text()} calls"))
    for href, words in shown:
        await page.goto(server.url + str(href))
        found = counted.match(words)
        assert found
        await expect(page.get_by_label("Totals")).to_contain_text(
            re.compile(rf"^Calls{found[2]}(\D|$)")
        )
    await page.goto(f"{server.url}/quality?days=7")
    most = page.get_by_role("table", name="Endings").get_by_role("link").first
    slug = re.sub(".*slug=", "", str(await most.get_attribute("href")))
    bars = page.get_by_role("img", name=re.compile("^Calls by day")).locator(".u-over")
    size = await bars.bounding_box()
    assert size
    # All calls are of today, whose bar is in the middle; the most frequent ending is at its foot.
    await bars.click(position={"x": size["width"] / 2, "y": size["height"] - 3})
    await expect(page).to_have_url(re.compile(rf"/calls\?slug={slug}&since=.*&until="))
    await page.goto(f"{server.url}/quality?days=7")
    await page.get_by_label("Agent", exact=True).select_option("reception")
    await expect(page).to_have_url(re.compile("agent=reception"))
    await page.get_by_role("link", name="caller hung up").click()
    await expect(page).to_have_url(
        re.compile(r"/calls\?agent=reception&since=.*slug=caller_hung_up")
    )
