"""The softphone: a call from the page on the path of a telephone call, and what goes wrong."""

import base64
import json
import os
import signal
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Response, WebSocket, WebSocketRoute, expect
from tests.console.chromium import Watched, chromium
from tests.console.console_server import (
    GREETING,
    HOURS,
    OPEN,
    ConsoleServer,
    console_server,
    require_built,
    sign_in_as,
)
from tests.console.microphones import CONTEXTS, HIDE, MICROPHONES
from tests.console.played import Loudspeaker, share
from tests.console.views import drawn
from tests.waiting import until, until_it
from tests.whole_server import voice

from offhook import audio
from offhook.recordings.wav import LINEAR
from offhook.testing.simulator.deepgram.script import Script, ScriptTurn

ALWAYS_OPEN = Script(turns=[], fallback=ScriptTurn(hear=HOURS, say=[OPEN]), silence_ms=400)
"""A stand-in that answers every question with its opening hours."""

PAUSES_MS = (3000, 6000, 2000, 6000, 2000, 6000, 2000, 6000, 2000, 6000)
"""Silence before each question: the answer is heard out, or is interrupted."""


class Call:
    """The view, its loudspeaker, and what passed over its stream, as Twilio's messages."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.page = watched.page
        self.loudspeaker = Loudspeaker(watched.page)
        self.sent: list[dict[str, Any]] = []
        self.received: list[dict[str, Any]] = []
        self.page.on("websocket", self._watch)

    def _watch(self, socket: WebSocket) -> None:
        socket.on("framesent", lambda text: self.sent.append(json.loads(text)))
        socket.on("framereceived", lambda text: self.received.append(json.loads(text)))

    @property
    def is_cleared(self) -> bool:
        return any(one["event"] == "clear" for one in self.received)

    @property
    def marks(self) -> tuple[list[str], list[str]]:
        """Names of the marks that the server has set, and of those that came back."""
        sides = (self.received, self.sent)
        of = [[one["mark"]["name"] for one in side if one["event"] == "mark"] for side in sides]
        return of[0], of[1]

    def frames(self) -> list[bytes]:
        """Return the caller's audio."""
        media = [one["media"] for one in self.sent if one["event"] == "media"]
        return [base64.b64decode(one["payload"]) for one in media]

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def until_live(self) -> None:
        """Wait until the agent's first words have come."""
        await until(lambda: any(one["event"] == "media" for one in self.received))

    async def record(self, server: ConsoleServer) -> dict[str, Any]:
        """Return the record of the page's last call, once it is over."""
        (*_, start) = (one["start"] for one in self.sent if one["event"] == "start")
        found: dict[str, Any] = {}

        async def is_over() -> bool:
            answer = await ask(server, f"/calls/{start['callSid']}")
            if answer.status_code == 200:
                found.update(answer.json())
            return bool(found) and found["call"]["slug"] is not None

        await until_it(is_over)
        return found


async def ask(server: ConsoleServer, path: str) -> httpx2.Response:
    """Ask the server's API."""
    async with httpx2.AsyncClient(
        trust_env=False, verify=False, headers=server.serving.headers
    ) as http:
        return await http.get(f"{server.url}/api/v1{path}")


async def answers(server: ConsoleServer, path: str) -> bool:
    """Return whether a path of the API is answered as it should be."""
    return (await ask(server, path)).status_code == 200


@asynccontextmanager
async def phone(
    browser: Browser, server: ConsoleServer, script: str = "", **options: Any
) -> AsyncIterator[Call]:
    """Open the Phone view; `script` runs in the page before its own."""
    require_built()
    async with server.page(browser, None, **options) as watched:
        # The record of a call comes moments after its beginning, and a process may be away.
        watched.expects("Failed to load resource")
        call = Call(watched)
        await call.loudspeaker.tap()
        if script:
            await call.page.add_init_script(script)
        await call.page.goto(server.url + "/phone?agent=reception")
        yield call


async def is_drawn(page: Page) -> bool:
    """Return whether the page of a call shows the wave of both sides."""
    return await drawn(page) == [True, True]


