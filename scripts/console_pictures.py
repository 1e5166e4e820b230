#!/usr/bin/env python3
"""Take pictures of every view of the console into docs/pictures/console (make screenshots).

A server answers real calls of simulated telephones, with different endings; then each view, and
each state of one, is shown in a Chromium: light and dark, on a desktop, a tablet and a phone.
Names of views and states, such as `live-call phone-call`, take those alone.
"""

import asyncio
import base64
import itertools
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Literal

from playwright.async_api import Browser, Page, expect
from tests.console.calls import KeptCall, kept_call
from tests.console.chromium import chromium
from tests.console.console_server import (
    GREETING,
    HOURS,
    OPEN,
    ORDER,
    READY,
    ConsoleServer,
    console_server,
)
from tests.console.views import STATES, VIEWS, View

PICTURES: Final = Path(__file__).parents[1] / "docs" / "pictures" / "console"
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
SIZES: Final = {"desktop": (1440, 900), "tablet": (820, 1180), "phone": (390, 844)}
QUALITY: Final = 82
"""Quality of the WebP files, in percent: text is as sharp as in a PNG of twice the size."""
BYTES_MAX: Final = 100 * 1024
OPERATOR: Final = "ada"
BILLING: Final = "+12025550101"

CALLERS: Final = (
    "+12025550142",
    "+12025550117",
    "+12025550163",
    "+12025550188",
    "+12025550129",
    "+12025550154",
)


def names() -> list[str]:
    """Return the name of each picture."""
    return [
        f"{view.name}-{size}-{scheme}.webp"
        for view in (*VIEWS, *STATES)
        for size, scheme in itertools.product(sizes(view), SCHEMES)
    ]


def sizes(view: View) -> Sequence[str]:
    """Return the sizes in which a view is shown; a state is not shown on a tablet."""
    return [*SIZES] if view in VIEWS else ["desktop", "phone"]


async def main(wanted: Sequence[str]) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    views = [view for view in (*VIEWS, *STATES) if not wanted or view.name in wanted]
    with tempfile.TemporaryDirectory() as folder:
        async with console_server(Path(folder)) as server, chromium() as browser:
            past, silent = await record(server)
            async with live(server) as shown:
                for view in views:
                    await take(browser, server, view, live=shown.sid, past=past, silent=silent)
    large = [path.name for path in PICTURES.iterdir() if path.stat().st_size > BYTES_MAX]
    if large:
        sys.exit(f"larger than {BYTES_MAX} bytes: {', '.join(large)}")


async def record(server: ConsoleServer) -> tuple[str, str]:
    """Have calls made that end in different ways; return one with a recording, and one without."""
    calls = [
        asks(server, CALLERS[0], HOURS, OPEN, ORDER, READY, "Thank you, goodbye."),
        asks(server, CALLERS[1], HOURS, OPEN),
        interrupts(server, CALLERS[2]),
        hangs_up_at_once(server, CALLERS[3]),
        asks(server, CALLERS[4], HOURS, OPEN, to=BILLING),
        is_hung_up_on(server, CALLERS[5]),
        asks(server, CALLERS[1], HOURS, OPEN, ORDER, READY),
        is_transferred(server, CALLERS[4]),
    ]
    made = await asyncio.gather(*calls)
    for sid in made:
        await server.until_stored(sid)
    return made[0], made[4]  # the agent billing records nothing


async def asks(
    server: ConsoleServer, number: str, *exchanges: str, to: str = "+12025550100"
) -> str:
    """Say, and wait for the answer, by turns."""
    async with kept_call(server.public_url, from_=number, to=to) as call:
        await greeted(call)
        for said, answer in itertools.zip_longest(exchanges[::2], exchanges[1::2]):
            since = len(call.person.heard)
            call.person.say(said)
            if answer is not None:
                await call.person.until_heard(answer, since)
            await call.person.until_quiet()
    return call.sid


async def greeted(call: KeptCall) -> None:
    await call.person.until_heard(GREETING)
    await call.person.until_quiet()


async def interrupts(server: ConsoleServer, number: str) -> str:
    async with kept_call(server.public_url, from_=number) as call:
        await greeted(call)
        since = len(call.person.heard)
        call.person.say(HOURS)
        await call.person.until_heard_some(OPEN, since)
        call.person.say("Sorry, one more thing.")
        await call.person.until_heard("Of course, what else?", since)
        await call.person.until_quiet()
    return call.sid


async def hangs_up_at_once(server: ConsoleServer, number: str) -> str:
    async with kept_call(server.public_url, from_=number) as call:
        pass
    return call.sid


async def is_hung_up_on(server: ConsoleServer, number: str) -> str:
    async with kept_call(server.public_url, from_=number) as call:
        await greeted(call)
        await server.act(call.sid, "hang-up", farewell="Thank you for calling. Goodbye!")
        await call.ended()
    return call.sid


async def is_transferred(server: ConsoleServer, number: str) -> str:
    async with kept_call(server.public_url, from_=number) as call:
        await greeted(call)
        await server.act(call.sid, "transfer", destination="kitchen")
        await call.ended()
    return call.sid


@asynccontextmanager
async def live(server: ConsoleServer) -> AsyncIterator[KeptCall]:
    """Calls that go on while pictures are taken; the one that is opened."""
    async with AsyncExitStack() as stack:
        calls = [
            await stack.enter_async_context(kept_call(server.public_url, from_=number))
            for number in CALLERS[:4]
        ]
        for call in calls:
            await greeted(call)
        for call in calls[:3]:
            call.person.say(HOURS)
        for call in calls[:3]:
            await call.person.until_heard(OPEN)
        calls[0].person.say(ORDER)
        await calls[0].person.until_heard(READY)
        await server.act(calls[0].sid, "tell", text="They come at seven.")
        yield calls[0]


async def take(browser: Browser, server: ConsoleServer, view: View, **calls: str) -> None:
    async with server.page(
        browser, user=OPERATOR, microphone=True, reduced_motion="reduce"
    ) as watched:
        page = watched.page
        watched.expects("404")  # the record of a call that has just begun
        await view.open(page, server.url, **calls)
        for size, scheme in itertools.product(sizes(view), SCHEMES):
            width, height = SIZES[size]
            await page.emulate_media(color_scheme=scheme)
            await page.set_viewport_size({"width": width, "height": height})
            await expect(page.get_by_text("Connecting")).to_have_count(0)
            await page.evaluate(SETTLED, view.shown)
            path = PICTURES / f"{view.name}-{size}-{scheme}.webp"
            path.write_bytes(await picture(page))
            print(f"{path} {path.stat().st_size}", flush=True)


SETTLED: Final = """(shown) => new Promise((done) => {
  document.querySelector(shown).scrollIntoView();
  const frames = (left) => left ? requestAnimationFrame(() => frames(left - 1)) : done();
  frames(4);
})"""
"""What is drawn by scripts is drawn anew for the size and the colours by then."""


async def picture(page: Page) -> bytes:
    """Return what the page shows, as WebP, which Playwright itself does not make."""
    devtools = await page.context.new_cdp_session(page)
    form = {"format": "webp", "quality": QUALITY}
    taken = await devtools.send("Page.captureScreenshot", form)
    await devtools.detach()
    return base64.b64decode(taken["data"])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
