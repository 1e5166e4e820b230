"""The CPU of a call-second of `offhook serve`, as a multiple of that of another checkout.

    .venv/bin/python -m bench.before CHECKOUT [--pairs 5] [--calls 50] [--seconds 10]

Both servers, each with its record as it is shipped, carry the calls of today's load in turn. The
other checkout has an environment of its own, made by its `make setup`; any since a5c9631 can be
compared. Prints each pair and the medians: of the process that carries the calls, and of all
processes of the server. Needs Linux.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from offhook.bench import child, serve
from offhook.bench.runner import Bench, Bridge, Cores, ServeBridge


class Cpu(NamedTuple):
    """CPU of a call-second in µs: of the process that carries the calls, and of all of them."""

    carrying: float
    whole: float


async def cpu(bench: Bench, bridge: Bridge | ServeBridge, calls: int, seconds: float) -> Cpu:
    """Return what a server uses. Raises AssertionError when a frame was lost."""
    async with bench.running(bridge, capacity=2 * calls) as run:
        if run.setup is None:
            setup = serve.ServeSetup(Path(), run.token, run.port)
            await setup.until_answered(run.bridge.is_over)
        await run.open(calls)
        await asyncio.sleep(bench.warm_up_s)
        begun, done, measured = await run.measure(seconds)
    assert sum(part.lost for part in measured) == 0, "frames were lost"
    ran = (done.at_ns - begun.at_ns) / 1e9 * calls * 1e3
    carrying = done.cpu_ns - begun.cpu_ns
    return Cpu(carrying / ran, (carrying + done.beside_ns - begun.beside_ns) / ran)


async def compare(checkout: Path, pairs: int, calls: int, seconds: float) -> None:
    """Measure pairs, the other checkout first, and print them."""
    ratios: list[Cpu] = []
    bench = Bench(Cores(), os.environ)
    for number in range(1, pairs + 1):
        with tempfile.TemporaryDirectory(prefix="offhook-before-") as folder:
            bridge = Bridge("before", server_of(checkout, folder))
            before = await cpu(bench, bridge, calls, seconds)
        now = await cpu(bench, ServeBridge(), calls, seconds)
        ratios.append(Cpu(now.carrying / before.carrying, now.whole / before.whole))
        print(
            f"pair {number}: before {before.carrying:.0f} µs, now {now.carrying:.0f} µs in the"
            f" process that carries the calls and {now.whole:.0f} µs in all:"
            f" {ratios[-1].carrying:.2f} and {ratios[-1].whole:.2f} times that",
            flush=True,
        )
    carrying, whole = (statistics.median(each) for each in zip(*ratios, strict=True))
    print(f"medians of {pairs} pairs with {calls} calls: {carrying:.2f} and {whole:.2f}")


def server_of(checkout: Path, folder: str) -> tuple[str, ...]:
    """Return the command of a bridge that becomes the server of another checkout."""
    python = str(checkout.resolve() / ".venv/bin/python")
    return (sys.executable, "-m", "bench.before", "--serve", python, folder)


def become(python: str, folder: Path) -> None:
    """Become the server of another checkout; tell the runner its port before."""
    given = child.arguments()
    port = serve.free_port()
    config = folder / "offhook.yaml"
    config.write_text(json.dumps({"server": {"capacity": given.capacity}}))
    keys = {"DEEPGRAM_API_KEY": "loopback", "TWILIO_AUTH_TOKEN": given.token}
    child.tell({"port": port})
    os.chdir(folder)  # its record is there
    options = ["--config", str(config), "--deepgram-url", given.agent_url]
    options += ["--host", child.HOST, f"--port={port}"]
    os.execve(python, [python, "-m", "offhook", "serve", *options], {**os.environ, **keys})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        interpreter, place = sys.argv[2:4]
        del sys.argv[1:4]
        become(interpreter, Path(place))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    asyncio.run(compare(asked.checkout, asked.pairs, asked.calls, asked.seconds))
