"""The page around its views, and the live views, with a server that misbehaves as scripted."""

import json
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from tests.console.axe import violations
from tests.console.console_server import require_built
from tests.console.scripted import (
    SID,
    URL,
    Answer,
    call,
    is_wider_than_its_window,
    problem,
    scripted,
    scripted_page,
)
from tests.waiting import until

HOSTILE = [
    "<img src=x onerror=\"window.hit='img'\">",
    "<script>window.hit='script'</script>",
    "</textarea><svg/onload=window.hit=1>",
    "javascript:window.hit=1",
    "{{constructor.constructor('window.hit=1')()}}",
    "\u202egnp.exe \u2066\u0000\ufeff",
    "A" * 3000,
]
CALL = f"/live/{SID}"
POSTS = f"POST /api/v1/calls/{SID}"


@pytest.fixture(autouse=True)
def built() -> None:
    require_built()


async def test_a_one_time_link_signs_in_and_leaves_the_address(browser: Browser) -> None:
    server = scripted()
    server.answers["GET /api/v1/session"] = problem(401, "Nobody is signed in.")
    async with scripted_page(browser, server, "/enter#the-code") as watched:
        watched.expects("401")
        await expect(watched.page.get_by_role("heading", name="No call is live")).to_be_visible()
        assert server.sent("POST", "/session") == [{"code": "the-code"}]
        assert watched.page.url == f"{URL}/live"


async def test_a_session_that_ends_is_told_and_continues_where_it_was(browser: Browser) -> None:
    server = scripted(call())
    server.answers[f"{POSTS}/tell"] = problem(401, "The session has ended.")
    async with scripted_page(browser, server, CALL) as watched:
        watched.expects("401")
        page = watched.page
        await expect(page.get_by_role("heading", name="Act on this call")).to_be_visible()
        await page.keyboard.press("w")
        await expect(page.get_by_role("textbox")).to_be_focused()
        await page.keyboard.type("be kind")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Your session has ended.")).to_be_visible()
        assert await violations(page) == []
        await page.get_by_label("Name").fill("ada")
        await page.get_by_label("Password").fill("a password")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="+12025550142")).to_be_visible()
        assert page.url == URL + CALL


async def test_a_lost_stream_is_told_and_resumed_behind_its_last_event(browser: Browser) -> None:
    began = {"call_sid": SID, "at_ms": 9, "event": {}, "words": "x", "call": {"turns": 1}}
    server = scripted(call())
    first = f"id: r-7\nevent: CallStarted\ndata: {json.dumps(began)}\n\n"
    server.answers["GET /api/v1/live"] = (200, first)
    asked: list[str] = []
    async with scripted_page(browser, server, "/live") as watched:
        watched.page.on("request", lambda request: asked.append(request.url))
        await expect(watched.page.get_by_text("What is shown may be old.")).to_be_visible()
        await expect(watched.page.get_by_text("+12025550142")).to_be_visible()
        await watched.page.get_by_role("button", name="Try now").click()
        await until(lambda: f"{URL}/api/v1/live?after=r-7" in asked)
        assert await violations(watched.page) == []


async def test_the_node_of_a_call_is_shown_and_that_it_is_away(browser: Browser) -> None:
    nodes = [
        {"name": "a", "state": "up", "live": 1, "capacity": 50},
        {"name": "b", "state": "away", "live": 1, "capacity": 50},
    ]
    other = "CA" + "1" * 32
    server = scripted(call(node="a"), call(call_sid=other, node="b"), nodes=nodes)
    async with scripted_page(browser, server, "/live") as watched:
        rows = watched.page.locator(".live-row")
        await expect(rows).to_have_count(2)
        await expect(rows.filter(has_text="node a")).not_to_contain_text("away")
        await expect(watched.page.get_by_text("node b, away")).to_be_visible()


async def test_after_a_restart_the_snapshot_is_taken_again(browser: Browser) -> None:
    server = scripted(call())
    gaps = iter(["id: s-0\nevent: gap\ndata: {}\n\n"])
    moved = call(**{"from": "+12025550199"})
    fresh = {"last_event_id": "s-0", "calls": [moved], "nodes": []}

    def live() -> Answer:
        gap = next(gaps, None)
        if gap is not None:
            server.answers["GET /api/v1/live/snapshot"] = (200, fresh)
        return 200, gap or "id: s-0\n\n"

    server.answers["GET /api/v1/live"] = live
    async with scripted_page(browser, server, "/live") as watched:
        await expect(watched.page.get_by_text("+12025550199")).to_be_visible()
        await expect(watched.page.get_by_text("+12025550142")).to_have_count(0)


async def test_a_server_that_is_away_is_told(browser: Browser) -> None:
    server = scripted()
    server.answers["GET /api/v1/session"] = (502, "<html>a proxy's page</html>")
    async with scripted_page(browser, server, "/live") as watched:
        watched.expects("502")
        await expect(watched.page.get_by_text("The server answered 502")).to_be_visible()
        server.answers["GET /api/v1/session"] = scripted().answers["GET /api/v1/session"]
        await watched.page.get_by_role("button", name="Try again").click()
        await expect(watched.page.get_by_role("heading", name="No call is live")).to_be_visible()


def timeline(text: str) -> list[dict[str, Any]]:
    said = {"kind": "utterance", "start_ms": 0, "end_ms": 9, "interrupted": False, "heard_ms": 0}
    both = [
        {**said, "at_ms": at, "who": who, "text": text, "intended": text, "estimated": False}
        for at, who in enumerate(("caller", "agent"))
    ]
    function = {"kind": "function", "at_ms": 3, "id": text, "name": text, "arguments": text}
    return [*both, {**function, "outcome": "answered", "content": text, "after_ms": 1}]


