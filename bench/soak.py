"""make soak: many calls held, and many short calls one after another, while memory is watched.

    python -m bench.soak [--hold 5000] [--calls 20000] [--at-once 50] [--database postgresql]

Held calls say one frame in two seconds each way: a line that is up, not one that talks. Short ones
hang up after ten frames of the agent's: `--calls` at `offhook serve` with its record, and as many
over TLS at a server in one process without a record, which tells its own tasks. Exits with 1 when
something was lost, a task or a socket was left over, or memory grew by more than 1 KB a short call
after the first quarter of them.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

import psutil
from bench.trial_server import DATABASES, database_of
from rich.console import Console

from offhook.bench.child import Usage
from offhook.bench.load.messages import Spec
from offhook.bench.runner import Bench, Bridge, BridgeRun, Cores, ServeBridge
from offhook.concurrency.event_loop import run as run_on_uvloop
from offhook.errors import UserError

FILES_ELSEWHERE = 200
"""Open files of a process that are no call's; each call has two sockets, in bridge and in load."""
HOLD_S = 30.0
IDLE_TURN_MS = 2000
FRAMES = 10
WARM_UP_SHARE = 0.25
GROWTH_BYTES = 1000
"""Memory that a call may leave, on average after the first quarter."""
STEP_BYTES = 1_000_000
"""The least growth that says anything: memory comes from the system in pieces of this size."""
FILES_SPARE = 8
"""Files that `serve` may have opened since: its log, its database, a connection of its operator."""
SETTLE_S = 3.0

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


def left_over(before: Usage, after: Usage, files_spare: int = 0) -> list[str]:
    faults = []
    if after.tasks > before.tasks:
        faults.append(f"{after.tasks - before.tasks} tasks are left over")
    if after.fds > before.fds + files_spare:
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


async def told_by(run: BridgeRun) -> Usage:
    """Return what the process that carries calls uses; the tasks of `serve` are not seen: 0."""
    if run.setup is None:
        return await run.told()
    process = psutil.Process(run.setup.roles(run.bridge.pid).call)
    rss, fds = process.memory_info().rss, process.num_fds()
    return Usage(at_ns=0, cpu_ns=0, rss=rss, tasks=0, fds=fds)


async def churn(
    bench: Bench, calls: int, at_once: int, database_url: str | None, *, shipped: bool
) -> tuple[list[str], str]:
    """Place short calls; return what was wrong, and the result in short."""
    name = "offhook serve" if shipped else "one process, TLS to the agent"
    console.print(f"[bold]{calls} short calls, {at_once} at a time, {name}[/]")
    every = max(100, calls // 2000 * 100)
    bridge = ServeBridge(database_url=database_url) if shipped else SERVER
    async with bench.running(bridge, capacity=2 * at_once, tls=not shipped) as run:
        before = await told_by(run)
        show("before", before)
        warm, warm_calls = before, 0
        async for placed in run.churn(calls, at_once, FRAMES):
            if placed % every == 0:
                now = await told_by(run)
                show(f"{placed} calls", now)
                if placed <= WARM_UP_SHARE * calls:
                    warm, warm_calls = now, placed
        await asyncio.sleep(SETTLE_S)
        after = await told_by(run)
        show("settled", after)
        _, _, measured = await run.measure(1)
    faults = left_over(before, after, FILES_SPARE if shipped else 0)
    grown = after.rss - warm.rss
    each = grown / (calls - warm_calls)
    if grown > max(STEP_BYTES, GROWTH_BYTES * (calls - warm_calls)):
        faults.append(f"{name}: memory grew by {each:.0f} bytes a call after {warm_calls} calls")
    if measured[0].broken_calls:
        faults.append(f"{name}: {measured[0].broken_calls} calls broke")
    files, tasks = after.fds - before.fds, after.tasks - before.tasks
    left = f"{files:+} files" if shipped else f"{tasks:+} tasks, {files:+} files"
    return faults, f"{name}: {calls} calls, {each:+.0f} bytes a call, {left}"


async def soak(given: argparse.Namespace) -> list[str]:
    bench = Bench(Cores(), os.environ)
    faults = []
    if given.hold:
        faults += await hold(bench, given.hold)
    told = []
    with database_of(given.database if given.calls else None) as url:
        for shipped in (True, False):
            if given.calls:
                wrong, short = await churn(bench, given.calls, given.at_once, url, shipped=shipped)
                faults += wrong
                told.append(short)
    if told:
        print(f"in short: {'; '.join(told)}")
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
