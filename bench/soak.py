"""make soak: many calls held, and many short calls one after another, while memory is watched.

    python -m bench.soak [--hold 5000] [--calls 20000] [--at-once 50] [--database postgresql]

Held calls say one frame in two seconds each way: a line that is up, not one that talks; they are at
a server in one process without a record. Short ones hang up after ten frames of the agent's, at
`offhook serve` with its record, whose agent speaks TLS. Its three processes are watched: call
process, operator process and supervisor. Exits with 1 when something was lost, a call has no end in
the record, a task, a socket or a file was left over, or the memory of one of the processes grew by
more than 1 KB a short call after the first quarter of them, or the first 3,000.
"""

import argparse
import asyncio
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import httpx2
import psutil
from bench.trial_server import CATCHES_UP_S, DATABASES, database_of, live_calls
from rich.console import Console
from sqlalchemy import func, select

from offhook.bench import serve
from offhook.bench.child import HOST, Usage
from offhook.bench.load.messages import Spec
from offhook.bench.runner import Bench, Bridge, BridgeRun, Cores, ServeBridge
from offhook.bench.serve import ServeSetup
from offhook.concurrency.event_loop import run as run_on_uvloop
from offhook.errors import UserError
from offhook.journal.progress import last_lines, waiting_lines
from offhook.records import database, tables

FILES_ELSEWHERE = 200
"""Open files of a process that are no call's; each call has two sockets, in bridge and in load."""
HOLD_S = 30.0
IDLE_TURN_MS = 2000
FRAMES = 10
WARM_UP_SHARE = 0.25
WARM_UP_CALLS = 3000
"""Calls after which memory is flat; of fewer than twice as many, half are the warm-up."""
GROWTH_BYTES = 1000
"""Memory that a call may leave in a process, on average after the warm-up."""
STEP_BYTES = 1_000_000
"""The least growth that says anything: memory comes from the system in pieces of this size."""
FILES_SPARE = 8
"""Files that a process may have opened since: its log, its database, its clients' connections."""
SETTLE_S = 3.0
ANSWER_S = 60.0
ROLES = ("call", "operator", "supervisor")
LOOPS = ("tasks", "operator_tasks")
"""Metrics of both event loops, without prefix. One is missing while its process is too busy."""
TASKS = re.compile(rf"^offhook_({'|'.join(LOOPS)}) (\S+)$", re.MULTILINE)

SERVER = Bridge("offhook", (sys.executable, str(Path(__file__).with_name("plain_server.py"))))

console = Console(highlight=False)


