"""make soak: the wall clock of a server is set under live calls, and summer time begins and ends.

    python -m bench.clocks [--calls 10] [--seconds 3] [--database postgresql]

A real `offhook serve` in the time zone Europe/Berlin, under a wall clock of its own (wall_clock.c,
for which a C compiler is needed); its monotonic clock is left alone, as the system's is. Calls talk
while the clock is set an hour ahead, then others while it is set an hour back, and others across
the last Sundays of March and October, at which the hour changes. Two callers more have asked the
webhook before the change, and open their stream after it. Exits with 1 when a call was over before
its caller hung up, when a duration or a time in the record is negative or longer than it was by our
own clock, or when the server's clock did not move.
"""

import argparse
import asyncio
import datetime
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from bench.talkers import ReturningCaller, agent, heard, talking
from bench.trial_server import DATABASES, TrialServer, certificate, database_of
from sqlalchemy import Engine, func, select

from offhook.concurrency.event_loop import run as run_on_uvloop
from offhook.records import tables
from offhook.records.call_record import shown

SOURCE = Path(__file__).with_name("wall_clock.c")
ZONE = "Europe/Berlin"
HOUR_S = 3600.0
WAITING = 2
"""Callers that have asked the webhook before the change, and whose stream comes after it."""
AFTER_S = 1.0
"""Seconds from a change of the clock to the streams of those who had asked before it."""
BEFORE_S = 20.0
"""Seconds from a server's start to the change of the hour, in which it starts and calls begin."""
FIRST_S = {"spring": (2027, 3, 28, 1), "autumn": (2027, 10, 31, 1)}
"""Changes of the hour in Berlin, as year, month, day and hour in UTC."""


@dataclass
class Found:
    """What was found wrong, and the least and most of what was looked at."""

    wrong: list[str] = field(default_factory=list)
    calls: int = 0
    early: int = 0
    least_ms: list[int] = field(default_factory=list)

    def check(self, good: bool, what: str) -> None:
        """Take note of what is not as it must be."""
        if not good:
            self.wrong.append(what)


class WallClock:
    """The wall clock of a server's processes: the machine's, and an offset in a file."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._file = folder / "offset"
        self._library = library
        self._file.write_bytes(bytes(8))

    def set(self, ahead_s: float) -> None:
        """Set the clock so many seconds ahead of the machine's, at once."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", round(ahead_s * 1e9)))

    @property
    def environ(self) -> dict[str, str]:
        """Return the environment of processes with this clock."""
        return {"LD_PRELOAD": str(self._library), "WALL_CLOCK": str(self._file), "TZ": ZONE}


def compiled(folder: Path) -> Path | None:
    """Return the library that gives processes such a clock; None if it cannot be compiled here.

    Not every machine with a compiler has the headers of the C library.
    """
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        return None
    path = folder / "wall_clock.so"
    options = ["-O2", "-shared", "-fPIC", "-o", str(path), str(SOURCE), "-ldl"]
    made = subprocess.run([compiler, *options], check=False)
    return path if made.returncode == 0 else None


def _look_at(engine: Engine, call_sid: str, most_ms: float, found: Found, where: str) -> None:
    """Look at the times of a call's record, none of which may exceed `most_ms`."""
    with engine.connect() as connection:
        record = shown(connection, call_sid)
        events = select(tables.events.c.at_ms).where(tables.events.c.call_sid == call_sid)
        at_ms = list(connection.scalars(events.order_by(tables.events.c.line)))
    call = record.call
    if call.slug != "caller_hung_up":
        found.early += 1
        found.wrong.append(f"{where}: a call ended as {call.slug}")
    spans = [call.duration_ms or 0, record.meters.stream_ms, record.meters.deepgram_ms]
    found.least_ms.append(min(spans))
    found.check(0 < min(spans) <= max(spans) <= most_ms, f"{where}: durations {spans} ms")
    times = [*at_ms, *(entry.at_ms for entry in record.timeline)]
    found.check(
        bool(times) and 0 <= min(times) <= max(times) <= most_ms,
        f"{where}: times from {min(times, default=0)} to {max(times, default=0)} ms",
    )
    found.check(at_ms == sorted(at_ms), f"{where}: events are not in their order")


def _wall_s(engine: Engine) -> tuple[float, float]:
    """Return the first and the last time at which an event was written, in s since 1970."""
    wall = tables.events.c.wall_ms
    with engine.connect() as connection:
        first, last = connection.execute(select(func.min(wall), func.max(wall))).one()
    return first / 1000, last / 1000


