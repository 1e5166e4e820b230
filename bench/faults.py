"""make soak: what a record survives. A real `offhook serve`, talking calls, and then trouble.

    python -m bench.faults kill [--rounds 100] [--calls 20] [--database postgresql]
    python -m bench.faults operator [--rounds 100] [--calls 20]
    python -m bench.faults outage [--calls 50]
    python -m bench.faults full-disk [--calls 20]

`kill` ends the call process with SIGKILL in mid-call and looks for every line that had arrived more
than 100 ms before. Each caller does what Twilio does then: asks /twilio/after, and opens the stream
that the answer names. 99 of 100 must hear the agent again within 5 s of the kill, in the same call,
and none is greeted twice; afterwards no call and no agent's session is left. `operator` ends the
operator process again and again under talking calls, `outage` stops a real PostgreSQL for a while,
`full-disk` lets the database's files grow no further: no call may notice, and afterwards no line
may be missing or doubled. Exits with 1 when something is not as it must be. With `--untimed`, for
machines that are busy with something else, only what is lost counts, and not how soon: a line must
have arrived two seconds before, and a caller must go on hearing while the database is away.

A line has arrived when the server has answered the ping that the agent sent behind it. It is looked
for when the database has taken what the journal has.

The agent here is a plain one that says numbered things ten times a second, so that each line can
be told from all others; the callers are plain streams of audio.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import math
import os
import random
import re
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import httpx2
import psutil
import websockets
from sqlalchemy import Engine, select

from offhook.bench.serve import RECORDED_AGENT
from offhook.journal.folders import is_alive, process_folders
from offhook.journal.progress import last_lines, waiting_lines
from offhook.recordings import wav
from offhook.records import database, tables
from offhook.twilio.signature import sign

TOKEN = "0123456789abcdef0123456789abcdef"
ACCOUNT = "AC" + "a" * 32
STREAM = "MZ" + "b" * 32
FRAME = b"\xff" * 160
FRAME_S = 0.02
LINE_EVERY = 5
"""Frames between two lines of an agent, each of the caller's and of its own."""
GRACE_S = 0.1
UNTIMED_GRACE_S = 2.0
"""A line that arrived so long before the end must have survived it."""
PATIENCE_S = 240.0
"""How long anything may take: a bound for what hangs."""
HEARD_MEANWHILE = 50
"""Frames that each caller must hear while the database is away."""
BACK_S = 5.0
"""A caller is to hear the agent again within so many seconds of the kill of the call process."""
BACK_SHARE = 0.99
GONE_S = 15.0
"""No session of an agent may be left so many seconds after all callers have hung up."""
ENDED_S = 90.0
"""A call that did not come back has its end after a minute, and some time to be written."""
RETRIES = 6
"""Attempts of a request: Twilio's first one, and its five retries (twilio.md §4.2)."""
SILENT_S = 0.5
"""A call in which the caller heard nothing for so long has noticed something."""


@dataclass
class Told:
    """What a server has had from its agent: the text of each line, and when that was certain."""

    lines: list[tuple[str, float]] = field(default_factory=list)

    def before(self, moment: float) -> set[str]:
        return {text for text, arrived_at in self.lines if arrived_at < moment}


