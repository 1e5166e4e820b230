"""make soak: what a record survives. A real `offhook serve`, talking calls, and then trouble.

    python -m bench.faults kill [--rounds 100] [--calls 20] [--database postgresql]
    python -m bench.faults operator [--rounds 100] [--calls 20] [--database postgresql]
    python -m bench.faults outage [--seconds 2] [--calls 50]
    python -m bench.faults full-disk [--calls 20]
    python -m bench.faults small-disk [--calls 20]

`kill` ends the call process with SIGKILL in mid-call and looks for every line that had arrived more
than 100 ms before, the caller's and the agent's, each once. Of the agent's lines those must count
as heard that the caller's marks had passed so long before and, in an answer that had not ended, a
second more (AgentHeard). Each caller does what Twilio does then: asks /twilio/after, and opens the
stream that the answer names. 99 of 100 must hear the agent's own words again within 5 s of the
kill, in the same call, and none is greeted twice; afterwards no call and no agent's session is
left. `operator` ends the operator process again and again under talking calls, `outage` stops a
real PostgreSQL for so many seconds, `full-disk` lets the database's files grow no further,
`small-disk` fills the disk of database and journals, a tmpfs, for which it must be root: no call
may notice, and afterwards no line may be missing or doubled. The agent speaks TLS, as Deepgram
does; --plain leaves that out.
Exits with 1 when something is not as it must be. With `--untimed`, for machines that are busy with
something else, only what is lost counts, and not how soon: a line must have arrived two seconds
before, and a caller must go on hearing while the database is away.

A line has arrived when the server has answered the ping that the agent sent behind it. It is looked
for when the database has taken what the journal has. The load says by how much it was late itself.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bench.talkers import (
    LATE_S,
    ReturningCaller,
    TalkingAgent,
    Told,
    agent,
    heard,
    line_of,
    talking,
    until_back,
)
from bench.trial_server import DATABASES, TrialServer, certificate, database_of, live_calls
from sqlalchemy import Engine, select

from offhook.concurrency.event_loop import run as run_on_uvloop
from offhook.recordings import wav
from offhook.records import tables

GRACE_S = 0.1
UNTIMED_GRACE_S = 2.0
"""A line that arrived so long before the end must have survived it."""
HEARD_MEANWHILE = 10
"""Messages of audio that each caller must hear while the database is away: a second of it."""
HEARD_EVERY_S = 1.0
"""Speech of an answer that goes on after which the server notes how much of it was heard."""
BACK_S = 5.0
"""A caller is to hear the agent again within so many seconds of the kill of the call process."""
BACK_SHARE = 0.99
SILENT_S = 0.5
"""A call in which the caller heard nothing for so long has noticed something."""
OUTAGE_S = 2.0
DISK_BYTES = 64 * 1024 * 1024
"""Size of the disk that is filled."""
PAGE_BYTES = 4096

LINE = re.compile(r"call \d+ says line \d+")


class UntriedError(Exception):
    """What is to be tried cannot be tried on this machine."""


class Faults:
    """What was found wrong, and how much was looked at."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.lines = 0
        self.lost = 0
        self.doubled = 0
        self.unheard = 0
        """Lines of the agent's that had been heard, and do not count as heard."""
        self.held = 0
        """Messages of hold tones that callers heard."""
        self.latest_s = 0.0
        """By how much the load was late at most, while it had calls."""
        self.text = ""
        """What was found, in short."""

    def check(self, good: bool, what: str) -> None:
        if not good:
            self.found.append(what)

    def lines_are_there(
        self,
        engine: Engine,
        told: Told,
        moment: float,
        callers: list[ReturningCaller],
        where: str,
    ) -> None:
        """Look for the lines of both sides that arrived before a moment, each once."""
        mine = [caller.call_sid for caller in callers]
        with engine.connect() as connection:
            caller_said = connection.scalars(
                select(tables.utterances.c.text).where(
                    tables.utterances.c.who == "caller", tables.utterances.c.call_sid.in_(mine)
                )
            )
            there = {"caller": Counter(caller_said)}
            bodies = connection.scalars(
                select(tables.events.c.body).where(
                    tables.events.c.kind == "AgentSaid", tables.events.c.call_sid.in_(mine)
                )
            )
            said = [json.loads(body) for body in bodies]
        there["agent"] = Counter(line for one in said for line in LINE.findall(one["intended"]))
        heard = {line for one in said for line in LINE.findall(one["text"])}
        wanted = {"caller": told.before(moment), "agent": told.said_before(moment)}
        for who, lines in wanted.items():
            missing = lines - there[who].keys()
            doubled = [text for text, count in there[who].items() if count > 1]
            self.lines += len(lines)
            self.lost += len(missing)
            self.doubled += len(doubled)
            self.check(
                not missing, f"{where}: {len(missing)} of {len(lines)} lines of the {who} missing"
            )
            self.check(not doubled, f"{where}: {len(doubled)} lines of the {who} are doubled")
        unheard = heard_lines(callers, moment) - heard
        self.unheard += len(unheard)
        self.check(not unheard, f"{where}: {len(unheard)} lines that were heard do not count so")

    def load_was_late(self, callers: list[ReturningCaller]) -> None:
        """Take note of by how much the load was late, and of the tones that callers heard."""
        self.held += sum(caller.held for caller in callers)
        self.latest_s = max([self.latest_s, *(caller.latest_s for caller in callers)])

    def none_live(self, engine: Engine, where: str) -> None:
        ghosts = live_calls(engine)
        self.check(not ghosts, f"{where}: {len(ghosts)} calls without an end")

    def came_back(self, callers: list[ReturningCaller], where: str, *, timed: bool) -> list[float]:
        """Check that callers heard the agent again, once each; return after how many seconds."""
        backs = [back for caller in callers for back in caller.backs]
        if timed:
            soon = sum(back <= BACK_S for back in backs)
            good = soon >= BACK_SHARE * len(callers)
            self.check(good, f"{where}: {soon} of {len(callers)} are back within {BACK_S:g} s")
        self.check(len(backs) == len(callers), f"{where}: {len(backs)} of {len(callers)} are back")
        twice = sum(len(caller.backs) > 1 for caller in callers)
        self.check(not twice, f"{where}: {twice} callers came back twice")
        return backs

    def nobody_noticed(self, callers: list[ReturningCaller], where: str, *, timed: bool) -> str:
        """Check that no caller heard nothing for a while; return the longest silence, in words."""
        longest_s = max(caller.longest_silence_s for caller in callers)
        if timed:
            silent = sum(caller.longest_silence_s > SILENT_S for caller in callers)
            self.check(not silent, f"{where}: {silent} callers heard nothing for a while")
        self.check(all(caller.heard for caller in callers), f"{where}: a caller heard nothing")
        return f"longest silence {longest_s:.2f} s; "


