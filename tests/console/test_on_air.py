"""What the page hears of a live call, and speaks into it, over streams that break as scripted."""

import json
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page, WebSocketRoute, expect
from tests.console.chromium import Watched
from tests.console.console_server import HOURS, OPEN, ConsoleServer, require_built
from tests.console.microphones import CONTEXTS, MICROPHONES
from tests.console.played import Loudspeaker, share
from tests.console.scripted import SID, ScriptedServer, call, problem, scripted
from tests.waiting import until, until_it
from tests.whole_server import voice

from offhook import audio

OTHER = "CA" + "1" * 32


class Streams:
    """The server's ends of the streams that the page has opened, oldest first."""

    def __init__(self) -> None:
        self.opened: list[WebSocketRoute] = []
        self.closed: list[WebSocketRoute] = []
        self.heard: list[bytes] = []
        """The operator's voice, in frames."""
        self.has_room = True
        """False: somebody else has taken the call over."""

    def answer(self, stream: WebSocketRoute) -> None:
        self.opened.append(stream)
        stream.on_close(lambda code, reason: self.closed.append(stream))
        if stream.url.endswith("take-over"):
            stream.on_message(
                lambda text: self.heard.append(b64decode(json.loads(text)["payload"]))
            )
            taken = {"event": "taken", "by": "ada"}
            refused = {"event": "refused", "by": "grace", "why": "grace speaks with the caller"}
            stream.send(json.dumps(taken if self.has_room else refused))

    def play(self, ms: int, sound: bytes) -> None:
        """Send the agent's voice, of a time in the call, to whoever listens."""
        payload = b64encode(sound).decode()
        self.opened[-1].send(
            json.dumps({"event": "media", "track": "agent", "ms": ms, "payload": payload})
        )

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

    def may_take_over(self, *, is_up: bool) -> None:
        """Have the server answer requests to take over, or be away."""
        made = (200, {"stream": f"/console/streams/{SID}/take-over"})
        away = problem(503, "The call process does not answer.")
        self.server.answers[f"POST /api/v1/calls/{SID}/take-over"] = made if is_up else away

    async def hold_time(self) -> None:
        """Have the page's timers fire in `pass_time` alone."""
        await self.page.clock.pause_at(time.time() + 3600)

    async def pass_time(self, until_taken: int) -> int:
        """Let time pass until the call was asked for so often; return the milliseconds."""
        passed_ms = 0
        while self.taken < until_taken:
            await self.page.clock.run_for(100)
            passed_ms += 100
        return passed_ms

    async def until_released(self) -> None:
        """Wait until the page holds no microphone."""
        await until_it(lambda: self.page.evaluate("window.unreleased === 0"))

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
async def operator(
    browser: Browser, server: ConsoleServer, *, clock: bool = False
) -> AsyncIterator[Operator]:
    """Open a live call on a page that a scripted API tells of two; `clock`: its time is the test's.

    The page itself is the real server's: Chromium loads an audio worklet past what is routed.
    """
    require_built()
    api = scripted(call(), call(call_sid=OTHER), **answers(SID), **answers(OTHER))
    api.answers["DELETE /api/v1/session"] = (204, "")
    streams = Streams()
    async with server.page(browser, None, microphone=True) as watched:
        await watched.page.route(f"{server.url}/api/**", api.handle)
        await watched.page.route_web_socket(lambda url: "/console/streams/" in url, streams.answer)
        await watched.page.add_init_script(MICROPHONES + CONTEXTS)
        if clock:
            await watched.page.clock.install()
            watched.expects("503")  # the browser tells of each such answer
        await watched.page.goto(f"{server.url}/live/{SID}")
        yield Operator(watched, api, streams)


async def hand_back_on_the_panel(one: Operator) -> None:
    await one.press("Hand back to the agent")
    await expect(one.page.get_by_text("Hand back without a word?")).to_be_visible()
    assert one.handed_back == 0
    await one.press("Hand back without a word")


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


async def sign_out(one: Operator) -> None:
    await one.press("Sign out")


@pytest.mark.parametrize("end", [hand_back_on_the_panel, listen_to_another, sign_out])
async def test_a_lost_take_over_that_ends_between_two_attempts_does_not_come_back(
    browser: Browser, server: ConsoleServer, end: Any
) -> None:
    async with operator(browser, server, clock=True) as one:
        await one.take_over()
        await one.hold_time()
        one.may_take_over(is_up=False)
        await one.streams.lose()
        await one.pass_time(until_taken=2)
        await one.until_released()
        await end(one)
        await until(lambda: one.handed_back == 1)
        one.may_take_over(is_up=True)
        await one.page.clock.run_for(5000)
        assert one.taken == 2
        assert await one.page.evaluate("window.unreleased === 0")