class Agent:
    """A Deepgram that talks without end."""

    def __init__(self) -> None:
        self.told = Told()
        self._sessions = 0
        self.open = 0
        self.greeted = 0
        """Sessions that were to begin with the greeting."""

    async def serve(self, socket_: websockets.ServerConnection) -> None:
        self._sessions += 1
        self.open += 1
        try:
            await self._serve(socket_, self._sessions)
        finally:
            self.open -= 1

    async def until_alone(self) -> None:
        """Wait until no session is left; one that is left after GONE_S stays."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE_S):
                while self.open:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    async def _serve(self, socket_: websockets.ServerConnection, me: int) -> None:
        try:
            await socket_.send(json.dumps({"type": "Welcome", "request_id": f"request-{me}"}))
            settings = json.loads(await socket_.recv())
            self.greeted += "greeting" in settings["agent"]
            await socket_.send('{"type": "SettingsApplied"}')
            await asyncio.gather(self._talk(socket_, me), self._listen(socket_))
        except websockets.ConnectionClosed:
            pass

    async def _listen(self, socket_: websockets.ServerConnection) -> None:
        async for _ in socket_:
            pass

    async def _talk(self, socket_: websockets.ServerConnection, me: int) -> None:
        began = time.monotonic()
        for number in range(10**9):
            if number % LINE_EVERY == 0:
                role = "user" if number % (2 * LINE_EVERY) else "assistant"
                text = f"call {me} says line {number}"
                line = {"type": "ConversationText", "role": role, "content": text}
                await socket_.send(json.dumps(line))
                if role == "user":  # What the agent says is a line only once it was heard.
                    arrived = cast("asyncio.Future[float]", await socket_.ping())
                    arrived.add_done_callback(partial(self._arrived, self.told, text))
            await socket_.send(FRAME)
            await asyncio.sleep(max(0.0, began + number * FRAME_S - time.monotonic()))

    def _arrived(self, told: Told, text: str, answered: asyncio.Future[float]) -> None:
        if not answered.cancelled() and answered.exception() is None:
            told.lines.append((text, time.monotonic()))


@dataclass
class Caller:
    """A stream of audio to the server's /twilio, and how long it was without an answer."""

    call_sid: str = field(default_factory=lambda: "CA" + secrets.token_hex(16))
    longest_silence: float = 0.0
    frames: int = 0
    backs: list[float] = field(default_factory=list)
    """Seconds from each break of the stream to the agent's next sound."""
    broke_at: float | None = None

    async def call(self, port: int, stop: asyncio.Event) -> None:
        """Call, and go on after each stream that breaks off, as Twilio does."""
        token: str | None = await self._ask(port, "/twilio/voice")
        number = 0
        while token is not None:
            await self._talk(port, token, stop)
            token = None
            if not stop.is_set():
                self.broke_at = self.broke_at or time.monotonic()
                query = f"?stream={number}" if number else ""
                token = await self._ask(port, f"/twilio/after{query}")
                number += 1

    async def _talk(self, port: int, token: str, stop: asyncio.Event) -> None:
        signature = sign(TOKEN, f"wss://127.0.0.1:{port}/twilio")
        headers = {"X-Twilio-Signature": signature}
        url = f"ws://127.0.0.1:{port}/twilio"
        try:
            async with websockets.connect(
                url, additional_headers=headers, compression=None, proxy=None
            ) as line:
                await self._start(line, token)
                await asyncio.gather(self._speak(line, stop), self._hear(line))
        except (websockets.ConnectionClosed, OSError):
            pass

    async def _ask(self, port: int, path: str) -> str | None:
        """Request a document; return the token of the stream that it names, or None."""
        form = {"CallSid": self.call_sid, "AccountSid": ACCOUNT, "To": "+12025550100"}
        form["CallStatus"] = "in-progress"
        host = f"127.0.0.1:{port}"
        signature = sign(TOKEN, f"https://{host}{path}", form.items())
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
            for _ in range(RETRIES):
                with contextlib.suppress(httpx2.TransportError):
                    answer = await http.post(
                        f"http://{host}{path}",
                        data=form,
                        headers={"X-Twilio-Signature": signature},
                    )
                    found = re.search(r'name="token" value="([^"]+)"', answer.text)
                    return None if found is None else found[1]
        return None

    async def _start(self, line: websockets.ClientConnection, token: str) -> None:
        await line.send('{"event": "connected", "protocol": "Call", "version": "1.0.0"}')
        details = {
            "accountSid": ACCOUNT,
            "callSid": self.call_sid,
            "streamSid": STREAM,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": token},
        }
        start = {"event": "start", "sequenceNumber": "1", "streamSid": STREAM, "start": details}
        await line.send(json.dumps(start))

    async def _speak(self, line: websockets.ClientConnection, stop: asyncio.Event) -> None:
        payload = base64.b64encode(FRAME).decode()
        began = time.monotonic()
        number = 0
        while not stop.is_set():
            media = {
                "track": "inbound",
                "chunk": str(number + 1),
                "timestamp": str(number * 20),
                "payload": payload,
            }
            message = {"event": "media", "streamSid": STREAM, "media": media}
            await line.send(json.dumps(message | {"sequenceNumber": str(number + 2)}))
            number += 1
            await asyncio.sleep(max(0.0, began + number * FRAME_S - time.monotonic()))
        stopped = {"event": "stop", "streamSid": STREAM, "sequenceNumber": str(number + 2)}
        stopped["stop"] = {"accountSid": ACCOUNT, "callSid": self.call_sid}
        await line.send(json.dumps(stopped))

    async def _hear(self, line: websockets.ClientConnection) -> None:
        last = None
        async for text in line:
            message = json.loads(text)
            if message["event"] == "media":
                now = time.monotonic()
                if last is not None:
                    self.longest_silence = max(self.longest_silence, now - last)
                last = now
                self.frames += 1
                if self.broke_at is not None:
                    self.backs.append(now - self.broke_at)
                    self.broke_at = None
            elif message["event"] == "mark":
                await line.send(text)