def write_wav(path: Path, sound: bytes) -> None:
    """Write mu-law as a file that Chromium's microphone plays."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.BYTES_PER_SECOND)
        file.writeframes(b"".join(LINEAR[one].to_bytes(2, "little", signed=True) for one in sound))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def talking(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Browser, ConsoleServer]]:
    """A Chromium whose microphone asks questions, and a server of its own that may be killed."""
    folder = tmp_path_factory.mktemp("phone")
    question = voice(HOURS)
    path = folder / "questions.wav"
    write_wav(path, b"".join(audio.silence(ms) + question for ms in PAUSES_MS))
    async with (
        console_server(folder / "server", script=ALWAYS_OPEN) as server,
        chromium(path) as browser,
    ):
        yield browser, server


async def test_a_person_talks_to_the_agent_interrupts_it_and_hangs_up(
    talking: tuple[Browser, ConsoleServer],
) -> None:
    browser, server = talking
    async with phone(browser, server, microphone=True) as call:
        page = call.page
        await page.get_by_label("guest").fill("Ada")
        await call.press("Call")

        async def is_answered_and_cleared() -> bool:
            return call.is_cleared and share(voice(OPEN), await call.loudspeaker.listen()) > 0.9

        await until_it(is_answered_and_cleared)
        assert share(voice(GREETING), call.loudspeaker.heard) > 0.9
        await page.keyboard.press("4")
        await call.press("hash")
        await expect(page.get_by_label("Keys pressed")).to_have_text("4#")
        await expect(page.get_by_role("log")).to_contain_text(OPEN)
        # Twilio returns every mark: of what was played, and of what was thrown away (§1.6).
        await until(lambda: call.marks[0] == call.marks[1])
        await call.press("Hang up h")
        await expect(page.get_by_role("link", name="See this call")).to_be_visible()
        await expect(page.get_by_text("The call has ended:")).to_contain_text("hung up")
        record = await call.record(server)
        await server.until_stored(record["call"]["sid"])
        await page.get_by_role("link", name="See this call").click()
        await until_it(lambda: is_drawn(page))
    summary = record["call"]
    assert (summary["came_by"], summary["slug"]) == ("browser", "caller_hung_up")
    assert (summary["agent"], record["variables"]["guest"]) == ("reception", "Ada")
    said = [one for one in record["timeline"] if one["kind"] == "utterance"]
    assert any(one["interrupted"] and one["intended"] == OPEN for one in said)
    assert [one["digit"] for one in record["timeline"] if one["kind"] == "key"] == ["4", "#"]


async def test_a_call_whose_process_dies_is_told_and_the_next_one_is_made(
    talking: tuple[Browser, ConsoleServer],
) -> None:
    browser, server = talking
    async with phone(browser, server) as call:
        await call.press("Call without a microphone")
        await call.until_live()
        died = await server.serving.until_started("call")
        os.kill(died, signal.SIGKILL)
        lost = "The connection to the server was lost, and the call with it."
        await expect(call.page.get_by_role("alert").filter(has_text=lost)).to_be_visible()
        await server.serving.until_started("call", other_than=died)
        await until_it(lambda: answers(server, "/agents"))
        call.received.clear()
        again = call.page.get_by_role("button", name="Try again")  # there was nobody to ask
        call_it = call.page.get_by_role("button", name="Call without a microphone")
        await expect(again.or_(call_it).first).to_be_visible()
        if await again.is_visible():
            await again.click()
        await call_it.click()
        await call.until_live()


async def test_without_the_microphone_the_page_says_why_and_calls_all_the_same(
    browser: Browser, server: ConsoleServer
) -> None:
    # Nobody answers Chromium's question here, which is a refusal.
    async with phone(browser, server) as call:
        await call.press("Call")
        await expect(call.page.get_by_role("alert")).to_contain_text(
            "This page was refused the microphone."
        )
        await call.press("Call without a microphone")
        await call.until_live()
        await expect(call.page.get_by_text("You call without a microphone:")).to_be_visible()
        await until(lambda: len(call.frames()) > 10)
        assert set(b"".join(call.frames())) == set(audio.SILENCE)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NotFoundError", "The browser finds no microphone."),
        ("NotReadableError", "The microphone cannot be opened"),
    ],
)
async def test_a_microphone_that_is_not_there_is_told(
    browser: Browser, server: ConsoleServer, name: str, told: str
) -> None:
    refusal = f"throw new DOMException('', '{name}')"
    script = f"navigator.mediaDevices.getUserMedia = async () => {{ {refusal}; }};"
    async with phone(browser, server, script) as call:
        await call.press("Call")
        await expect(call.page.get_by_role("alert")).to_contain_text(told)


async def test_a_page_that_browsers_do_not_trust_says_how_to_open_it(
    browser: Browser, server: ConsoleServer
) -> None:
    script = "Object.defineProperty(window, 'isSecureContext', { value: false });"
    async with phone(browser, server, script) as call:
        alert = call.page.get_by_role("alert")
        await expect(alert).to_contain_text("to https pages and to localhost alone")
        await expect(alert).to_contain_text("ssh -L")
        button = call.page.get_by_role("button", name="Call", exact=True)
        await expect(button).to_have_attribute("aria-disabled", "true")


async def test_a_browser_that_takes_no_microphone_at_another_rate_resamples(
    browser: Browser, server: ConsoleServer
) -> None:
    # As Firefox does. The worklet is then at the rate of the sound card.
    script = """
    const make = AudioContext.prototype.createMediaStreamSource;
    AudioContext.prototype.createMediaStreamSource = function (stream) {
      if (this.sampleRate === 8000) throw new DOMException("", "NotSupportedError");
      window.usedRate = this.sampleRate;
      return make.call(this, stream);
    };
    """
    async with phone(browser, server, script, microphone=True) as call:
        await call.press("Call")
        # The microphone beeps, and the greeting is heard to its end.
        await until(lambda: call.marks[0] and call.marks[0] == call.marks[1])
        await until(lambda: any(set(one) != set(audio.SILENCE) for one in call.frames()))
        assert await call.page.evaluate("() => usedRate") in (44100, 48000)
        assert {len(one) for one in call.frames()} == {audio.FRAME_BYTES}


async def test_sound_that_the_browser_holds_back_goes_on_by_a_button(
    browser: Browser, server: ConsoleServer
) -> None:
    async with phone(browser, server, CONTEXTS, microphone=True) as call:
        await call.press("Call")
        await call.until_live()
        await call.page.evaluate("() => contexts.at(-1).suspend()")
        await expect(call.page.get_by_text("The browser holds the sound back")).to_be_visible()
        held = len(call.frames())
        await call.press("Turn the sound on")
        await until(lambda: len(call.frames()) > held + 10)
        await expect(call.page.get_by_text("The browser holds the sound back")).to_be_hidden()


async def test_a_microphone_that_is_unplugged_is_told_and_another_one_taken(
    browser: Browser, server: ConsoleServer
) -> None:
    def is_heard(since: int) -> bool:
        return any(set(one) != set(audio.SILENCE) for one in call.frames()[since:])

    async with phone(browser, server, MICROPHONES, microphone=True) as call:
        await call.press("Call")
        await until(lambda: is_heard(0))
        await call.page.evaluate("() => unplug()")
        await expect(call.page.get_by_text("The microphone is gone")).to_be_visible()
        gone = len(call.frames())
        await until(lambda: len(call.frames()) > gone + 50)  # the stream goes on, in silence
        await call.press("Use the microphone")
        await expect(call.page.get_by_text("The microphone is gone")).to_be_hidden()
        again = len(call.frames())
        await until(lambda: is_heard(again))


async def test_a_call_goes_on_behind_another_tab(browser: Browser, server: ConsoleServer) -> None:
    async with phone(browser, server, microphone=True) as call:
        await call.press("Call")
        await call.until_live()
        await call.page.evaluate(HIDE, True)
        other = await call.page.context.new_page()
        await other.bring_to_front()
        behind = len(call.frames())
        await until(lambda: len(call.frames()) > behind + 100)
        await until(lambda: call.marks[0] and call.marks[0] == call.marks[1])
        await other.close()


VOICE = """
window.SpeechSynthesisUtterance = class { constructor(words) { this.words = words; } };
Object.defineProperty(window, "speechSynthesis", {value: {
  getVoices: () => [{}],
  cancel: () => { window.cancelled = true; window.saying.onend(); },
  speak: (utterance) => { window.saying = utterance; },
}});
const timers = (window.timers = new Map()), set = window.setTimeout, clear = window.clearTimeout;
window.setTimeout = (act, ms, ...more) => {
  const id = set(act, ms, ...more);
  if (ms > 5000) timers.set(id, act);
  return id;
};
window.clearTimeout = (id) => {
  timers.delete(id);
  clear(id);
};
"""
"""A voice of the browser's that speaks until the test ends it; Chromium has none here.