def heard_lines(callers: list[ReturningCaller], moment: float) -> set[str]:
    """Return the agents' lines that callers had heard before a moment, as far as that is noted."""
    lines = set()
    for caller in callers:
        for session, playing in caller.played_before(moment).items():
            if session % 2:  # a conversation, whose lines of the agent's have even numbers
                lines |= {line_of(session, number) for number in range(0, playing, 2)}
        for session, playing in caller.played_before(moment - HEARD_EVERY_S).items():
            if not session % 2:
                lines |= {line_of(session, number) for number in range(playing)}
    return lines


async def kill(trial: "Trial") -> Faults:
    """SIGKILL in the middle of talking calls, and a look at what the next start finds."""
    faults, rounds, calls = Faults(), trial.rounds, trial.calls
    backs: list[float] = []
    recordings = 0
    grace_s = GRACE_S if trial.timed else UNTIMED_GRACE_S
    async with agent(trial.certificate) as (deepgram, port):
        server = trial.server(port)
        engine = server.engine()
        process = await server.start()
        for round_ in range(1, rounds + 1):
            deepgram.told = Told()
            where = f"round {round_}"
            deepgram.greeted = 0
            async with talking(server.port, calls) as callers:
                await asyncio.sleep(random.uniform(2.0, 3.0) + grace_s)
                pid = await server.pid(process, "call")
                killed_at = time.monotonic()
                os.kill(pid, signal.SIGKILL)
                await server.pid(process, "call", other_than=pid)
                await until_back(callers)
                await asyncio.sleep(0.5)
                faults.load_was_late(callers)
            back = faults.came_back(callers, where, timed=trial.timed)
            backs += back
            faults.check(deepgram.greeted <= calls, f"{where}: {deepgram.greeted} greetings")
            await deepgram.until_alone()
            await server.stored()
            await server.until_ended(engine)
            await server.stored()
            faults.check(not deepgram.open, f"{where}: {deepgram.open} agents are left")
            faults.lines_are_there(engine, deepgram.told, killed_at - grace_s, callers, where)
            faults.none_live(engine, where)
            files = server.recordings()
            faults.check(len(files) >= calls * round_, f"{where}: {len(files)} recordings")
            for path in files[recordings:]:
                caller, spoken = wav.read_stereo(path)
                faults.check(len(caller) == len(spoken) > 0, f"{where}: {path.name} is empty")
            recordings = len(files)
            print(
                f"  {where}: {len(back)} of {calls} back, slowest {max(back, default=0):.2f} s;"
                f" load late by {max(caller.latest_s for caller in callers) * 1000:.0f} ms",
                flush=True,
            )
        process.terminate()
        await process.wait()
        engine.dispose()
    backs.sort()
    soon = sum(back <= BACK_S for back in backs)
    times = f"median {backs[len(backs) // 2]:.2f} s, slowest {backs[-1]:.2f} s; " if backs else ""
    print(f"  {recordings} recordings opened")
    faults.text = (
        f"callers back within {BACK_S:g} s of the kill: {soon} of {rounds * calls}; {times}"
        f"{faults.held} hold tones, which do not count; "
    )
    return faults