class House:
    """A folder with its configuration, and the server that runs on it."""

    def __init__(self, folder: Path, agent_port: int, database_url: str | None) -> None:
        self.port = _free_port()
        self.folder = folder
        self.url = database_url or f"sqlite:///{folder}/offhook-data/offhook.db"
        (folder / "agent.yaml").write_text(RECORDED_AGENT)
        records = f"records: {{database: '{database_url}'}}\n" if database_url else ""
        (folder / "offhook.yaml").write_text(
            f"server: {{port: {self.port}, capacity: 200, operator_listen: '127.0.0.1:0'}}\n"
            f"deepgram: {{url: 'ws://127.0.0.1:{agent_port}'}}\n"
            f"lines: {{default: agent.yaml}}\n{records}"
        )
        self.log = folder / "log"

    async def start(self) -> asyncio.subprocess.Process:
        offhook = Path(sys.executable).with_name("offhook")
        # With bytecode, as users run it: without, a start takes twice as long.
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environ.setdefault("PYTHONPYCACHEPREFIX", str(self.folder / "bytecode"))
        keys = {"DEEPGRAM_API_KEY": "any", "TWILIO_AUTH_TOKEN": TOKEN}
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                str(offhook), "serve", cwd=self.folder, env=environ | keys, stderr=log
            )
        await self.answers(process)
        return process

    async def answers(self, process: asyncio.subprocess.Process) -> None:
        """Wait until the server answers requests."""
        end = time.monotonic() + PATIENCE_S
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
            while process.returncode is None and time.monotonic() < end:
                try:
                    await http.get(f"http://127.0.0.1:{self.port}/healthz")
                    return
                except httpx2.TransportError:
                    await asyncio.sleep(0.05)
        raise SystemExit(f"the server did not start:\n{self.log.read_text()}")

    async def pid(
        self, process: asyncio.subprocess.Process, name: str, other_than: int | None = None
    ) -> int:
        """Return the id of the `call` or the `operator` process, once it is another one."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(psutil.Error):
                    for child in psutil.Process(process.pid).children():
                        module = f"offhook.serving.{name}_process"
                        if child.pid != other_than and module in child.cmdline():
                            return child.pid
                await asyncio.sleep(0.05)  # a look takes milliseconds

    async def state(self) -> str:
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
            answer = await http.get(f"http://127.0.0.1:{self.port}/readyz")
        return str(answer.json()["records"])

    async def until(self, state: str) -> None:
        """Wait until readiness says so, or something that begins so."""
        async with asyncio.timeout(PATIENCE_S):
            while not (await self.state()).startswith(state):  # noqa: ASYNC110 - from outside alone
                await asyncio.sleep(0.1)

    async def stored(self) -> None:
        """Wait until the database has what the journals have now, and dead processes are gone."""
        last = last_lines(self.journal)
        dead = [folder for folder in process_folders(self.journal) if not is_alive(folder)]
        async with asyncio.timeout(PATIENCE_S):
            while True:
                left = any(folder.exists() for folder in dead)
                if not left and not waiting_lines(self.journal, last):
                    return
                await asyncio.sleep(0.1)

    async def until_ended(self, engine: Engine) -> None:
        """Wait until the database has an end for every call, or as long as an end may take."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDED_S):
                while live_calls(engine):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)

    @property
    def journal(self) -> Path:
        return self.folder / "offhook-data" / "journal"

    def engine(self) -> Engine:
        return database.open_engine(database.url_of(self.url))

    def recordings(self) -> list[Path]:
        return sorted((self.folder / "offhook-data" / "recordings").rglob("*.wav"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def live_calls(engine: Engine) -> list[str]:
    """Return the calls that have no end in the database."""
    with engine.connect() as connection:
        live = select(tables.calls.c.sid).where(tables.calls.c.duration_ms.is_(None))
        return list(connection.scalars(live))


class Faults:
    """What was found wrong, and how much was looked at."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.lines = 0

    def check(self, good: bool, what: str) -> None:
        if not good:
            self.found.append(what)

    def lines_are_there(self, engine: Engine, wanted: set[str], where: str) -> None:
        with engine.connect() as connection:
            there = Counter(
                connection.scalars(
                    select(tables.utterances.c.text).where(tables.utterances.c.who == "caller")
                )
            )
        missing = wanted - there.keys()
        doubled = [text for text, count in there.items() if count > 1]
        self.lines += len(wanted)
        self.check(not missing, f"{where}: {len(missing)} of {len(wanted)} lines are missing")
        self.check(not doubled, f"{where}: {len(doubled)} lines are doubled")

    def none_live(self, engine: Engine, where: str) -> None:
        ghosts = live_calls(engine)
        self.check(not ghosts, f"{where}: {len(ghosts)} calls without an end")

    def came_back(self, callers: list[Caller], where: str, *, timed: bool) -> list[float]:
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

    def nobody_noticed(self, callers: list[Caller], where: str) -> None:
        silent = [caller for caller in callers if caller.longest_silence > SILENT_S]
        self.check(not silent, f"{where}: {len(silent)} callers heard nothing for a while")
        self.check(all(caller.frames for caller in callers), f"{where}: a caller heard nothing")


@asynccontextmanager
async def agent() -> AsyncIterator[tuple[Agent, int]]:
    one = Agent()
    async with websockets.serve(one.serve, "127.0.0.1", 0, compression=None) as server:
        yield one, server.sockets[0].getsockname()[1]


async def heard(callers: list[Caller], frames: int) -> None:
    """Wait until each of them has heard so many frames more."""
    wanted = [(caller, caller.frames + frames) for caller in callers]
    async with asyncio.timeout(PATIENCE_S):
        while any(caller.frames < count for caller, count in wanted):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def until_back(callers: list[Caller]) -> None:
    """Wait until each has heard the agent again; who is not back after a minute is not."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60):
            while not all(caller.backs for caller in callers):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@asynccontextmanager
async def talking(house: House, count: int) -> AsyncIterator[list[Caller]]:
    """That many calls, which have talked for a moment; afterwards they hang up."""
    callers = [Caller() for _ in range(count)]
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for caller in callers:
            group.create_task(caller.call(house.port, stop))
        await heard(callers, 20)
        yield callers
        stop.set()


async def kill(
    folder: Path, rounds: int, calls: int, database_url: str | None, *, timed: bool
) -> Faults:
    """SIGKILL in the middle of talking calls, and a look at what the next start finds."""
    faults = Faults()
    backs: list[float] = []
    recordings = 0
    grace_s = GRACE_S if timed else UNTIMED_GRACE_S
    async with agent() as (deepgram, port):
        house = House(folder, port, database_url)
        engine = house.engine()
        process = await house.start()
        for round_ in range(1, rounds + 1):
            deepgram.told = Told()
            where = f"round {round_}"
            deepgram.greeted = 0
            async with talking(house, calls) as callers:
                await asyncio.sleep(random.uniform(2.0, 3.0) + grace_s)
                pid = await house.pid(process, "call")
                killed_at = time.monotonic()
                os.kill(pid, signal.SIGKILL)
                await house.pid(process, "call", other_than=pid)
                await until_back(callers)
                await asyncio.sleep(0.5)
            backs += faults.came_back(callers, where, timed=timed)
            faults.check(deepgram.greeted <= calls, f"{where}: {deepgram.greeted} greetings")
            await deepgram.until_alone()
            await house.stored()
            await house.until_ended(engine)
            await house.stored()
            faults.check(not deepgram.open, f"{where}: {deepgram.open} agents are left")
            faults.lines_are_there(engine, deepgram.told.before(killed_at - grace_s), where)
            faults.none_live(engine, where)
            files = house.recordings()
            faults.check(len(files) >= calls * round_, f"{where}: {len(files)} recordings")
            for path in files[recordings:]:
                caller, spoken = wav.read_stereo(path)
                faults.check(len(caller) == len(spoken) > 0, f"{where}: {path.name} is empty")
            recordings = len(files)
        process.terminate()
        await process.wait()
        engine.dispose()
    print(f"  {recordings} recordings opened")
    if backs:
        backs.sort()
        soon = sum(back <= BACK_S for back in backs)
        print(
            f"  callers back within {BACK_S:g} s of the kill: {soon} of {rounds * calls};"
            f" median {backs[len(backs) // 2]:.2f} s, slowest {backs[-1]:.2f} s"
        )
    return faults


async def kill_operator(folder: Path, rounds: int, calls: int, *, timed: bool) -> Faults:
    """SIGKILL of the operator process again and again, while calls talk."""
    faults = Faults()
    async with agent() as (deepgram, port):
        house = House(folder, port, None)
        process = await house.start()
        async with talking(house, calls) as callers:
            for caller in callers:
                caller.longest_silence = 0.0
            pid = None
            for _ in range(rounds):
                pid = await house.pid(process, "operator", other_than=pid)
                await asyncio.sleep(random.uniform(0.0, 3.0))
                os.kill(pid, signal.SIGKILL)
            if timed:
                faults.nobody_noticed(callers, "while the operator process was killed")
        process.terminate()
        await process.wait()
        engine = house.engine()
        faults.lines_are_there(engine, deepgram.told.before(math.inf), "afterwards")
        faults.none_live(engine, "afterwards")
        engine.dispose()
    return faults


async def _trouble(
    house: House,
    deepgram: Agent,
    calls: int,
    begin: Callable[[int], None],
    end: Callable[[int], None],
    *,
    timed: bool,
) -> Faults:
    """Calls that talk before, during and after trouble with the database."""
    faults = Faults()
    process = await house.start()
    async with talking(house, calls) as callers:
        await asyncio.sleep(1)
        for caller in callers:
            caller.longest_silence = 0.0
        pid = await house.pid(process, "operator")
        await house.stored()  # the operator process may still be starting
        # In a thread: while PostgreSQL stops, the callers of this process go on hearing.
        await asyncio.to_thread(begin, pid)
        await house.until("the operator process is")
        await heard(callers, HEARD_MEANWHILE)
        await asyncio.sleep(2)
        await asyncio.to_thread(end, pid)
        await house.until("ok")
        await asyncio.sleep(1)
        if timed:
            faults.nobody_noticed(callers, "during the trouble")
    await house.stored()
    process.terminate()
    await process.wait()
    engine = house.engine()
    faults.lines_are_there(engine, deepgram.told.before(math.inf), "afterwards")
    faults.none_live(engine, "afterwards")
    engine.dispose()
    return faults


async def outage(folder: Path, calls: int, *, timed: bool) -> Faults:
    """PostgreSQL is stopped under talking calls, and started again."""
    from tests.postgres import Postgres

    server = Postgres()
    try:
        with server.database() as url:
            async with agent() as (deepgram, port):
                house = House(folder, port, url.render_as_string(hide_password=False))
                return await _trouble(
                    house,
                    deepgram,
                    calls,
                    lambda _: server.shut_down(),
                    lambda _: server.start_again(),
                    timed=timed,
                )
    finally:
        server.stop()


async def full_disk(folder: Path, calls: int, *, timed: bool) -> Faults:
    """No file of the operator process may grow beyond what the database has already."""
    import resource

    def limit(pid: int, size: int) -> None:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))

    async with agent() as (deepgram, port):
        house = House(folder, port, None)
        data = folder / "offhook-data"

        def fill(pid: int) -> None:
            limit(pid, max(path.stat().st_size for path in data.glob("offhook.db*")))

        def empty(pid: int) -> None:
            limit(pid, resource.RLIM_INFINITY)

        return await _trouble(house, deepgram, calls, fill, empty, timed=timed)


