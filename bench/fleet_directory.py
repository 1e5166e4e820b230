"""What the directory of a fleet costs a call process: `python -m bench.fleet_directory`.

On a real PostgreSQL of this machine: time until the answer and CPU time of each message, and
the CPU time of the lines of 100 live calls with 2.5 events a second each.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from tests.fleet.directories import FACTS, Fleet, FleetNode, fleet_on, migrated, sid
from tests.postgres import Postgres

from offhook.concurrency import event_loop

MANY = 2000
CALLS = 100
EVENTS_A_SECOND = 2.5
SECONDS = 10
LINE = b'["CallerSaid","CA' + b"0" * 32 + b'",5230,1795536000123,{"text":"' + b"x" * 80 + b'"}]'


@contextmanager
def told(name: str, many: int, took: list[float]) -> Iterator[None]:
    """Print what the block has cost, by its figures in `took`."""
    cpu = time.process_time()
    yield
    cpu_us = (time.process_time() - cpu) / many * 1e6
    ms = sorted(each * 1000 for each in took)
    print(
        f"| {name} | {statistics.median(ms):.2f} | {ms[int(len(ms) * 0.99)]:.2f} | {cpu_us:.0f} |"
    )


async def each(name: str, ask: Callable[[int], Awaitable[object]]) -> None:
    took: list[float] = []
    with told(name, MANY, took):
        for number in range(MANY):
            began = time.perf_counter()
            await ask(number)
            took.append(time.perf_counter() - began)


async def messages(fleet: Fleet) -> None:
    """Measure each message by itself."""
    a, b = await fleet.node("a", most=100_000), await fleet.node("b")
    print("| message | ms p50 | ms p99 | CPU us |\n| --- | --- | --- | --- |")
    await each("begin", lambda n: a.directory.begin(sid(n), FACTS, nonce=f"n{n}"))
    await each("spend", lambda n: a.directory.spend(sid(n), f"n{n}"))
    await each("find", lambda n: b.directory.find(sid(n)))
    await each("renew", lambda n: a.directory.renew(sid(n), f"n{n}"))
    await each("claim", lambda n: b.directory.claim(sid(n), 1))
    for number in range(MANY):
        b.directory.end(sid(number))
    began, cpu = time.perf_counter(), time.process_time()
    await b.directory.tell_ended()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(f"end of {MANY} in one message: {took * 1000:.0f} ms, CPU {cpu / MANY * 1e6:.0f} us each")


async def lines(fleet: Fleet) -> None:
    """Measure the lines of live calls, and an idle process before it."""
    node = await fleet.node("c", runs=True)
    fleet.keep(node.lines.run)
    for number in range(CALLS):
        node.lines(sid(number), FACTS, None)
        await node.directory.begin(sid(number), FACTS, nonce="n")
    await node.lines.flush()
    idle = await talk(node, 0)
    spoken = await talk(node, round(CALLS * EVENTS_A_SECOND * SECONDS))
    many = CALLS * EVENTS_A_SECOND * SECONDS
    print(
        f"{CALLS} calls without a word: {idle / SECONDS * 100:.2f} % of a core; with"
        f" {EVENTS_A_SECOND:g} events a second each: {spoken / SECONDS * 100:.2f} %,"
        f" {(spoken - idle) / many * 1e6:.0f} us an event"
    )


async def talk(node: FleetNode, many: int) -> float:
    """Tell so many lines in SECONDS; return the CPU seconds that it took."""
    cpu, pause_s = time.process_time(), 0.02
    ticks = round(SECONDS / pause_s)
    for tick in range(ticks):
        for number in range(many * tick // ticks, many * (tick + 1) // ticks):
            node.lines(sid(number % CALLS), LINE, number)
        await asyncio.sleep(pause_s)
    return time.process_time() - cpu


async def main(url: str) -> None:
    """Measure both, one after the other."""
    async with fleet_on(url) as fleet:
        await messages(fleet)
    async with fleet_on(url) as fleet:
        await fleet.ask("TRUNCATE fleet_processes, fleet_calls, fleet_lines, fleet_budgets")
        await lines(fleet)


if __name__ == "__main__":
    server = Postgres()
    try:
        with migrated(server) as database_url:
            event_loop.run(main(database_url))
    finally:
        server.stop()