async def kill_operator(trial: "Trial") -> Faults:
    """SIGKILL of the operator process again and again, while calls talk."""
    faults = Faults()
    async with agent(trial.certificate) as (deepgram, port):
        server = trial.server(port)
        process = await server.start()
        async with talking(server.port, trial.calls) as callers:
            pid = None
            for _ in range(trial.rounds):
                pid = await server.pid(process, "operator", other_than=pid)
                await asyncio.sleep(random.uniform(0.0, 3.0))
                os.kill(pid, signal.SIGKILL)
            faults.load_was_late(callers)
            silence = faults.nobody_noticed(
                callers, "while the operator process was killed", timed=trial.timed
            )
        await server.stored()
        process.terminate()
        await process.wait()
        engine = server.engine()
        faults.lines_are_there(engine, deepgram.told, math.inf, callers, "afterwards")
        faults.none_live(engine, "afterwards")
        engine.dispose()
    faults.text = f"killed {trial.rounds} times under {trial.calls} calls; {silence}"
    return faults


async def _trouble(
    trial: "Trial",
    server: TrialServer,
    deepgram: TalkingAgent,
    begin: Callable[[int], None],
    end: Callable[[int], None],
) -> Faults:
    """Calls that talk before, during and after trouble with the database."""
    faults = Faults()
    process = await server.start()
    async with talking(server.port, trial.calls) as callers:
        await asyncio.sleep(1)
        pid = await server.pid(process, "operator")
        await server.stored()  # the operator process may still be starting
        for caller in callers:
            caller.longest_silence_s = 0.0
        # In a thread: while PostgreSQL stops, the callers of this process go on hearing.
        await asyncio.to_thread(begin, pid)
        began = time.monotonic()
        await server.until_troubled()
        await heard(callers, HEARD_MEANWHILE)
        await asyncio.sleep(max(0.0, began + trial.seconds - time.monotonic()))
        await heard(callers, 1)
        took_s = time.monotonic() - began
        await asyncio.to_thread(end, pid)
        await server.until("ok")
        await asyncio.sleep(1)
        faults.load_was_late(callers)
        silence = faults.nobody_noticed(callers, "during the trouble", timed=trial.timed)
    await server.stored()
    process.terminate()
    await process.wait()
    engine = server.engine()
    faults.lines_are_there(engine, deepgram.told, math.inf, callers, "afterwards")
    faults.none_live(engine, "afterwards")
    engine.dispose()
    faults.text = f"{trial.calls} calls went on for {took_s:.0f} s of it; {silence}"
    return faults


async def outage(trial: "Trial") -> Faults:
    """PostgreSQL is stopped under talking calls, and started again."""
    from tests.postgres import Postgres

    postgres = Postgres()
    try:
        with postgres.database() as url:
            trial.database_url = url.render_as_string(hide_password=False)
            async with agent(trial.certificate) as (deepgram, port):
                return await _trouble(
                    trial,
                    trial.server(port),
                    deepgram,
                    lambda _: postgres.shut_down(),
                    lambda _: postgres.start_again(),
                )
    finally:
        postgres.stop()


