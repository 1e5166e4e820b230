"""make soak: streams that race for a call, repeated requests, and Twilio's side that fails.

    python -m bench.races [--count 10000] [--seed 1] [--calls 20]

Races are those of tests/races.py: each has two to four sockets that claim one call at the same
moment, with repeated webhooks and callbacks. Then Twilio's side of `--calls` calls fails at once,
for each fault of tests/twilio_faults.py, with a real server's time limits. Exits with 1 when a call
had two streams or two endings, when equal requests got different answers, or when a session of
Deepgram's was left 15 s after the fault.
"""

import argparse
import asyncio
import logging
import time
from collections import Counter

from rich.console import Console
from rich.table import Table
from tests.races import Races
from tests.twilio_faults import ENDINGS, FailingCall
from tests.whole_server import whole_server

from offhook.concurrency.event_loop import run

LEFT_S = 15.0
BATCH = 500
"""Races of one server: its results are kept in memory."""

console = Console(highlight=False)


async def race(count: int, seed: int) -> tuple[list[str], str]:
    """Return what was wrong, and the result in short."""
    began, wrong, streams, done = time.monotonic(), list[str](), 0, Counter[str]()
    for first in range(0, count, BATCH):
        async with whole_server() as h:
            races = Races(h, seed + first)
            await races.run(min(BATCH, count - first))
            wrong += races.wrong
            streams += races.streams
            done += races.done
            console.print(f"  {first + races.done.total()} races", end="\r")
    took_s = time.monotonic() - began
    console.print(
        f"{count} races of {streams} streams in {took_s:.0f} s: {len(wrong)} with another result"
        " than one stream, one ending and equal answers"
    )
    for what, times in done.most_common():
        console.print(f"  {times:6} {what}")
    return wrong, f"{len(wrong)} of {count} races wrong"


async def fail(calls: int) -> tuple[list[str], str]:
    """Return what was wrong, and the result in short."""
    wrong, longest_s = [], 0.0
    table = Table("Twilio's side", "calls", "longest, s", "ending")
    for fault, slug in ENDINGS.items():
        async with whole_server() as h:
            failing = [FailingCall(h) for _ in range(calls)]
            for call in failing:
                await call.begin()
            took_s = await asyncio.gather(*(call.fail(fault) for call in failing))
            endings = {ending for call in failing for ending in h.endings(call.sid)}
        table.add_row(fault, str(calls), f"{max(took_s):.2f}", ", ".join(sorted(endings)))
        longest_s = max(longest_s, *took_s)
        if max(took_s) > LEFT_S:
            wrong.append(f"{fault}: a session was left for {max(took_s):.1f} s")
        if endings != {slug}:
            wrong.append(f"{fault}: endings {sorted(endings)}")
    console.print(table)
    return wrong, f"agent legs closed after {longest_s:.1f} s at most"


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=20)
    given = parser.parse_args()
    logging.disable(logging.ERROR)
    raced, races = run(race(given.count, given.seed))
    failed, legs = run(fail(given.calls))
    for line in (raced + failed)[:20]:
        console.print(line)
    print(f"in short: {races}; {legs}")
    if raced or failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
