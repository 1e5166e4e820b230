"""The list of calls and the page of one call, in a real Chromium on a running server."""

import asyncio
import json
import re
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from tests.console import recorded
from tests.console.axe import serious
from tests.console.calls import kept_call
from tests.console.chromium import Watched
from tests.console.console_server import GREETING, HOURS, OPEN, ConsoleServer
from tests.console.views import drawn

LIST = "/calls?text=on+a+Sunday"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def full(server: ConsoleServer) -> AsyncIterator[ConsoleServer]:
    """The server, with calls of every sort in its record. None is live for the tests after."""
    records = server.serving.records
    await asyncio.to_thread(recorded.fill, records)
    yield server
    await asyncio.to_thread(recorded.end_live, records)


@pytest_asyncio.fixture(loop_scope="session")
async def watched(browser: Browser, full: ConsoleServer) -> AsyncIterator[Watched]:
    async with full.page(browser, "/calls", viewport={"width": 1400, "height": 900}) as made:
        yield made


async def show(page: Page, sid: str, query: str = "") -> None:
    """Open the page of a call, and wait until it is there."""
    await page.goto(re.sub(r"(//[^/]+).*", rf"\1/calls/{sid}{query}", page.url))
    await expect(page.locator(".call-ending")).to_be_visible()


async def at_ms(page: Page) -> float:
    """Where the player is, as its slider has it."""
    return float(await page.get_by_label("Position in the recording").input_value())


async def test_a_call_is_heard_explained_and_erased(watched: Watched, full: ConsoleServer) -> None:
    async with kept_call(full.public_url) as call:
        await call.person.until_heard(GREETING)
        await call.person.until_quiet()
        call.person.say(HOURS)
        await call.person.until_heard(OPEN)
    await call.ended()
    page = watched.page
    api = f"{full.url}/api/v1/calls/{call.sid}"

    async def is_over() -> bool:
        async with httpx2.AsyncClient(verify=False) as client:
            answer = await client.get(api, headers=full.serving.headers)
            return answer.status_code == 200 and answer.json()["recording_ms"] is not None

    while not await is_over():
        await page.wait_for_timeout(50)
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if "/audio" in one.url else None)
    await show(page, call.sid)
    await expect(page.locator(".call-ending")).to_contain_text("The caller hung up.")
    await expect(page.locator(".call-row.caller")).to_contain_text(HOURS)
    await expect(page.locator(".call-row.agent").last).to_contain_text(OPEN)
    await expect(page.locator(".call-wave-box")).to_be_visible()
    while await drawn(page) != [True, True]:
        await page.wait_for_timeout(50)
    assert asked == [], "audio is loaded when it is played"
    await page.keyboard.press(" ")
    await until_at(page, lambda ms: ms > 300)
    assert asked
    await page.keyboard.press("ArrowRight")
    await until_at(page, lambda ms: ms > 5300)
    await page.locator(".call-row.agent").last.locator("[data-at]").nth(8).click()
    record = await (await page.request.get(api)).json()
    said = [one for one in record["timeline"] if one["kind"] == "utterance"][-1]
    begins = next(
        one["at_ms"] for one in record["timeline"] if one.get("event") == "RecordingStarted"
    )
    await until_at(page, lambda ms: said["start_ms"] - begins + 500 < ms)
    await page.get_by_role("button", name="Agent", exact=True).click()
    await page.keyboard.press("+")
    await expect(page.get_by_label("Speed")).to_have_value("1.25")
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()
    await page.keyboard.press(" ")
    await expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    (session,) = (one for one in record["timeline"] if one["kind"] == "agent_session")
    await expect(page.get_by_role("button", name="Copy the request id")).to_have_count(2)
    await expect(page.locator(".facts")).to_contain_text([session["request_id"]])
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="Download as JSON").click()
    download = await downloading.value
    assert json.loads((await download.path()).read_bytes()) == record
    await page.get_by_role("button", name="Link that expires…").click()
    await page.get_by_role("button", name="Make the link").click()
    link = await page.locator(".call-link").inner_text()
    async with httpx2.AsyncClient(verify=False) as client:
        heard = await client.get(link)
    assert heard.status_code == 200
    assert heard.content[:4] == b"RIFF"
    await page.get_by_role("button", name="Close").click()
    await page.get_by_role("button", name="Erase…").click()
    await page.get_by_role("button", name="Erase it for good").click()
    await expect(page.get_by_text(f"Call {call.sid} was erased")).to_be_visible()
    await expect(page).to_have_url(f"{full.url}/calls")
    assert (await page.request.get(api)).status == 404
    async with httpx2.AsyncClient(verify=False) as client:
        assert (await client.get(link)).status_code == 404


async def until_at(page: Page, reached: object) -> None:
    """Wait until the player is where it should be."""
    assert callable(reached)
    while not reached(await at_ms(page)):
        await page.wait_for_timeout(50)


