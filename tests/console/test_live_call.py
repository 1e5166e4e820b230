"""A live call, by two people at their consoles, and on the caller's side of the wire."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Page, Request, expect
from tests.console import chromium
from tests.console.calls import kept_call
from tests.console.console_server import (
    BYE,
    GREETING,
    HOURS,
    OPEN,
    ORDER,
    ConsoleServer,
    require_built,
    sign_in_as,
)
from tests.console.microphones import HIDE
from tests.console.played import Loudspeaker, reached, share
from tests.waiting import until, until_it
from tests.whole_server import voice

from offhook import audio


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
        await server.add_operator(name)
        await watched.page.goto(server.url + path)
        await sign_in_as(watched.page, name)
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

            await ada.get_by_role("button", name="Mute the agent").click()
            await expect(grace.get_by_text("open, muted")).to_be_visible()
            await grace.get_by_role("button", name="Unmute the agent").click()
            await expect(ada.get_by_role("button", name="Mute the agent")).to_be_visible()

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

            await ada.keyboard.press("x")
            await ada.get_by_label("To", exact=True).select_option("billing")
            await ada.get_by_label("What they should know").fill("They ask about a bill.")
            await ada.get_by_role("button", name="Transfer", exact=True).click()
            await expect(grace.get_by_text("with billing", exact=True)).to_be_visible()

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
            await page.get_by_role("button", name="Hand back without a word").click()
            await expect(page.get_by_role("button", name="Take over")).to_be_visible()
            await page.reload()
            await expect(page.get_by_role("button", name="Take over")).to_be_visible()
            await expect(cut_off).to_have_count(0)
        call.person.hang_up()
        await call.ended()


async def test_whoever_begins_to_listen_in_mid_answer_is_less_than_half_a_second_behind(
    browser: Browser, server: ConsoleServer
) -> None:
    require_built()
    answer, question = voice(OPEN), voice(ORDER)
    behind_ms: dict[bytes, list[float]] = {answer: [], question: []}
    async with (
        kept_call(server.public_url) as call,
        server.page(browser, None) as watched,
    ):
        page, person = watched.page, call.person
        loudspeaker = Loudspeaker(page)
        await loudspeaker.tap()
        await page.goto(f"{server.url}/live/{call.sid}")
        await person.until_heard(GREETING)
        await person.until_quiet()
        person.say(HOURS)
        await person.until_heard_some(OPEN)
        await page.get_by_role("button", name="Listen", exact=True).click()

        async def is_heard(clip: bytes, rest: bytes, place: Callable[[], int | None]) -> bool:
            # The page is asked first, so that it is not thought ahead of where it is.
            here = reached(clip, await loudspeaker.listen())
            there = place()
            if here is not None and there is not None:
                behind_ms[clip].append((there - here) / audio.BYTES_PER_MS)
            return share(rest, loudspeaker.heard) > 0.9

        # On a busy machine the click may take long: the last second is the rest at least.
        rest = answer.strip(audio.SILENCE)[-audio.BYTES_PER_SECOND :]
        await until_it(lambda: is_heard(answer, rest, lambda: reached(answer, bytes(person.heard))))
        await person.until_quiet()
        person.say(ORDER)
        said = person.unsaid
        await until_it(lambda: is_heard(question, question, lambda: said - person.unsaid))
    await call.ended()
    for clip, measured in behind_ms.items():
        assert measured, len(clip)
        # The least of them: each has what this process and the page were late by themselves.
        assert min(measured) < 500, measured


async def test_a_page_that_nobody_sees_holds_no_stream_and_then_shows_what_it_missed(
    browser: Browser, server: ConsoleServer
) -> None:
    require_built()
    ended: list[str] = []
    snapshots = 0

    def keep(request: Request) -> None:
        if "/api/v1/live?" in request.url:
            ended.append(request.url)

    def count(request: Request) -> None:
        nonlocal snapshots
        snapshots += request.url.endswith("/live/snapshot")

    async def until_ended(count: int) -> None:
        """Let time pass for the page until so many of its live streams have ended."""
        while len(ended) < count:
            await page.clock.fast_forward(1000)

    async with server.page(browser, None) as watched:
        page = watched.page
        await page.clock.install()
        page.on("requestfailed", keep)
        page.on("request", count)
        await page.goto(server.url + "/live")
        await expect(page.get_by_text("Connected", exact=True)).to_be_visible()
        await page.evaluate(HIDE, True)
        await page.clock.fast_forward(29_000)
        assert ended == []
        await until_ended(1)
        async with kept_call(server.public_url) as call:
            await call.person.until_heard(GREETING)
            row = page.locator(f"a[href='/live/{call.sid}']").first
            await expect(row).to_have_count(0)
            await page.evaluate(HIDE, False)
            await expect(row).to_be_visible()
            assert snapshots == 1, "it goes on behind the last event"

            # A page on which somebody listens goes on in the background.
            await row.click()
            await page.get_by_role("button", name="Listen", exact=True).click()
            await expect(page.get_by_text("You hear both sides.")).to_be_visible()
            await page.evaluate(HIDE, True)
            await page.clock.fast_forward(31_000)
            call.person.say(HOURS)
            await expect(page.get_by_role("log")).to_contain_text(HOURS)
            await page.get_by_role("button", name="Stop listening").click()
            await until_ended(len(ended) + 1)
        await call.ended()
