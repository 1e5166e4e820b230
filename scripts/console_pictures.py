#!/usr/bin/env python3
"""Take pictures of every view of the console into docs/pictures/console (make screenshots).

A server answers real calls of simulated telephones, with different endings; then each view is
shown in a Chromium: light and dark, on a desktop and on a phone.
"""

import asyncio
import itertools
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Literal

from playwright.async_api import Browser
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
from tests.console.views import VIEWS, View

PICTURES: Final = Path(__file__).parents[1] / "docs" / "pictures" / "console"
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
SIZES: Final = {"desktop": (1280, 800), "phone": (390, 844)}
BYTES_MAX: Final = 150 * 1024
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
    made = itertools.product([view.name for view in VIEWS], SIZES, SCHEMES)
    return [f"{view}-{size}-{scheme}.png" for view, size, scheme in made]


async def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with console_server(Path(folder)) as server, chromium() as browser:
            past = await record(server)
            async with live(server) as shown:
                for view in VIEWS:
                    await take(browser, server, view, live=shown.sid, past=past)
    large = [path.name for path in PICTURES.iterdir() if path.stat().st_size > BYTES_MAX]
    if large:
        sys.exit(f"larger than {BYTES_MAX} bytes: {', '.join(large)}")


async def record(server: ConsoleServer) -> str:
    """Have calls made that end in different ways; return the one that is shown."""
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
    shown, *_ = await asyncio.gather(*calls)
    await server.until_stored(shown)
    return shown


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


async def take(
    browser: Browser, server: ConsoleServer, view: View, *, live: str, past: str
) -> None:
    for (size, (width, height)), scheme in itertools.product(SIZES.items(), SCHEMES):
        viewport = {"width": width, "height": height}
        async with server.page(
            browser, viewport=viewport, color_scheme=scheme, reduced_motion="reduce"
        ) as watched:
            await view.open(watched.page, server.url, live=live, past=past)
            path = PICTURES / f"{view.name}-{size}-{scheme}.png"
            await watched.page.screenshot(path=path)
            print(f"{path} {path.stat().st_size}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
