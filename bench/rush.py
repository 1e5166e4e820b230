"""make soak: a thousand calls in a second, at a server that takes a hundred.

    python -m bench.rush [--calls 1000] [--capacity 100] [--live 50] [--spread 1] [--tls]
                         [--policy say ...]

A real `offhook serve` that records `--live` calls, which talk, and then a crowd: each caller asks
the voice webhook on a connection of its own, signed, spread evenly over a second. Whoever is
connected opens the stream and talks, too; the others get what the agent's `busy` says. Each policy
is tried at a server of its own: words, another number, voicemail. Exits with 1 when a webhook is
not answered within 5 s (Twilio waits for 15, twilio.md §4.1), when other than `--capacity` calls
are connected, when one of the rest does not get the answer of the policy, or when the delay that
the server adds to audio has a 99th percentile of 5 ms or more: of the calls that were there, during
the rush, and of all calls after it. A policy is tried again, at most twice more, if the crowd did
not ask within `--spread` seconds, or a delay is above the bar and the load itself was late
meanwhile; it is not judged if that stays so. Whatever else was wrong in a try counts, though it is
tried again. With `--untimed`, for machines that are busy with
something else, only the answers count, not when they come. With --tls the agent speaks TLS, as
Deepgram does.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
from bench.attack import (
    P99_MS,
    TRIES,
    Load,
    cpu_of,
    exit_after,
    is_excused,
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
from offhook.bench.serve import RECORDED_AGENT, ServeSetup

ANSWER_S = 5.0
AFTER_S = 4.0
"""Seconds for which all calls are measured after the rush."""
PATIENCE_S = 60.0
FIRST = 10_000
"""Number of the crowd's first call; those before it are the load's."""
SPREAD_SHARE = 0.9
"""Share of the spread in which the crowd is to ask: its last requests may be late by the rest."""
POLICIES = {
    "say": ("{say: All our lines are busy.}", "<Say"),
    "dial": ("{dial: '+12025550123'}", "<Dial"),
    "voicemail": ("{voicemail: {say: Please leave a message.}}", "<Record"),
}
"""Settings of `busy` in an agent's file, and the verb of each one's answer."""


class Rush(msgspec.Struct):
    """What became of the crowd. Times are in seconds, delays in ms."""

    connected: int = 0
    busy: int = 0
    unanswered: list[str] = []
    asked_s: float = 0.0
    """Seconds from the first request to the last one."""
    slowest_s: float = 0.0
    median_s: float = 0.0
    late_ms: float = 0.0
    """Lateness of the crowd's own frames after the rush, at p99."""
    delay_ms: float = 0.0
    """99th percentile of the delay added to the agent's audio, of the calls that were connected."""
    broken: int = 0


# --- The crowd, a process of its own --------------------------------------------------------------


class CrowdCaller(LoadCaller):
    """A caller who notes when the webhook was asked, how long that took, and the answer."""

    def __init__(self, name: int, load: Callers) -> None:
        super().__init__(str(name), load, 7 * name + 3)
        self.asked_at = 0.0
        self.wait_s = PATIENCE_S
        self.document = ""

    async def _document(self, port: int, token: str) -> str:
        self.asked_at = time.perf_counter()
        self.document = await super()._document(port, token)
        self.wait_s = time.perf_counter() - self.asked_at
        return self.document


