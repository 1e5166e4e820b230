"""What the page hears of a live call, and speaks into it, over streams that break as scripted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page, WebSocketRoute, expect
from tests.console.chromium import Watched
from tests.console.console_server import ConsoleServer, require_built
from tests.console.scripted import SID, ScriptedServer, call, scripted
from tests.waiting import until, until_it

OTHER = "CA" + "1" * 32

ASK_LATE = """
const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
window.allow = [];
devices.getUserMedia = async (wanted) => {
  if (window.late) await new Promise((allow) => window.allow.push(allow));
  return ask(wanted);
};
"""
"""A browser that asks for the microphone until the test allows it, once `late` is set."""


class Streams:
    """The server's ends of the streams that the page has opened, oldest first."""

    def __init__(self) -> None:
        self.opened: list[WebSocketRoute] = []
        self.closed: list[WebSocketRoute] = []

    def answer(self, stream: WebSocketRoute) -> None:
        self.opened.append(stream)
        stream.on_close(lambda code, reason: self.closed.append(stream))
        if stream.url.endswith("take-over"):
            stream.send('{"event": "taken", "by": "ada"}')

    async def lose(self) -> None:
        """Break off the last one."""
        await self.opened[-1].close(code=1011)


class Operator:
    """A person at the page, and what the page has asked the server."""

    def __init__(self, watched: Watched, server: ScriptedServer, streams: Streams) -> None:
        self.page: Page = watched.page
        self.server = server
        self.streams = streams

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def take_over(self) -> None:
        await self.press("Take over")
        await expect(self.page.get_by_text("You speak with the caller.")).to_be_visible()

    @property
    def taken(self) -> int:
        """Requests to take over."""
        return sum(len(self.server.sent("POST", f"/calls/{sid}/take-over")) for sid in (SID, OTHER))

    @property
    def handed_back(self) -> int:
        return len(self.server.sent("POST", f"/calls/{SID}/hand-back"))

    def is_taken_by(self, name: str) -> None:
        """Have the server say, from the next load on, who speaks with the caller."""
        snapshot = {"last_event_id": "r-1", "calls": [call(taken_by=name)], "nodes": []}
        self.server.answers["GET /api/v1/live/snapshot"] = (200, snapshot)

    def is_signed_in(self, name: str) -> None:
        """Have the tab be this user's from the next load on."""
        session = {"name": name, "role": "admin", "csrf": "a-token", "version": "1"}
        self.server.answers["GET /api/v1/session"] = (200, session)

    async def lose_while_the_microphone_is_asked_for(self) -> None:
        """Lose the connection; the retry then waits for the microphone until it is allowed."""
        await self.page.evaluate("window.late = true")
        await self.streams.lose()
        await until_it(lambda: self.page.evaluate("window.allow.length > 0"))

    async def allow(self) -> None:
        """Give the microphone to the retry, and wait until the page has given it back."""
        await self.page.evaluate("window.allow.splice(0).forEach((allow) => allow())")
        released = "window.tracks.length === 2 && window.unreleased === 0"
        await until_it(lambda: self.page.evaluate(released))


def answers(sid: str) -> dict[str, Any]:
    done = (200, {"done": True, "what": "The agent has the caller again."})
    made = f"/console/streams/{sid}"
    return {
        f"POST /api/v1/calls/{sid}/take-over": (200, {"stream": f"{made}/take-over"}),
        f"POST /api/v1/calls/{sid}/listening": (200, {"stream": f"{made}/listening"}),
        f"POST /api/v1/calls/{sid}/hand-back": done,
        f"GET /api/v1/calls/{sid}": (200, {"timeline": []}),
    }


@asynccontextmanager
async def operator(browser: Browser, server: ConsoleServer) -> AsyncIterator[Operator]:
    """Open a live call on a page that a scripted API tells of two.

    The page itself is the real server's: Chromium loads an audio worklet past what is routed.
    """
    require_built()
    api = scripted(call(), call(call_sid=OTHER), **answers(SID), **answers(OTHER))
    api.answers["DELETE /api/v1/session"] = (204, "")
    streams = Streams()
    async with server.page(browser, "/docs", microphone=True) as watched:
        await watched.page.route(f"{server.url}/api/**", api.handle)
        await watched.page.route_web_socket(lambda url: "/console/streams/" in url, streams.answer)
        await watched.page.add_init_script(ASK_LATE + MICROPHONES)
        await watched.page.goto(f"{server.url}/live/{SID}")
        yield Operator(watched, api, streams)


MICROPHONES = """
window.tracks = [];
const given = devices.getUserMedia;
devices.getUserMedia = async (wanted) => {
  const stream = await given(wanted);
  window.tracks.push(...stream.getTracks());
  return stream;
};
Object.defineProperty(window, "unreleased", {
  get: () => window.tracks.filter((track) => track.readyState === "live").length,
});
"""
"""Counts the tracks of the microphone that the page has not given back."""


async def hand_back_on_the_panel(one: Operator) -> None:
    await one.press("Hand back to the agent")


async def hand_back_on_the_banner(one: Operator) -> None:
    await one.page.get_by_role("link", name="All live calls").click()
    await one.press("Hand back")


async def listen_to_another(one: Operator) -> None:
    await one.page.evaluate(f"history.pushState(null, '', '/live/{OTHER}')")
    await one.page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")
    await one.press("Listen")
    await expect(one.page.get_by_text("You hear both sides.")).to_be_visible()


@pytest.mark.parametrize(
    "end", [hand_back_on_the_panel, hand_back_on_the_banner, listen_to_another]
)
async def test_a_lost_take_over_that_the_person_ends_does_not_come_back(
    browser: Browser, server: ConsoleServer, end: Any
) -> None:
    async with operator(browser, server) as one:
        await one.take_over()
        await one.lose_while_the_microphone_is_asked_for()
        await end(one)
        await until(lambda: one.handed_back == 1)
        await one.allow()
        assert one.taken == 1
        await expect(one.page.get_by_text("You speak with")).to_have_count(0)
        if end is listen_to_another:
            await expect(one.page.get_by_role("button", name="Stop listening")).to_be_visible()
            assert one.streams.opened[-1] not in one.streams.closed


async def test_only_the_user_and_the_tab_that_were_cut_off_are_told(
    browser: Browser, server: ConsoleServer
) -> None:
    async with operator(browser, server) as one:
        told = one.page.get_by_text("You were cut off while you spoke with the caller.")
        await one.take_over()
        # A duplicate of the tab gets a copy of what it has stored.
        assert await one.page.evaluate("Object.values(sessionStorage)") == []
        one.is_taken_by("ada")
        await one.page.reload()
        await expect(told).to_be_visible()
        one.is_signed_in("grace")
        await one.page.reload()
        await expect(one.page.get_by_role("button", name="Listen")).to_be_visible()
        await expect(told).to_have_count(0)
        one.is_signed_in("ada")
        await one.page.reload()
        await expect(told).to_be_visible()
        await one.press("Leave it to the agent")
        await until(lambda: one.handed_back == 1)
        await expect(told).to_have_count(0)


async def test_whoever_signs_out_speaks_no_more_and_is_not_told_that_they_were_cut_off(
    browser: Browser, server: ConsoleServer
) -> None:
    async with operator(browser, server) as one:
        await one.take_over()
        await one.press("Sign out")
        await until(lambda: one.streams.closed)
        await one.page.reload()
        await expect(one.page.get_by_role("button", name="Take over")).to_be_visible()
        await expect(one.page.get_by_text("You were cut off")).to_have_count(0)