@contextlib.contextmanager
def database_of(kind: str | None) -> Iterator[str | None]:
    """A PostgreSQL of its own, or None: the server's SQLite."""
    if kind != "postgresql":
        yield None
        return
    from tests.postgres import Postgres

    server = Postgres()
    try:
        with server.database() as url:
            yield url.render_as_string(hide_password=False)
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["kill", "operator", "outage", "full-disk"])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="of kill")
    parser.add_argument("--untimed", action="store_true", help="see above")
    asked = parser.parse_args()
    timed = not asked.untimed
    with tempfile.TemporaryDirectory(prefix="offhook-faults-") as name:
        folder = Path(name)
        began = time.monotonic()
        if asked.what == "kill":
            with database_of(asked.database) as url:
                faults = asyncio.run(kill(folder, asked.rounds, asked.calls, url, timed=timed))
        elif asked.what == "operator":
            faults = asyncio.run(kill_operator(folder, asked.rounds, asked.calls, timed=timed))
        elif asked.what == "outage":
            faults = asyncio.run(outage(folder, asked.calls, timed=timed))
        else:
            faults = asyncio.run(full_disk(folder, asked.calls, timed=timed))
        seconds = time.monotonic() - began
    print(f"{asked.what}: {faults.lines} lines looked for in {seconds:.0f} s")
    for found in faults.found:
        print(f"  WRONG {found}")
    sys.exit(bool(faults.found) or not faults.lines)


if __name__ == "__main__":
    main()
