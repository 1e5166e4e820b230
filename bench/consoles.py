"""What open consoles cost live calls, and how soon the page can be used.

    python -m bench.consoles [--calls 50] [--consoles 10] [--rounds 6] [--seconds 5]
    python -m bench.consoles --page [--loads 10]

The first: calls of a running `offhook serve`, measured by turns without and with consoles, each of
which takes the snapshot and follows the live events as a page does; one of them also listens to a
call. Exits with 1 when the p99 of the added delay is more than BAR times that without. The second:
a Chromium opens the Live view, from an empty cache and again; exits with 1 when the median from an
empty cache is more than PAGE_MS.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from statistics import median

import httpx2
from playwright.async_api import Browser, expect
from tests.console.chromium import chromium, context
from tests.console.console_server import ConsoleServer, console_server
from tests.waiting import until
from websockets.asyncio.client import connect
from websockets.typing import Origin

from offhook.bench import usage
from offhook.bench.figures import spread
from offhook.bench.load.messages import Measured
from offhook.bench.runner import Bench, BridgeRun, Cores, ServeBridge
from offhook.bench.usage import ProcessUsage

BAR = 1.3
PAGE_MS = 1000.0
"""Until the Live view can be used, from an empty cache, on this machine."""

IDS = re.compile(rb"^id: (\S+)$", re.MULTILINE)
SETTLE_S = 1.0

MESSAGES_S = 8.0
"""Messages of audio in a second that one track has at least: one each 100 to 120 ms."""

LATE_S = 5.0
"""Seconds within which pages that give way to the load must have caught up."""


@dataclasses.dataclass
class Page:
    """What one page got: events, and the id of the last one."""

    events: int = 0
    last: bytes = b""

    def take(self, part: bytes) -> None:
        """Count the events of a part of the stream."""
        self.events += part.count(b"\ndata: ")
        found = IDS.findall(part)
        if found:
            self.last = found[-1]


def missing(events: Sequence[int], frames: int, ended: int, seconds: float) -> list[str]:
    """Return what the consoles of a round did not get, so that its figures are too low.

    `events` are those of each page, `frames` the messages of audio in `seconds`, and `ended` the
    number of consoles that had ended before the round did.
    """
    found = []
    if ended:
        found.append(f"{ended} consoles ended early")
    if len(set(events)) > 1 or not min(events, default=0):
        found.append(f"the pages got {min(events, default=0)} to {max(events, default=0)} events")
    if frames < 0.9 * seconds * MESSAGES_S:
        found.append(f"the listener got {frames} messages in {seconds:.1f} s")
    return found


class Consoles:
    """Consoles that are open at once; the first one listens to a call."""

    def __init__(self, run: BridgeRun, count: int) -> None:
        assert run.setup is not None, "only a server has consoles"
        self._url = f"127.0.0.1:{run.setup.operator_port()}"
        self._headers = {"Authorization": f"Bearer {run.setup.token}"}
        self._count = count
        self._pages: list[Page] = []
        self._frames = 0
        self.events = 0
        """Events that all pages got in the rounds."""
        self.frames = 0
        """Messages of audio that the listener got in the rounds."""
        self.missing: list[str] = []
        """What was missing in a round."""

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        limits = httpx2.Limits(max_connections=None)
        client = httpx2.AsyncClient(
            base_url=f"http://{self._url}",
            headers=self._headers,
            trust_env=False,
            limits=limits,
            timeout=60,
        )
        async with client as http, asyncio.TaskGroup() as group:
            self._pages = [Page() for _ in range(self._count)]
            tasks = [group.create_task(self._follow(http, page)) for page in self._pages]
            tasks.append(group.create_task(self._listen(http)))
            await asyncio.sleep(SETTLE_S)
            try:
                await self._level()
                began, frames = time.monotonic(), self._frames
                before = [page.events for page in self._pages]
                yield
                seconds, frames = time.monotonic() - began, self._frames - frames
                await self._level()
                events = [page.events - b for page, b in zip(self._pages, before, strict=True)]
                self.events += sum(events)
                self.frames += frames
                ended = sum(task.done() for task in tasks)
                self.missing += missing(events, frames, ended, seconds)
            finally:
                for task in tasks:
                    task.cancel()

    async def _level(self) -> None:
        """Wait until all pages have the same event last, for LATE_S at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LATE_S):
                await until(lambda: len({page.last for page in self._pages} | {b""}) == 2)

    async def _follow(self, http: httpx2.AsyncClient, page: Page) -> None:
        snapshot = (await http.get("/api/v1/live/snapshot")).raise_for_status().json()
        after = {"after": snapshot["last_event_id"]}
        async with http.stream("GET", "/api/v1/live", params=after, timeout=None) as stream:
            async for part in stream.aiter_raw():  # whole events; lines would cost more than a page
                page.take(part)

    async def _listen(self, http: httpx2.AsyncClient) -> None:
        snapshot = (await http.get("/api/v1/live/snapshot")).raise_for_status().json()
        sid = snapshot["calls"][0]["call_sid"]
        opened = (await http.post(f"/api/v1/calls/{sid}/listening")).raise_for_status().json()
        url = f"ws://{self._url}{opened['stream']}"
        async with connect(
            url, additional_headers=self._headers, origin=Origin(f"http://{self._url}")
        ) as socket:
            async for message in socket:
                self._frames += '"media"' in str(message)