async def test_a_call_that_is_lost_is_asked_for_again_and_is_back_or_with_somebody_else(
    browser: Browser, server: ConsoleServer
) -> None:
    async with operator(browser, server, clock=True) as one:
        is_back = one.page.get_by_text("The connection broke off, and is back")
        await one.take_over()
        await one.hold_time()

        one.may_take_over(is_up=False)
        await one.streams.lose()
        waits_ms = [await one.pass_time(until_taken=taken) for taken in (2, 3)]
        assert waits_ms[1] >= 700
        await expect(one.page.get_by_text("The connection broke off. Connecting")).to_be_visible()
        one.may_take_over(is_up=True)
        assert await one.pass_time(until_taken=4) >= 1500
        await expect(one.page.get_by_text("You speak with the caller.")).to_be_visible()
        await expect(is_back).to_be_visible()
        await is_back.locator("xpath=../..").get_by_role("button", name="Close").click()

        one.streams.has_room = False
        await one.streams.lose()
        await one.pass_time(until_taken=5)
        refused = one.page.get_by_text("You do not have the call: grace speaks with the caller.")
        await expect(refused).to_be_visible()
        await expect(one.page.get_by_role("button", name="Take over")).to_be_visible()
        await expect(is_back).to_have_count(0)
        await one.until_released()
        await one.page.clock.run_for(5000)
        assert one.taken == 5


async def test_a_call_that_cannot_be_had_back_is_the_agents_until_the_person_goes_on(
    browser: Browser, server: ConsoleServer
) -> None:
    async with operator(browser, server, clock=True) as one:
        await one.take_over()
        await one.hold_time()
        one.may_take_over(is_up=False)
        await one.streams.lose()
        await one.pass_time(until_taken=4)
        told = "The caller is with the agent again: The call process does not answer."
        await expect(one.page.get_by_text(told)).to_be_visible()
        await one.page.clock.run_for(5000)
        assert one.taken == 4
        one.may_take_over(is_up=True)
        await one.press("Go on speaking")
        await expect(one.page.get_by_text("You speak with the caller.")).to_be_visible()


async def test_what_keeps_an_operators_voice_or_ear_from_the_call_is_told_with_the_way_on(
    browser: Browser, server: ConsoleServer
) -> None:
    async with operator(browser, server) as one:
        page = one.page
        await page.evaluate("window.refused = true")
        await one.press("Take over")
        fix = page.get_by_text("Allow it by the symbol beside the address, and take over again")
        await expect(fix).to_contain_text("or write under Say what the agent shall say")
        await page.evaluate("window.refused = false")

        await one.take_over()
        await until(lambda: b"".join(one.streams.heard).strip(audio.SILENCE))
        await page.evaluate("unplug()")
        gone = page.get_by_role("alert").filter(has_text="The microphone is gone")
        await expect(gone).to_contain_text("the caller hears silence. Connect one, or hand back.")
        await one.press("Use the microphone")
        await expect(gone).to_have_count(0)
        one.streams.heard.clear()
        await until(lambda: b"".join(one.streams.heard).strip(audio.SILENCE))

        await page.evaluate("contexts.at(-1).suspend()")
        held = page.get_by_role("alert").filter(has_text="you do not hear the caller")
        await expect(held).to_contain_text("The browser holds the sound back")
        await one.press("Turn the sound on")
        await expect(held).to_have_count(0)


async def test_a_pause_of_the_network_makes_no_listener_late(
    browser: Browser, server: ConsoleServer
) -> None:
    # An operator has the call: their voice, on the agent's track, never pauses.
    late, now = voice(OPEN)[:24000], voice(HOURS)
    async with operator(browser, server) as one:
        loudspeaker = Loudspeaker(one.page)
        await loudspeaker.tap()
        await one.page.reload()
        await one.press("Listen")
        await expect(one.page.get_by_text("You hear both sides.")).to_be_visible()
        began = time.monotonic()

        def ms() -> int:
            return round((time.monotonic() - began) * 1000)

        one.streams.play(0, audio.silence(100))
        await until(lambda: ms() > 3500)
        for at in range(0, len(late), 800):
            one.streams.play(100 + at // audio.BYTES_PER_MS, late[at : at + 800])

        async def is_now() -> bool:
            one.streams.play(ms(), now)
            await loudspeaker.listen()
            return share(now, loudspeaker.heard) > 0.9

        await until_it(is_now)
        assert share(late[:16000], loudspeaker.heard) < 0.1


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