async def test_a_recording_that_is_erased_while_it_plays_is_told(
    watched: Watched, full: ConsoleServer
) -> None:
    watched.expects("404")
    page = watched.page
    await show(page, recorded.RECORDED)
    await page.get_by_role("button", name="Play", exact=True).click()
    await until_at(page, lambda ms: ms > 100)
    for file in (full.serving.records / "recordings").glob("*CArecorded*"):
        file.unlink()
    await page.get_by_label("Position in the recording").fill("590000")
    await expect(
        page.get_by_text("The recording was erased while this page was open.")
    ).to_be_visible()
    await expect(page.locator(".call-row.caller").first).to_contain_text(recorded.ASKED)


async def test_nothing_that_was_said_is_run_or_read_as_html(watched: Watched) -> None:
    page = watched.page
    await show(page, recorded.HOSTILE)
    for each in await page.locator("details").all():
        await each.evaluate("each => each.open = true")
    for text in recorded.SCRIPTS[:-2]:
        await expect(page.locator(".call-row.caller", has_text=text).first).to_be_visible()
    main = page.locator("main")
    await expect(
        main.locator("script, img, iframe, svg[onload], style, [onerror], b")
    ).to_have_count(0)
    await expect(main.locator("a[href^='javascript']")).to_have_count(0)
    await page.goto(page.url.rpartition("/")[0])
    await expect(page.locator(".table")).to_contain_text(recorded.SCRIPTS[0])
    assert await page.evaluate("window.ran") is None


async def test_a_call_of_two_hours_has_few_rows_in_the_page(watched: Watched) -> None:
    page = watched.page
    await show(page, recorded.LONG)
    rows = page.locator(".call-row")
    await expect(rows.first).to_be_visible()
    assert 20 < await rows.count() < 400
    await page.locator(".call-chunk").last.scroll_into_view_if_needed()
    await expect(rows.last).to_contain_text("after 840 ms")
    assert await rows.count() < 400
    await page.get_by_label("Find in this call").fill("f1249")
    await expect(rows).to_have_count(1)
    await expect(page).to_have_url(re.compile("find=f1249"))
    await page.reload()
    await expect(rows).to_have_count(1)


@pytest.mark.parametrize(
    ("sid", "texts"),
    [
        (recorded.REDACTED, ["Agent unreachable.", "My card is [card].", "silenced from 800"]),
        (recorded.FOREIGN, ["Teleported", "<b>mars</b>"]),
        (recorded.LIVE, ["This call is live.", "Hello?"]),
    ],
)
async def test_a_call_without_a_recording_has_the_same_timeline(
    watched: Watched, sid: str, texts: list[str]
) -> None:
    watched.expects("404")  # there is no wire log
    page = watched.page
    await show(page, sid)
    for text in texts:
        await expect(page.locator("main")).to_contain_text(text)
    await expect(page.locator(".call-wave")).to_have_count(0)
    if sid == recorded.LIVE:
        link = page.get_by_role("link", name="Listen and act on it")
        await expect(link).to_have_attribute("href", f"/live/{sid}")
        await page.get_by_role("tab", name="Wire log").click()
        await expect(page.get_by_text("offhook serve --capture")).to_be_visible()


async def test_filters_are_in_the_address_bar_and_survive_a_reload(watched: Watched) -> None:
    watched.expects("422")
    page = watched.page
    rows = page.locator(".table tbody tr")
    await expect(rows).to_have_count(50)
    await page.get_by_label("Agent").select_option("night")
    await expect(page).to_have_url(re.compile(r"\?agent=night$"))
    await expect(page.get_by_label("Totals")).to_contain_text(f"Calls{recorded.SHORT // 2}")
    await page.get_by_role("link", name="Older").click()
    await expect(rows).to_have_count(recorded.SHORT // 2 - 50)
    await page.go_back()
    await expect(rows).to_have_count(50)
    await page.get_by_role("button", name="Show all calls").click()
    await page.get_by_label("Said in the call").fill("on a SUNDAY")
    await expect(page).to_have_url(re.compile("text=on"))
    await expect(rows).to_have_count(2)
    await page.reload()
    await expect(page.get_by_label("Said in the call")).to_have_value("on a SUNDAY")
    await expect(rows).to_have_count(2)
    await page.get_by_label("Number").fill("12")
    await expect(page.get_by_role("alert")).to_contain_text("number is no number in E.164")
    await page.goto(page.url.partition("?")[0] + "?slug=caller_hung_up&text=nobody+said+this")
    await expect(page.get_by_text("No call matches")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious(
    browser: Browser, full: ConsoleServer, scheme: str
) -> None:
    sizes = {"light": {"width": 1400, "height": 900}, "dark": {"width": 390, "height": 844}}
    async with full.page(browser, LIST, color_scheme=scheme, viewport=sizes[scheme]) as made:
        made.expects("404")  # the recording was erased
        page = made.page
        await expect(page.locator(".table")).to_be_visible()
        calls = {"light": (None, recorded.LONG), "dark": (recorded.HOSTILE,)}
        for sid in calls[scheme]:
            if sid is not None:
                # A few entries of each kind: axe looks at every word.
                find = {recorded.LONG: "f12", recorded.HOSTILE: "bold"}[sid]
                await show(page, sid, f"?find={find}")
                await expect(page.locator(".call-row").first).to_be_visible()
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= sizes[scheme]["width"]
            assert await serious(page, ".view") == []