`timers` has what the page has due in more than 5 s.
"""


async def test_what_callers_are_told_is_said_before_the_call(
    browser: Browser, server: ConsoleServer
) -> None:
    async with phone(browser, server, VOICE) as call:
        page = call.page
        await call.press("Call without a microphone")
        told = page.get_by_text("Announced to every caller: “This call is recorded.”")
        await expect(told).to_be_visible()
        said = await page.evaluate("[window.saying.words, window.saying.lang]")
        assert said == ["This call is recorded.", "en-US"]
        assert call.sent == [], "the agent waits"
        await page.evaluate("window.saying.onend()")
        await call.until_live()
        # Words that are over must not cut off those of the next call.
        await page.evaluate("timers.forEach((act) => act())")
        assert not await page.evaluate("window.cancelled")
        await expect(page.get_by_text("Announced before: “This call is recorded.”")).to_be_visible()
        await call.press("Hang up h")
        last = page.get_by_text("The last call")
        await expect(last).to_be_visible()
        # It is not for the next user of this tab.
        call.watched.expects("401")
        await server.add_operator("mary")
        await call.press("Sign out")
        await sign_in_as(page, "mary")
        await expect(page.get_by_text("mary (operator)")).to_be_visible()
        await expect(page.get_by_role("button", name="Call", exact=True)).to_be_visible()
        await expect(last).to_have_count(0)


async def test_a_call_that_is_cancelled_before_it_begins_is_made_by_nobody(
    browser: Browser, server: ConsoleServer
) -> None:
    async with phone(browser, server, VOICE + MICROPHONES, microphone=True) as call:
        page = call.page
        made: list[str] = []

        async def keep(answer: Response) -> None:
            if answer.url.endswith("/phone-calls"):
                made.append((await answer.json())["call_sid"])

        page.on("response", keep)

        async def press_cancel() -> None:
            await call.press("Cancel Esc")
            await expect(page.get_by_role("button", name="Call", exact=True)).to_be_focused()

        async def press_escape() -> None:
            await page.get_by_label("guest").press("Escape")

        async def leave_the_view() -> None:
            await page.get_by_role("link", name="Live").click()

        told = page.get_by_text("Announced to every caller:")
        for cancel in (press_cancel, press_escape, leave_the_view):
            await call.press("Call")
            await expect(told).to_be_visible()
            assert await page.evaluate("[window.cancelled, window.unreleased]") == [None, 1]
            await cancel()
            await expect(told).to_have_count(0)
            assert await page.evaluate("[window.cancelled, window.unreleased]") == [True, 0]
            await page.evaluate("delete window.cancelled")
        await until(lambda: len(made) == 3)
        for sid in made:
            await server.until_stored(sid)
            summary = (await ask(server, f"/calls/{sid}")).json()["call"]
            assert summary["slug"] == "operator_hung_up"

        # The browser still asks for the microphone when the call is given up.
        await page.goto(server.url + "/phone?agent=reception")
        await page.evaluate("window.late = true")
        await call.press("Call")
        await until_it(lambda: page.evaluate("window.allow.length > 0"))
        await call.press("Cancel Esc")
        await page.evaluate("window.allow.forEach((allow) => allow())")
        await until_it(lambda: page.evaluate("tracks.length === 1 && unreleased === 0"))
        assert len(made) == 3
        assert call.sent == []


async def test_a_muted_microphone_sends_silence(browser: Browser, server: ConsoleServer) -> None:
    async with phone(browser, server, microphone=True) as call:
        await call.press("Call")
        await until(lambda: any(set(one) != set(audio.SILENCE) for one in call.frames()))
        await call.page.keyboard.press("m")
        await expect(call.page.get_by_role("button", name="Muted")).to_be_visible()

        async def is_silent() -> bool:
            since = len(call.frames())
            await until(lambda: len(call.frames()) >= since + 50)
            return set(b"".join(call.frames()[since:])) == set(audio.SILENCE)

        await until_it(is_silent)


async def test_a_stream_that_is_lost_ends_the_call_in_words(
    browser: Browser, server: ConsoleServer
) -> None:
    streams: list[WebSocketRoute] = []

    def answer(stream: WebSocketRoute) -> None:
        streams.append(stream)

    async with phone(browser, server) as call:
        # The stream is the test's own, which no other part can close before.
        await call.page.route_web_socket(lambda url: "/console/streams/" in url, answer)
        await call.page.reload()  # sockets of a page that is open are not routed
        await call.press("Call without a microphone")
        await expect(call.page.get_by_role("group", name="Keypad")).to_be_visible()
        await until(lambda: streams)
        await streams[0].close(code=1001, reason="a test")
        await expect(call.page.get_by_role("alert")).to_contain_text("The server says: a test.")