async def crowd(given: argparse.Namespace) -> Rush:
    rush = Rush()
    load = Callers(20, idle=False)
    callers = [CrowdCaller(FIRST + number, load) for number in range(given.calls)]
    (policy,) = given.policy
    _, verb = POLICIES[policy]

    async def call(number: int, began: float) -> None:
        due = began + number * given.spread * SPREAD_SHARE / given.calls
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        caller = callers[number]
        try:
            async with asyncio.timeout(PATIENCE_S):
                await caller.call(given.crowd, TOKEN, "webhook")
                await caller.answered.wait()
        except sockets.RefusedError as refused:
            if verb in caller.document:
                rush.busy += 1
            else:
                rush.unanswered.append(str(refused))
        except TimeoutError:
            rush.unanswered.append("no answer")
        else:
            rush.connected += 1

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(given.calls):
            group.create_task(call(number, began))
    print("the crowd has its answers", flush=True)
    load.begin()
    await asyncio.sleep(AFTER_S)
    measured = load.finish()
    rush.delay_ms, rush.late_ms = p99_ms(measured, of_callers=True), late_ms(measured)
    rush.broken = measured.broken_calls
    waits = sorted(caller.wait_s for caller in callers)
    rush.slowest_s, rush.median_s = waits[-1], waits[len(waits) // 2]
    asked = [caller.asked_at for caller in callers]
    rush.asked_s = max(asked) - min(asked)
    return rush


# --- The run --------------------------------------------------------------------------------------


async def run(given: argparse.Namespace, folder: Path) -> list[str]:
    """Try each policy; print the result in short; return what was wrong."""
    rushes, faults = list[Tried](), list[str]()
    for policy in given.policy or POLICIES:

        async def attempt(number: int, policy: str = policy) -> Tried:
            place = folder / f"{policy}-{number}"
            place.mkdir()
            with database_of(given.database) as url:
                return await run_on(given, policy, place, url)

        tried, found = await until_judged(given, attempt)
        rushes.append(tried)
        faults += [f"{policy}: {what}" for what in found]
    _tell(rushes)
    unjudged = [what for tried in rushes for what in tried.unjudged(given.spread)]
    if given.untimed:
        print("not judged: delays (--untimed)")
    elif unjudged:
        print(f"not judged: {'; '.join(unjudged)}")
    return faults


async def until_judged(
    given: argparse.Namespace, attempt: Callable[[int], Awaitable["Tried"]]
) -> tuple["Tried", list[str]]:
    """Try until a rush can be judged; return the last try, and what was wrong in any of them.

    A late load excuses late frames, and nothing else: a call that broke in a try that is repeated
    has broken.
    """
    faults, number, most = list[str](), 1, 1 if given.untimed else TRIES
    while True:
        tried = await attempt(number)
        faults += tried.faults(given)
        if number == most or not tried.unjudged(given.spread):
            return tried, faults
        number += 1


async def run_on(
    given: argparse.Namespace, policy: str, folder: Path, database_url: str | None
) -> "Tried":
    async with process("-m", "offhook.bench.load", spec(folder, tls=given.tls)) as made:
        load = Load(made)
        port = msgspec.json.decode(await load.heard())["port"]
        server = TrialServer(folder, port, database_url, tls=given.tls)
        config = folder / "offhook.yaml"
        text = config.read_text()
        config.write_text(text.replace("capacity: 200", f"capacity: {given.capacity}"))
        assert config.read_text() != text or given.capacity == 200
        (folder / "agent.yaml").write_text(f"busy: {POLICIES[policy][0]}{RECORDED_AGENT}")
        running = await server.start()
        try:
            place = PlaceCalls(
                port=server.port, calls=given.live, first=0, token=TOKEN, road="webhook"
            )
            await load.ask(place)
            before = await load.measure(None, AFTER_S)
            pid = ServeSetup(folder, TOKEN, server.port).roles(running.pid).call
            cpu_s = cpu_of(pid)
            asked = (f"--crowd={server.port}", f"--calls={given.calls}", f"--spread={given.spread}")
            async with process("-m", "bench.rush", *asked, f"--policy={policy}") as others:
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
            await stopped(running)
    tried = Tried(policy, rush, before, during, after)
    _show(given, tried, cpu_s)
    return tried


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
        return None if is_excused(self.p99, self.load_late) else False

    def __str__(self) -> str:
        return f"{self.when} {self.p99:.2f} ms, load late by {self.load_late:.2f} ms"


@dataclass(frozen=True)
class Tried:
    """A rush with one policy, and what the calls measured that were there before it."""

    policy: str
    rush: Rush
    before: Measured
    during: Measured
    after: Measured

    @property
    def delays(self) -> list[Delay]:
        return [
            Delay("in the rush", p99_ms(self.during), late_ms(self.during)),
            Delay("after it", p99_ms(self.after), late_ms(self.after)),
            Delay("of the crowd after it", self.rush.delay_ms, self.rush.late_ms),
        ]

    def unjudged(self, spread_s: float) -> list[str]:
        """Return what cannot be judged, and why."""
        late = [
            f"{self.policy}: added delay as the load was late: {one}"
            for one in self.delays
            if one.verdict is None
        ]
        if self.rush.asked_s > spread_s:
            late.append(f"{self.policy}: the crowd took {self.rush.asked_s:.2f} s to ask")
        return late

    def faults(self, given: argparse.Namespace) -> list[str]:
        """Return what was wrong."""
        rush, room = self.rush, given.capacity - given.live
        lost = self.after.broken_calls
        found = (
            (lost > 0, f"{lost} of the calls that were there broke"),
            (bool(rush.unanswered), f"not answered: {sorted(set(rush.unanswered))}"),
            (
                rush.connected != room,
                f"{rush.connected} calls were connected, and there was room for {room}",
            ),
            (rush.busy != given.calls - room, f"{rush.busy} got the answer of the policy"),
            (rush.broken > 0, f"{rush.broken} of the connected calls broke"),
            (
                not given.untimed and rush.slowest_s > ANSWER_S,
                f"an answer took {rush.slowest_s:.1f} s",
            ),
            *(
                (not given.untimed and one.verdict is False, f"added delay {one}")
                for one in self.delays
            ),
        )
        return [what for is_so, what in found if is_so]


def _show(given: argparse.Namespace, tried: Tried, cpu_s: float) -> None:
    rush, measured = tried.rush, (tried.before, tried.during, tried.after)
    table = Table(
        "policy", "calls", "in", "connected", "policy", "slowest", "median", "CPU", "delay p99"
    )
    delays = ", ".join(f"{p99_ms(each):.2f}" for each in measured)
    table.add_row(
        tried.policy,
        str(given.calls),
        f"{rush.asked_s:.2f} s",
        str(rush.connected),
        str(rush.busy),
        f"{rush.slowest_s:.2f} s",
        f"{rush.median_s * 1000:.0f} ms",
        f"{cpu_s:.2f} s",
        f"before, during, after {delays} ms; of the crowd {rush.delay_ms:.2f} ms",
    )
    Console(width=140).print(table)


def _tell(rushes: list[Tried]) -> None:
    """Print the result of all policies in short."""
    by_policy = "; ".join(
        f"{one.policy}: {one.rush.connected} connected, {one.rush.busy} by policy,"
        f" {len(one.rush.unanswered)} unanswered"
        for one in rushes
    )
    before = max(p99_ms(one.before) for one in rushes)
    rush, after, crowd = (max(one.delays[part].p99 for one in rushes) for part in range(3))
    print(
        f"in short: {by_policy}; all asked within {max(one.rush.asked_s for one in rushes):.2f} s;"
        f" slowest answer {max(one.rush.slowest_s for one in rushes):.2f} s; p99 of recorded calls"
        f" that talked before {before:.1f} ms, {rush:.1f} ms during it, {after:.1f} ms after it;"
        f" of the crowd {crowd:.1f} ms after"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--capacity", type=int, default=100)
    parser.add_argument("--live", type=int, default=50, help="calls that talk already")
    parser.add_argument("--spread", type=float, default=1.0, help="seconds")
    parser.add_argument("--tls", action="store_true", help="the agent speaks TLS")
    parser.add_argument("--database", choices=DATABASES, help="of the record; default: sqlite")
    parser.add_argument("--policy", action="append", choices=list(POLICIES), help="default: all")
    parser.add_argument("--untimed", action="store_true")
    parser.add_argument("--crowd", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.crowd:
        print(msgspec.json.encode(asyncio.run(crowd(given))).decode(), flush=True)
        return
    exit_after("rush", lambda folder: run(given, folder))


if __name__ == "__main__":
    main()