def raise_file_limit(calls: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    needed = 2 * calls + FILES_ELSEWHERE
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(
            f"{calls} calls need {needed} open files, and this system allows {hard}.\n"
            f"Raise the limit (ulimit -Hn {needed}), or hold fewer calls with --hold."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def show(what: str, usage: Usage) -> None:
    console.print(
        f"{what:>20}: {usage.rss / 1e6:7.1f} MB, {usage.tasks} tasks, {usage.fds} open files"
    )


def left_over(before: Usage, after: Usage) -> list[str]:
    faults = []
    if after.tasks > before.tasks:
        faults.append(f"{after.tasks - before.tasks} tasks are left over")
    if after.fds > before.fds:
        faults.append(f"{after.fds - before.fds} open files are left over")
    return faults


async def settled(run: BridgeRun) -> Usage:
    """What is used once every socket had time to close."""
    await asyncio.sleep(SETTLE_S)
    return await run.told()


async def hold(bench: Bench, calls: int) -> list[str]:
    console.print(f"[bold]{calls} calls held for {HOLD_S:g} s[/]")
    spec = Spec(port=0, turn_ms=IDLE_TURN_MS, idle=True)
    async with bench.running(SERVER, capacity=2 * calls, load=spec) as run:
        before = await run.told()
        show("before", before)
        for placed in range(0, calls, 500):
            await run.open(min(500, calls - placed))
            show(f"{min(placed + 500, calls)} calls", await run.told())
        _, _, measured = await run.measure(HOLD_S)
        done = await run.told()
        show(f"after {HOLD_S:g} s", done)
        await run.hang_up()
        after = await settled(run)
        show("hung up", after)
    console.print(f"{(done.rss - before.rss) / 1e3 / calls:.1f} kB a call")
    faults = left_over(before, after)
    for name in ("lost", "disordered", "doubled", "damaged", "broken_calls"):
        count = sum(getattr(part, name) for part in measured)
        if count:
            faults.append(f"{count} {name.replace('_', ' ')}")
    return faults


class Used(NamedTuple):
    """What a server uses: memory in bytes and open files by process, tasks by event loop."""

    rss: dict[str, int]
    files: dict[str, int]
    tasks: dict[str, int]

    def __str__(self) -> str:
        parts = [
            f"{name} {self.rss[name] / 1e6:.1f} MB, {self.files[name]} files" for name in ROLES
        ]
        return "; ".join([*parts, *(f"{count} {name}" for name, count in self.tasks.items())])


async def used_by(run: BridgeRun, setup: ServeSetup) -> Used:
    """Return what the processes of `offhook serve` use, once both event loops tell their tasks."""
    roles = setup.roles(run.bridge.pid)
    (operator,) = set(roles.beside) - {run.bridge.pid}
    processes = {
        name: psutil.Process(pid)
        for name, pid in zip(ROLES, (roles.call, operator, run.bridge.pid), strict=True)
    }
    headers = {"Authorization": f"Bearer {setup.token}"}
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=ANSWER_S) as http:
        url = f"http://{HOST}:{setup.operator_port()}/metrics"
        async with asyncio.timeout(ANSWER_S):
            tasks: list[tuple[str, str]] = []
            while len(tasks) < len(LOOPS):
                page = (await http.get(url, headers=headers)).raise_for_status().text
                tasks = TASKS.findall(page)
    return Used(
        {name: process.memory_info().rss for name, process in processes.items()},
        {name: process.num_fds() for name, process in processes.items()},
        {name: int(float(count)) for name, count in tasks},
    )


async def stored(setup: ServeSetup) -> None:
    """Wait until the database has what the journals have now."""
    journal = setup.records / "journal"
    last = last_lines(journal)
    async with asyncio.timeout(CATCHES_UP_S):
        while waiting_lines(journal, last):  # noqa: ASYNC110 - it reads a folder
            await asyncio.sleep(0.5)


def ended_calls(setup: ServeSetup, database_url: str | None) -> tuple[int, int]:
    """Return how many calls have their end in the database, and how many do not."""
    url = database_url or f"sqlite:///{setup.records / serve.DATABASE}"
    engine = database.open_engine(database.url_of(url))
    with engine.connect() as connection:
        every = connection.scalar(select(func.count()).select_from(tables.calls)) or 0
    live = len(live_calls(engine))
    engine.dispose()
    return every - live, live


def grown(before: Used, warm: Used, after: Used, calls: int) -> list[str]:
    """Return what is left over after calls: `calls` of them were placed since `warm`."""
    faults = []
    for name in ROLES:
        more = after.rss[name] - warm.rss[name]
        if more > max(STEP_BYTES, GROWTH_BYTES * calls):
            faults.append(f"memory of the {name} process grew by {more / calls:.0f} bytes a call")
        files = after.files[name] - before.files[name]
        if files > FILES_SPARE:
            faults.append(f"{files} open files of the {name} process are left over")
    faults += [
        f"{count - before.tasks[name]} {name} are left over"
        for name, count in after.tasks.items()
        if count > before.tasks[name]
    ]
    return faults


async def churn(bench: Bench, calls: int, at_once: int, database_url: str | None) -> list[str]:
    """Place short calls at `offhook serve`; print the result in short; return what was wrong."""
    console.print(f"[bold]{calls} short calls, {at_once} at a time, offhook serve[/]")
    every = max(100, calls // 2000 * 100)
    bridge = ServeBridge(database_url=database_url)
    async with bench.running(bridge, capacity=2 * at_once, tls=True) as run:
        setup = run.setup
        assert setup is not None  # it is a server
        before = await used_by(run, setup)
        console.print(f"{'before':>14}: {before}")
        warm, warm_calls = before, 0
        warm_up = max(WARM_UP_SHARE * calls, min(WARM_UP_CALLS, calls // 2))
        async for placed in run.churn(calls, at_once, FRAMES):
            if placed % every == 0:
                now = await used_by(run, setup)
                console.print(f"{placed:>8} calls: {now}")
                if placed <= warm_up:
                    warm, warm_calls = now, placed
        await stored(setup)
        await asyncio.sleep(SETTLE_S)
        after = await used_by(run, setup)
        console.print(f"{'settled':>14}: {after}")
        _, _, measured = await run.measure(1)
        ended, live = ended_calls(setup, database_url)
    faults = grown(before, warm, after, calls - warm_calls)
    if measured[0].broken_calls:
        faults.append(f"{measured[0].broken_calls} calls broke")
    if ended != calls or live:
        faults.append(f"{ended} of {calls} calls have their end in the record, {live} have none")
    told = [
        f"{name} {(after.rss[name] - warm.rss[name]) / (calls - warm_calls):+.0f} bytes a call,"
        f" {after.files[name] - before.files[name]:+} files"
        for name in ROLES
    ]
    tasks = sum(after.tasks.values()) - sum(before.tasks.values())
    print(f"in short: {ended} calls at offhook serve; {'; '.join(told)}; {tasks:+} tasks")
    return faults


async def soak(given: argparse.Namespace) -> list[str]:
    bench = Bench(Cores(), os.environ)
    faults = []
    if given.hold:
        faults += await hold(bench, given.hold)
    if given.calls:
        with database_of(given.database) as url:
            faults += await churn(bench, given.calls, given.at_once, url)
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description="Hold many calls, then place many short ones.")
    parser.add_argument("--hold", type=int, default=5000, help="calls held at once; 0: none")
    parser.add_argument("--calls", type=int, default=20_000, help="short calls; 0: none")
    parser.add_argument("--at-once", type=int, default=50, help="short calls at a time")
    parser.add_argument("--database", choices=DATABASES, help="of `offhook serve`; default: sqlite")
    given = parser.parse_args()
    try:
        raise_file_limit(max(given.hold, given.at_once))
        faults = run_on_uvloop(soak(given))
    except UserError as problem:
        console.print(f"{problem.code} {problem.what}\n  → {problem.fix}")
        sys.exit(1)
    for fault in faults:
        console.print(f"[red]fault[/]: {fault}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