async def full_disk(trial: "Trial") -> Faults:
    """No file of the operator process may grow beyond what the database has already."""
    import resource

    def limit(pid: int, size: int) -> None:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))

    async with agent(trial.certificate) as (deepgram, port):
        server = trial.server(port)
        data = trial.folder / "offhook-data"

        def fill(pid: int) -> None:
            limit(pid, max(path.stat().st_size for path in data.glob("offhook.db*")))

        def empty(pid: int) -> None:
            limit(pid, resource.RLIM_INFINITY)

        return await _trouble(trial, server, deepgram, fill, empty)


async def small_disk(trial: "Trial") -> Faults:
    """No file of any process may grow: the disk of the whole record is full."""
    data = trial.folder / "offhook-data"
    filler = data / "filler"
    data.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(data)]
    try:
        await asyncio.to_thread(subprocess.run, mount, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UntriedError("a disk of its own cannot be mounted here") from error

    def fill(_pid: int) -> None:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):  # ENOSPC
            while True:
                file.write(bytes(PAGE_BYTES))

    def empty(_pid: int) -> None:
        filler.unlink()

    try:
        async with agent(trial.certificate) as (deepgram, port):
            return await _trouble(trial, trial.server(port), deepgram, fill, empty)
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", "--lazy", str(data)], check=False)


class Trial:
    """What is tried, how often, and on what."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self.folder = folder
        self.rounds: int = given.rounds
        self.calls: int = given.calls
        self.seconds: float = given.seconds
        self.timed = not given.untimed
        self.database_url: str | None = None
        self.certificate = certificate(folder, tls=not given.plain)
        self._servers: list[TrialServer] = []

    def server(self, agent_port: int) -> TrialServer:
        """Return the server of this trial."""
        tls = self.certificate is not None
        self._servers.append(TrialServer(self.folder, agent_port, self.database_url, tls=tls))
        return self._servers[-1]

    def kill_servers(self) -> None:
        """Kill what is left of the servers; nothing is, unless the trial has raised."""
        for server in self._servers:
            server.kill()


WHAT = {
    "kill": kill,
    "operator": kill_operator,
    "outage": outage,
    "full-disk": full_disk,
    "small-disk": small_disk,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=list(WHAT))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=OUTAGE_S, help="of an outage or full disk")
    parser.add_argument("--database", choices=DATABASES, help="of kill and operator")
    parser.add_argument("--plain", action="store_true", help="no TLS to the agent")
    parser.add_argument("--untimed", action="store_true", help="see above")
    asked = parser.parse_args()
    wanted = {"outage": "postgresql", "full-disk": "sqlite", "small-disk": "sqlite"}.get(asked.what)
    if wanted is not None and asked.database not in (None, wanted):
        parser.error(f"{asked.what} is of {wanted}")
    if asked.what == "small-disk" and (sys.platform != "linux" or os.geteuid() != 0):
        _tell_untried("a disk of its own needs Linux and root")
        return
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="offhook-faults-") as name:
        trial = Trial(Path(name), asked)
        with database_of(asked.database if wanted is None else None) as url:
            trial.database_url = url
            try:
                faults = run_on_uvloop(WHAT[asked.what](trial))
            except UntriedError as error:
                _tell_untried(str(error))
                return
            finally:
                trial.kill_servers()
    seconds = time.monotonic() - began
    for found in faults.found:
        print(f"  WRONG {found}")
    print(f"{asked.what}: {faults.lines} lines looked for in {seconds:.0f} s")
    late = f"{faults.latest_s * 1000:.0f} ms"
    print(
        f"in short: {faults.text}{faults.lost} of {faults.lines} lines of both sides lost,"
        f" {faults.doubled} doubled, {faults.unheard} heard and not counted so;"
        f" the load was late by {late} at most"
    )
    if faults.latest_s > LATE_S:
        print(f"  the load shares the delays: it was late by {late}")
    if not trial.timed:
        print("not judged: how soon, and whether callers noticed (--untimed)")
    sys.exit(bool(faults.found) or not faults.lines)


def _tell_untried(why: str) -> None:
    print("in short: nothing was tried")
    print(f"not judged: all of it, as {why}")


if __name__ == "__main__":
    main()
