"""make soak: many calls held, and many short calls one after another, while memory is watched.

    python bench/soak.py [--hold 5000] [--calls 20000] [--at-once 50]

Held calls say one frame in two seconds each way: a line that is up, not one that talks. Short ones
hang up after ten frames of the agent's. Exits with 1 when something was lost, a task or a socket
was left over, or memory did not come to rest.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from rich.console import Console

from offhook.bench.child import Usage
from offhook.bench.load.messages import Spec
from offhook.bench.runner import Bench, Bridge, BridgeRun, Cores
from offhook.concurrency.event_loop import run as run_on_uvloop
from offhook.errors import UserError

FILES_ELSEWHERE = 200
"""Open files of a process that are no call's; each call has two sockets, in bridge and in load."""
HOLD_S = 30.0
IDLE_TURN_MS = 2000
FRAMES = 10
WARM_UP_SHARE = 0.25
REST_BYTES = 2_000_000
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


async def churn(bench: Bench, calls: int, at_once: int, *, tls: bool) -> list[str]:
    console.print(
        f"[bold]{calls} short calls, {at_once} at a time{', TLS to the agent' if tls else ''}[/]"
    )
    every = max(100, calls // 2000 * 100)
    async with bench.running(SERVER, capacity=2 * at_once, tls=tls) as run:
        before = await run.told()
        show("before", before)
        warm = before
        async for placed in run.churn(calls, at_once, FRAMES):
            if placed % every == 0:
                now = await run.told()
                show(f"{placed} calls", now)
                if placed <= WARM_UP_SHARE * calls:
                    warm = now
        after = await settled(run)
        show("settled", after)
        _, _, measured = await run.measure(1)
    faults = left_over(before, after)
    if after.rss - warm.rss > REST_BYTES:
        grown = (after.rss - warm.rss) / 1e6
        faults.append(f"memory grew by {grown:.1f} MB after the first {WARM_UP_SHARE:.0%}")
    if measured[0].broken_calls:
        faults.append(f"{measured[0].broken_calls} calls broke")
    return faults


async def soak(given: argparse.Namespace) -> list[str]:
    bench = Bench(Cores(), os.environ)
    faults = []
    if given.hold:
        faults += await hold(bench, given.hold)
    for tls in (False, True):
        if given.calls:
            faults += await churn(bench, given.calls, given.at_once, tls=tls)
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description="Hold many calls, then place many short ones.")
    parser.add_argument("--hold", type=int, default=5000, help="calls held at once; 0: none")
    parser.add_argument("--calls", type=int, default=20_000, help="short calls; 0: none")
    parser.add_argument("--at-once", type=int, default=50, help="short calls at a time")
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