def p99(measured: Sequence[Measured]) -> float:
    """Return the p99 of the added delay in ms, of the slower way."""
    ways = (
        [ns for one in measured for ns in one.up],
        [ns for one in measured for ns in one.down],
    )
    return max(found.p99 for found in map(spread, ways) if found is not None)


def used(began: ProcessUsage, ended: ProcessUsage) -> ProcessUsage:
    """Return what was used between two moments; `at_ns` is the time between them."""
    return ProcessUsage(
        at_ns=ended.at_ns - began.at_ns,
        cpu_ns=ended.cpu_ns - began.cpu_ns,
        beside_ns=ended.beside_ns - began.beside_ns,
        rss=ended.rss,
        machine_ns=ended.machine_ns - began.machine_ns,
    )


def share(spans: Sequence[ProcessUsage], key: str) -> str:
    """Return the median share of a core that was used."""
    return f"{median(getattr(span, key) / span.at_ns for span in spans):.1%} of a core"


def give_way(cores: Cores) -> None:
    """Have this process, which is ten pages, give way to the load, as other machines would."""
    usage.pin(os.getpid(), cores.others)
    if hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


async def measure(calls: int, consoles: int, rounds: int, seconds: float) -> int:
    bench = Bench(Cores(), os.environ)
    without: list[float] = []
    beside: list[float] = []
    cpu: dict[bool, list[ProcessUsage]] = {False: [], True: []}
    async with bench.running(ServeBridge(), capacity=2 * calls) as run:
        give_way(bench.cores)
        await run.open(calls)
        await asyncio.sleep(bench.warm_up_s)
        opened = Consoles(run, consoles)
        for number in range(rounds):
            # ABBA: what gets slower or faster with time falls on both.
            for is_open in (False, True) if number % 2 == 0 else (True, False):
                async with opened.open() if is_open else contextlib.nullcontext():
                    began, ended, measured = await run.measure(seconds)
                (beside if is_open else without).append(p99(measured))
                cpu[is_open].append(used(began, ended))
            print(
                f"round {number + 1}: p99 {without[-1]:.2f} ms without, {beside[-1]:.2f} ms with",
                flush=True,
            )
    ratios = [b / a for a, b in zip(without, beside, strict=True)]
    ratio = median(beside) / median(without)
    print(f"{calls} calls, {consoles} consoles, one of them listening; {rounds} rounds")
    print(f"p99 of the added delay, median: {median(without):.2f} ms without consoles")
    print(f"                                {median(beside):.2f} ms with them")
    print(f"ratio of the medians {ratio:.2f}; of each round {min(ratios):.2f} to {max(ratios):.2f}")
    for name, key in (("call process", "cpu_ns"), ("operator's and supervisor", "beside_ns")):
        print(f"CPU of the {name}: {share(cpu[False], key)} without, {share(cpu[True], key)} with")
    print(f"the consoles got {opened.events} events and {opened.frames} messages of audio")
    for one in opened.missing:
        print(f"WRONG {one}")
    return 0 if ratio <= BAR and not opened.missing else 1


SEEN = """new MutationObserver(() => {
  if (!window.seenAt && document.querySelector("main h1")) window.seenAt = performance.now();
}).observe(document, {childList: true, subtree: true})"""
"""Notes when the view's heading is there: all of its code runs by then."""


async def interactive(server: ConsoleServer, browser: Browser) -> tuple[float, float]:
    """Return the ms until the Live view can be used: with an empty cache, and again."""
    async with context(browser) as profile:
        await server.sign_in(profile)
        await profile.add_init_script(SEEN)
        page = await profile.new_page()
        await page.goto(f"{server.url}/live")
        times = []
        for _ in range(2):
            await expect(page.locator("main h1")).to_be_visible()
            times.append(float(await page.evaluate("window.seenAt")))
            await page.reload()
        return times[0], times[1]


async def page(loads: int) -> int:
    cold: list[float] = []
    warm: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with console_server(Path(folder)) as server, chromium() as browser:
            for _ in range(loads):
                first, again = await interactive(server, browser)
                cold.append(first)
                warm.append(again)
    print(f"time to interactive of the Live view, {loads} loads: median and longest")
    print(f"empty cache   {median(cold):.0f} ms, {max(cold):.0f} ms; the bar is {PAGE_MS:.0f} ms")
    print(f"again         {median(warm):.0f} ms, {max(warm):.0f} ms")
    return 0 if median(cold) <= PAGE_MS else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--consoles", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--page", action="store_true", help="measure the page's first use instead")
    parser.add_argument("--loads", type=int, default=10)
    asked = parser.parse_args()
    if asked.page:
        return asyncio.run(page(asked.loads))
    return asyncio.run(measure(asked.calls, asked.consoles, asked.rounds, asked.seconds))


if __name__ == "__main__":
    sys.exit(main())