class Trial:
    """What is tried, and on what."""

    def __init__(self, folder: Path, given: argparse.Namespace, library: Path) -> None:
        self._folder = folder
        self._given = given
        self._library = library
        self.found = Found()

    async def set_by_hand(self) -> None:
        """Set the clock an hour ahead, and then an hour back."""
        async with AsyncExitStack() as stack:
            clock, server, engine = await self._started("by hand", stack, lambda: 0.0)
            for ahead_s, where in ((HOUR_S, "an hour ahead"), (0.0, "an hour back")):

                def change(ahead_s: float = ahead_s) -> float:
                    clock.set(ahead_s)
                    return AFTER_S

                await self._across(server, engine, change, where)
            first_s, last_s = _wall_s(engine)
            moved_s = last_s - first_s
            self.found.check(moved_s > HOUR_S / 2, f"the clock moved by {moved_s:.0f} s")

    async def summer_time(self, season: str) -> None:
        """Have calls talk while the hour changes."""
        changes_at = datetime.datetime(*FIRST_S[season], tzinfo=datetime.UTC)
        before, after = (
            (changes_at + datetime.timedelta(seconds=s)).astimezone(ZoneInfo(ZONE)).utcoffset()
            for s in (-1, 1)
        )
        assert before != after, f"{ZONE} does not change its hour at {changes_at}"
        begins_s = changes_at.timestamp() - BEFORE_S
        async with AsyncExitStack() as stack:
            clock, server, engine = await self._started(
                season, stack, lambda: begins_s - time.time()
            )

            def change() -> float:
                # The start took its time: the clock is set once more, to seconds before the change.
                clock.set(changes_at.timestamp() - AFTER_S - time.time())
                return 2 * AFTER_S

            await self._across(server, engine, change, f"the change in {season}")
            first_s, last_s = _wall_s(engine)
            crossed = first_s < changes_at.timestamp() < last_s
            self.found.check(crossed, f"{season}: the clock did not pass the change of the hour")

    async def _across(
        self, server: TrialServer, engine: Engine, change: Callable[[], float], where: str
    ) -> None:
        """Have calls talk across a change of the clock, and look at their record.

        `change` returns after how many seconds the clock has changed.
        """
        began = time.monotonic()
        waiting = [ReturningCaller() for _ in range(WAITING)]
        tokens = [await caller.ask_voice(server.port) for caller in waiting]
        stop = asyncio.Event()
        async with talking(server.port, self._given.calls) as callers, asyncio.TaskGroup() as group:
            await asyncio.sleep(1.0)
            await asyncio.sleep(change())
            for caller, token in zip(waiting, tokens, strict=True):
                group.create_task(caller.call(server.port, stop, token))
            every = [*callers, *waiting]
            await heard(every, 5)
            await asyncio.sleep(self._given.seconds)
            early = [caller for caller in every if caller.broke_at is not None]
            least_s = time.monotonic() - began
            stop.set()
        await server.stored()
        await server.until_ended(engine)
        await server.stored()
        most_ms = (time.monotonic() - began) * 1000  # a recording ends after its call
        self.found.calls += len(every)
        self.found.early += len(early)
        self.found.check(
            not early, f"{where}: {len(early)} calls were over before their caller hung up"
        )
        for caller in every:
            _look_at(engine, caller.call_sid, most_ms, self.found, where)
        print(f"  {where}: {len(every)} calls over {least_s:.0f} s", flush=True)

    async def _started(
        self, name: str, stack: AsyncExitStack, ahead_s: Callable[[], float]
    ) -> tuple[WallClock, TrialServer, Engine]:
        """Start an agent, and a server with a database and a clock of its own."""
        folder = self._folder / name
        folder.mkdir()
        pem = certificate(folder, tls=True)
        url = stack.enter_context(database_of(self._given.database))
        _, port = await stack.enter_async_context(agent(pem))
        clock = WallClock(folder, self._library)
        server = TrialServer(folder, port, url, tls=True)
        server.environ = clock.environ
        clock.set(ahead_s())
        process = await server.start()
        engine = server.engine()

        async def ended() -> None:
            engine.dispose()
            process.terminate()
            await process.wait()

        stack.push_async_callback(ended)
        return clock, server, engine


async def tried(given: argparse.Namespace, folder: Path, library: Path) -> Found:
    """Try every change; return what was found."""
    trial = Trial(folder, given, library)
    await trial.set_by_hand()
    for season in FIRST_S:
        await trial.summer_time(season)
    return trial.found


def main() -> None:
    """Try, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=10, help="at each change")
    parser.add_argument("--seconds", type=float, default=3.0, help="after each change")
    parser.add_argument("--database", choices=DATABASES, help="default: sqlite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="offhook-clocks-") as name:
        library = compiled(Path(name))
        if library is None:
            print("in short: nothing was tried")
            print("not judged: all of it, as there is no Linux, or no C compiler with headers")
            return
        found = run_on_uvloop(tried(given, Path(name), library))
    for what in found.wrong:
        print(f"  WRONG {what}")
    negative = sum(ms < 0 for ms in found.least_ms)
    print(
        f"in short: {found.calls} calls while the clock was set an hour ahead and back, and across"
        f" both changes of the hour ({ZONE}): {negative} with a negative duration, the least"
        f" {min(found.least_ms, default=0) / 1000:.1f} s; {found.early} ended early"
    )
    sys.exit(bool(found.wrong) or not found.calls)


if __name__ == "__main__":
    main()
