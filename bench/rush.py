"""make soak: a thousand calls in a second, at a server that takes a hundred.

    python -m bench.rush [--calls 1000] [--capacity 100] [--live 50] [--spread 1] [--tls]

A real `offhook serve` with calls that talk, and then a crowd: each caller asks the voice webhook on
a connection of its own, signed, spread evenly over a second. Whoever is connected opens the stream
and talks, too. Exits with 1 when a webhook is not answered within 5 s (Twilio waits for 15,
twilio.md §4.1), when other than `--capacity` calls are connected, when one of the rest does not get
the busy answer, or when the delay that the server adds to audio has a 99th percentile of 5 ms or
more: of the calls that were there, during the rush, and of all calls after it. Delays above the bar
are not judged if the load itself was late meanwhile. With `--untimed`, for machines that are busy
with something else, only the answers count, not when they come. With --tls the agent speaks TLS, as
Deepgram does.
"""

import argparse
import asyncio
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
from bench.attack import (
    LATE_MS,
    P99_MS,
    Load,
    cpu_of,
    exit_after,
    late_ms,
    p99_ms,
    process,
    spec,
    stopped,
)
from bench.trial_server import DATABASES, TOKEN, TrialServer, database_of
from rich.console import Console
from rich.table import Table

from offhook.bench.load import sockets
from offhook.bench.load.caller import LoadCaller
from offhook.bench.load.messages import Begin, EndCalls, Finish, Measured, PlaceCalls
from offhook.bench.load.process import Load as Callers
from offhook.bench.serve import ServeSetup

ANSWER_S = 5.0
AFTER_S = 4.0
"""Seconds for which all calls are measured after the rush."""
PATIENCE_S = 60.0
FIRST = 10_000
"""Number of the crowd's first call; those before it are the load's."""
BUSY = "the webhook opened no stream"


class Rush(msgspec.Struct):
    """What became of the crowd. Times are in seconds, delays in ms."""

    connected: int = 0
    busy: int = 0
    unanswered: list[str] = []
    slowest_s: float = 0.0
    median_s: float = 0.0
    late_ms: float = 0.0
    """Lateness of the crowd's own frames after the rush, at p99."""
    delay_ms: float = 0.0
    """99th percentile of the delay added to the agent's audio, of the calls that were connected."""
    broken: int = 0


# --- The crowd, a process of its own --------------------------------------------------------------


class CrowdCaller(LoadCaller):
    """A caller who notes how long the webhook's answer took."""

    def __init__(self, name: int, load: Callers, waits: list[float]) -> None:
        super().__init__(str(name), load, 7 * name + 3)
        self._waits = waits

    async def _announce(self, port: int, token: str) -> str:
        began = time.perf_counter()
        try:
            return await super()._announce(port, token)
        finally:
            self._waits.append(time.perf_counter() - began)


