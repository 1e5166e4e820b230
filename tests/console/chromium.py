"""The machine's Chromium, driven by Playwright, and pages that fail on what a person overlooks."""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    # macOS has programs in folders of their own, none of which is on PATH.
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
MISSING = (
    "THERE IS NO CHROMIUM: THE CONSOLE IS NOT TESTED. On Debian: apt-get install chromium; on"
    " macOS: brew install --cask google-chrome"
)
PATIENCE_MS = 240_000
"""Milliseconds that Playwright waits for what a test expects: a bound for what hangs."""

UNUSED_FEATURES = (
    # Chromium obeys its last --disable-features only, so these are repeated from Playwright's.
    "AimEnabled",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    # A window that nobody sees needs no popup of its address bar and no process in reserve. For
    # each page these are two more processes, which take most of the processor's time.
    "SpareRendererForSitePerProcess",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
    "WebUIOmniboxPopup",
)
FLAGS = (
    # Chromium asks its maker's hosts for updates otherwise, whatever else is switched off.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(UNUSED_FEATURES)}",
    "--use-fake-device-for-media-stream",
    "--mute-audio",
    # Tests run beside each other, and a page in the background would be slowed down.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
)
AUTOPLAY = "--autoplay-policy=no-user-gesture-required"


def path() -> str:
    """Return where Chromium is; without one, skip the test, or fail it in CI."""
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING, pytrace=False)
    pytest.skip(MISSING)


@asynccontextmanager
async def chromium(
    microphone: Path | None = None, flags: Sequence[str] = (AUTOPLAY,)
) -> AsyncIterator[Browser]:
    """Run a Chromium. `microphone` is a WAV file that its microphone plays, once and then silence.

    Without one the microphone beeps. Pages get it if they are opened with `microphone=True`.
    """
    speaks = (
        [] if microphone is None else [f"--use-file-for-fake-audio-capture={microphone}%noloop"]
    )
    executable = path()
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable, args=[*FLAGS, *flags, *speaks], chromium_sandbox=False
        )
        try:
            yield browser
        finally:
            await browser.close()


class Watched:
    """A page, and what it did that none may do: errors, foreign requests, breaches of its CSP."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        self._expected: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda said: self._note(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self._note(f"uncaught: {error}"))
        page.on("request", lambda request: self._check(request.url))
        page.on("websocket", lambda socket: self._check(socket.url))

    def expects(self, words: str) -> None:
        """Let the page say, or do, something that has these words in its error."""
        self._expected.append(words)

    def _check(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob", "about") and parts.hostname != "127.0.0.1":
            self._note(f"the page requests {url}")

    def _note(self, fault: str) -> None:
        self.faults.append(fault)

    def check(self) -> None:
        """Fail the test for what the page did."""
        left = [one for one in self.faults if not any(words in one for words in self._expected)]
        assert not left, f"{self.page.url}: {left}"


@asynccontextmanager
async def watched(context: BrowserContext) -> AsyncIterator[Watched]:
    """Open a page in a context, and check at the end what it did."""
    made = Watched(await context.new_page())
    try:
        yield made
    except BaseException as error:
        error.add_note(f"the page {made.page.url}: {made.faults or 'no faults'}")
        raise
    made.check()


@asynccontextmanager
async def context(
    browser: Browser, *, microphone: bool = False, **options: Any
) -> AsyncIterator[BrowserContext]:
    """A profile of its own: cookies, storage, and permissions."""
    granted = ["microphone"] if microphone else []
    made = await browser.new_context(permissions=granted, **options)
    try:
        yield made
    finally:
        await made.close()