async def test_texts_of_calls_are_text(browser: Browser) -> None:
    text = "\n".join(HOSTILE)
    row = call(
        **{"from": text}, agent=text, trouble=text, last_words={"who": "caller", "text": text}
    )
    server = scripted(row)
    server.answers[f"GET /api/v1/calls/{SID}"] = (200, {"timeline": timeline(text)})
    async with scripted_page(browser, server, "/live", viewport={"width": 320, "height": 600}) as w:
        await expect(w.page.get_by_role("listitem").filter(has_text="onerror")).to_be_visible()
        assert not await is_wider_than_its_window(w.page)
        await w.page.goto(URL + CALL)
        log = w.page.get_by_role("log")
        await expect(log.get_by_text("window.hit='script'").first).to_be_visible()
        for summary in await log.locator("summary").all():
            await summary.click()
        assert await log.locator("img, svg, script, textarea, iframe").count() == 0
        assert await w.page.evaluate("window.hit") is None
        assert not await is_wider_than_its_window(w.page)


async def test_a_button_tells_what_happened_and_not_what_was_asked(browser: Browser) -> None:
    server = scripted(call())
    server.answers[f"{POSTS}/say"] = problem(409, "It was not done: the caller speaks.", "Wait.")
    server.answers[f"{POSTS}/prompt"] = (200, {"done": True, "what": "the prompt was added to"})
    async with scripted_page(browser, server, CALL) as watched:
        watched.expects("409")
        page = watched.page
        await expect(page.get_by_role("heading", name="Act on this call")).to_be_visible()
        await page.keyboard.press("s")
        await expect(page.get_by_label("To the caller")).to_be_focused()
        await page.keyboard.type("one moment")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("It was not done: the caller speaks.")).to_be_visible()
        await expect(page.get_by_label("To the caller")).to_have_value("one moment")
        await page.get_by_role("tab", name="Whisper").click()
        await page.get_by_label("How").select_option("prompt")
        await page.get_by_label("To the agent").fill("be kind")
        await page.get_by_role("button", name="Whisper").click()
        await expect(page.get_by_text("The prompt was added to")).to_be_visible()
        assert server.sent("POST", f"/calls/{SID}/prompt") == [{"prompt": "be kind"}]
        headers = next(h for m, p, _, h in server.asked if p.endswith("/prompt"))
        assert headers["x-offhook-csrf"] == "a-token"


async def test_what_cannot_be_done_says_why(browser: Browser) -> None:
    async with scripted_page(browser, scripted(call(), role="viewer"), CALL) as watched:
        for name in ("Listen", "Take over", "Mute the agent", "Transfer…", "Hang up…", "Whisper"):
            button = watched.page.get_by_role("button", name=name)
            await expect(button).to_have_attribute("aria-disabled", "true")
            await expect(button).to_have_accessible_description(
                "Your role is viewer: it sees calls, and changes nothing."
            )
    taken = scripted(call(taken_by="grace", agent_state="muted"))
    async with scripted_page(browser, taken, CALL) as watched:
        button = watched.page.get_by_role("button", name="Take over")
        await expect(button).to_have_accessible_description(
            "grace speaks with the caller. Ask them to hand back."
        )
        await expect(watched.page.get_by_text("grace speaks with the caller").first).to_be_visible()


async def test_a_call_is_opened_and_ended_without_a_mouse(browser: Browser) -> None:
    rows = [call(), call(call_sid="CA" + "1" * 32, trouble="the agent was lost")]
    server = scripted(*rows)
    server.answers[f"{POSTS}/hang-up"] = (200, {"done": True, "what": "the call was ended"})
    async with scripted_page(browser, server, "/live") as watched:
        page = watched.page
        links = page.get_by_role("main").get_by_role("link")
        await expect(links.first).to_contain_text("the agent was lost")
        await page.keyboard.press("?")
        dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
        await expect(dialog).to_contain_text("Next call")
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        await page.keyboard.press("j")
        await page.keyboard.press("j")
        await expect(links.nth(1)).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Act on this call")).to_be_visible()
        await page.keyboard.press("h")
        await expect(page.get_by_label("Last words")).to_be_focused()
        await page.keyboard.type("Goodbye")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("The call was ended")).to_be_visible()
        assert server.sent("POST", f"/calls/{SID}/hang-up") == [{"farewell": "Goodbye"}]
        heading = page.get_by_role("heading", name="Live", exact=True)
        # Two keys are one shortcut if they come within 1.2 s, which a busy machine may miss.
        while not await heading.is_visible():
            await page.keyboard.press("g")
            await page.keyboard.press("l")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_live_views_are_accessible_at_400_percent_too(
    browser: Browser, scheme: str
) -> None:
    row = call(last_words={"who": "agent", "text": "Hello."}, trouble="slow", turn_ms=2400)
    server = scripted(row)
    server.answers[f"GET /api/v1/calls/{SID}"] = (200, {"timeline": timeline("Hello.")})
    async with scripted_page(browser, server, "/live", color_scheme=scheme) as watched:
        for path in ("/live", CALL):
            await watched.page.goto(URL + path)
            await expect(watched.page.get_by_role("heading", level=1)).to_be_visible()
            # 320 by 256 is a window of 1280 by 1024 at 400 %.
            for width, height in ((1280, 800), (320, 256)):
                await watched.page.set_viewport_size({"width": width, "height": height})
                assert await violations(watched.page) == [], (path, width)
                assert not await is_wider_than_its_window(watched.page), (path, width)