async def crowd(given: argparse.Namespace) -> Rush:
    rush, waits = Rush(), list[float]()
    load = Callers(20, idle=False)
    callers: list[CrowdCaller] = []

    async def call(number: int, began: float) -> None:
        due = began + number * given.spread / given.calls
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        caller = CrowdCaller(FIRST + number, load, waits)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await caller.call(given.crowd, TOKEN, "webhook")
                await caller.answered.wait()
        except sockets.RefusedError as refused:
            if str(refused) == BUSY:
                rush.busy += 1
            else:
                rush.unanswered.append(str(refused))
        except TimeoutError:
            rush.unanswered.append("no answer")
        else:
            rush.connected += 1
            callers.append(caller)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(given.calls):
            group.create_task(call(number, began))
    print("the crowd has its answers", flush=True)
    load.begin()
    await asyncio.sleep(AFTER_S)
    measured = load.finish()
    rush.delay_ms, rush.late_ms = p99_ms(measured), late_ms(measured)
    rush.broken = measured.broken_calls
    waits.sort()
    rush.slowest_s, rush.median_s = waits[-1], waits[len(waits) // 2]
    return rush


# --- The run --------------------------------------------------------------------------------------


async def run(given: argparse.Namespace, folder: Path) -> list[str]:
    with database_of(given.database) as url:
        return await run_on(given, folder, url)


async def run_on(given: argparse.Namespace, folder: Path, database_url: str | None) -> list[str]:
    async with process("-m", "offhook.bench.load", spec(folder, tls=given.tls)) as made:
        load = Load(made)
        port = msgspec.json.decode(await load.heard())["port"]
        house = TrialServer(folder, port, database_url, tls=given.tls)
        config = folder / "offhook.yaml"
        text = config.read_text()
        config.write_text(text.replace("capacity: 200", f"capacity: {given.capacity}"))
        assert config.read_text() != text or given.capacity == 200
        (folder / "agent.yaml").write_text(UNRECORDED)
        server = await house.start()
        try:
            place = PlaceCalls(
                port=house.port, calls=given.live, first=0, token=TOKEN, road="webhook"
            )
            await load.ask(place)
            before = await load.measure(None, AFTER_S)
            pid = ServeSetup(folder, TOKEN, house.port).roles(server.pid).call
            cpu_s = cpu_of(pid)
            asked = (f"--crowd={house.port}", f"--calls={given.calls}", f"--spread={given.spread}")
            async with process("-m", "bench.rush", *asked) as others:
                assert others.stdout is not None

                load.say(Begin())
                await others.stdout.readline()
                during = msgspec.json.decode(await load.ask(Finish()), type=Measured)
                cpu_s = cpu_of(pid) - cpu_s
                after = await load.measure(None, AFTER_S)
                rush = msgspec.json.decode(await others.stdout.readline(), type=Rush)
            load.say(EndCalls())
            await load.heard()
        finally:
            await stopped(server)
    delays = [
        Delay("in the rush", p99_ms(during), late_ms(during)),
        Delay("after it", p99_ms(after), late_ms(after)),
        Delay("of the crowd after it", rush.delay_ms, rush.late_ms),
    ]
    _show(given, rush, (before, during, after), cpu_s)
    if given.untimed:
        print("not judged: delays (--untimed)")
    elif unjudged := [one for one in delays if one.verdict is None]:
        print(f"not judged: added delay as the load was late: {', '.join(map(str, unjudged))}")
    lost = after.broken_calls
    wrong = [] if given.untimed else [str(one) for one in delays if one.verdict is False]
    return [
        *([f"{lost} of the calls that were there broke"] if lost else ()),
        *_faults(given, rush),
        *(f"added delay {one}" for one in wrong),
    ]


class Delay(NamedTuple):
    """Added delay at p99, and the lateness of the load that measured it, in ms."""

    when: str
    p99: float
    load_late: float

    @property
    def verdict(self) -> bool | None:
        """Whether the bar is met; None if a load that was late has missed it."""
        if self.p99 < P99_MS:
            return True
        return False if self.load_late < LATE_MS else None

    def __str__(self) -> str:
        return f"{self.when} {self.p99:.2f} ms, load late by {self.load_late:.2f} ms"


UNRECORDED = """
busy: {say: All our lines are busy.}
settings:
  listen: {provider: {type: deepgram, model: nova-3}}
  think: {provider: {type: open_ai, model: gpt-4o-mini}}
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
"""


def _show(
    given: argparse.Namespace, rush: Rush, measured: tuple[Measured, ...], cpu_s: float
) -> None:
    table = Table("calls", "in", "connected", "busy", "slowest", "median", "CPU", "delay p99")
    delays = ", ".join(f"{p99_ms(each):.2f}" for each in measured)
    table.add_row(
        str(given.calls),
        f"{given.spread:g} s",
        str(rush.connected),
        str(rush.busy),
        f"{rush.slowest_s:.2f} s",
        f"{rush.median_s * 1000:.0f} ms",
        f"{cpu_s:.2f} s",
        f"before, during, after {delays} ms; of the crowd {rush.delay_ms:.2f} ms",
    )
    Console(width=140).print(table)
    print(
        f"in short: {rush.connected} connected, {rush.busy} busy,"
        f" {len(rush.unanswered)} unanswered; slowest answer {rush.slowest_s:.2f} s;"
        f" p99 of live calls {p99_ms(measured[0]):.1f} ms before,"
        f" {p99_ms(measured[1]):.1f} ms during, {p99_ms(measured[2]):.1f} ms after; of the crowd"
        f" {rush.delay_ms:.1f} ms after"
    )


def _faults(given: argparse.Namespace, rush: Rush) -> list[str]:
    room = given.capacity - given.live
    found = (
        (bool(rush.unanswered), f"not answered: {sorted(set(rush.unanswered))}"),
        (
            rush.connected != room,
            f"{rush.connected} calls were connected, and there was room for {room}",
        ),
        (rush.busy != given.calls - room, f"{rush.busy} got the busy answer"),
        (rush.broken > 0, f"{rush.broken} of the connected calls broke"),
        (not given.untimed and rush.slowest_s > ANSWER_S, f"an answer took {rush.slowest_s:.1f} s"),
    )
    return [what for is_so, what in found if is_so]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--capacity", type=int, default=100)
    parser.add_argument("--live", type=int, default=50, help="calls that talk already")
    parser.add_argument("--spread", type=float, default=1.0, help="seconds")
    parser.add_argument("--tls", action="store_true", help="the agent speaks TLS")
    parser.add_argument("--database", choices=DATABASES, help="of the record; default: sqlite")
    parser.add_argument("--untimed", action="store_true")
    parser.add_argument("--crowd", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.crowd:
        print(msgspec.json.encode(asyncio.run(crowd(given))).decode(), flush=True)
        return
    exit_after("rush", lambda folder: run(given, folder))


if __name__ == "__main__":
    main()
