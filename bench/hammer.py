"""make soak: calls whose agents misuse the functions that they are given, beside calls that talk.

    python -m bench.hammer [--calls 200] [--at-once 20] [--quiet 20] [--seed 1] [--short|--compute]

A real server on loopback, in one process of its own and without a record; callers and agents are
those of `offhook bench`. The agent of a hammered call asks for functions in parallel, with
arguments that are empty, broken or wrong, for slow ones, ones that raise, that hang, that return
100 KB; it calls some off, repeats what cannot be taken back, and some of its callers hang up
meanwhile. Every request has to be answered once, and well, or not at all where nobody waits.
Meanwhile quiet calls talk: how long their audio is held is measured, with the hammered calls'
functions and without. Then one function computes in Python for 5 s beside the quiet calls: once in
a thread, once in a process of its own. Beside any of them the quiet calls' p99 must be at most
ALLOWED_MS, unless the load itself was late: then it is not judged. At last two functions hold the
interpreter, and have to be named, and counted for as long. Exits with 1 when something is not as it
must be.

--short leaves out what takes 10 s, and the measurement; on a machine that is busy with something
else it does not judge the audio of the quiet calls, of which some is dropped there. --compute has
functions compute in Python, in threads, many at once; quiet calls are delayed then, since one
thread at a time has the interpreter (docs/design/tools.md).
"""

import argparse
import asyncio
import json
import math
import os
import random
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from bench.measured_table import NOT_JUDGED

from offhook.bench import child, figures
from offhook.bench.load import sockets
from offhook.bench.load.caller import LoadCaller
from offhook.bench.load.messages import Measured, PlaceCalls
from offhook.bench.load.process import Load
from offhook.bench.load.sink import AgentSink
from offhook.bench.runner import Child, Cores, started
from offhook.concurrency.event_loop import run as run_on_uvloop
from offhook.deepgram import messages as deepgram

TOKEN = "0123456789abcdef0123456789abcdef"
PATIENCE_S = 120.0
"""For an answer. The server gives up after 10 s; a busy machine takes its time."""
HANGING_MAX = 4
"""Calls in which a function hangs: each costs a thread until the end."""
HERE = Path(__file__).resolve().parent
ALLOWED_MS = 20.0
COMPUTES_S = 5.0
COMPUTING = {"thread": "compute_here", "process": "compute_elsewhere"}
"""Functions that compute in Python, by where they do."""
LOAD_LATE_MS = 5.0
"""A load that is later than that at p99 shares what it measures."""
LATE_MS = 50.0
"""A load that is later than that is on a machine that is busy: audio is dropped that is too old."""
HELD_MS = 2500.0
"""A call fills a caller's silence of 3 s for the agent (deepgram.md §1.4): a server that is held
for so long adds frames."""

CONFIG = "server: {port: 0}\nlines: {default: agent.yaml}\n"
AGENT = """
settings:
  listen: {provider: {type: deepgram, model: nova-3}}
  think: {provider: {type: open_ai, model: gpt-4o-mini}}
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
tools: [%s]
"""


class Look(msgspec.Struct, frozen=True, tag=True):
    """What runs in the server?"""


class Release(msgspec.Struct, frozen=True, tag=True):
    """Let go what hangs."""


# --- one request, and what became of it --------------------------------------------------------


@dataclass
class Asked:
    name: str
    good: Callable[[str], bool] | None
    """Whether an answer is good; None when none may come."""
    pending_at_end: bool = False
    """The caller hung up before it was answered."""
    answers: list[str] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def fault(self) -> str | None:
        if len(self.answers) > 1:
            return f"{self.name} was answered {len(self.answers)} times"
        if self.answers and self.good is None:
            return f"{self.name} was called off, and answered: {self.answers[0][:80]}"
        if self.answers and self.good is not None and not self.good(self.answers[0]):
            return f"{self.name} was answered badly: {self.answers[0][:200]}"
        if not self.answers and self.good is not None and not self.pending_at_end:
            return f"{self.name} was not answered"
        return None


class HammerAgent(AgentSink):
    """The sink's session, which also asks for functions."""

    def __init__(self, load: Load, slot: int, socket: sockets.LoadSocket) -> None:
        super().__init__(load, slot, socket)
        self.asked: dict[str, Asked] = {}
        self.fillers = 0
        self.over = False
        self.faults: list[str] = []

    def on_text(self, text: bytes) -> None:
        if not self._settled:
            super().on_text(text)
            return
        message = deepgram.read_ours(text)
        if isinstance(message, deepgram.InjectAgentMessage):
            self.fillers += 1
        elif isinstance(message, deepgram.FunctionCallResponse) and message.id in self.asked:
            asked = self.asked[message.id]
            asked.answers.append(message.content)
            asked.came.set()

    def on_close(self) -> None:
        super().on_close()
        self.over = True
        for asked in self.asked.values():
            asked.pending_at_end = not asked.answers
            asked.came.set()

    def ask(self, *wanted: tuple[str, Any, Callable[[str], bool] | None]) -> list[str]:
        """All of them in one request."""
        calls, ids = [], []
        for name, arguments, good in wanted:
            text = arguments if isinstance(arguments, str) else json.dumps(arguments)
            id_ = f"fc_{len(self.asked)}"
            self.asked[id_] = Asked(name, good)
            ids.append(id_)
            calls.append(deepgram.FunctionCall(id_, name, text))
        if not self.over:
            self._socket.send_text(deepgram.write(deepgram.FunctionCallRequest(calls)))
        return ids

    def call_off(self, ids: list[str]) -> None:
        for id_ in ids:
            if self.asked[id_].answers:  # this process was slow: it is too late for that
                self.asked[id_].good = lambda answer: True
        calls = [deepgram.CancelledFunction(id_, self.asked[id_].name) for id_ in ids]
        self._socket.send_text(deepgram.write(deepgram.FunctionCallCancelled(calls)))

    async def until_answered(self, ids: list[str]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            for id_ in ids:
                await self.asked[id_].came.wait()


class HammerLoad(Load):
    """Calls whose two ends are known to belong together, since they are placed one by one."""

    def __init__(self) -> None:
        super().__init__(20, idle=False)
        self._placing = asyncio.Lock()
        self._latest: HammerAgent | None = None
        self._names = 1_000_000

    def session(self, socket: sockets.LoadSocket) -> HammerAgent:
        self._sessions += 1
        self._latest = HammerAgent(self, 7 * self._sessions, socket)
        return self._latest

    async def place_one(self, port: int) -> tuple[LoadCaller, HammerAgent]:
        async with self._placing:
            self._names += 1
            caller = LoadCaller(str(self._names), self, 7 * self._names + 3)
            if not await self.place(caller, port, TOKEN) or self._latest is None:
                raise SystemExit("a call was not answered")
            return caller, self._latest


# --- what is asked for -------------------------------------------------------------------------


def is_(content: str) -> Callable[[str], bool]:
    return lambda answer: answer == content


def error(words: str) -> Callable[[str], bool]:
    return lambda answer: words in json.loads(answer)["error"]


def cut(answer: str) -> bool:
    return len(answer.encode()) <= 8192 and "(cut: 100000 bytes" in answer


FAILED = error("the function failed")


async def parallel(agent: HammerAgent, rng: random.Random) -> None:
    a, b = rng.randrange(100), rng.randrange(100)
    wanted = [
        (name, {"a": a + i, "b": b}, is_(str(a + i + b)))
        for i, name in enumerate(["sync_add", "async_add"] * 3)
    ]
    await agent.until_answered(agent.ask(*wanted, ("nothing", {}, error("no function"))))


async def malformed(agent: HammerAgent, rng: random.Random) -> None:
    ids = agent.ask(
        ("who", "", lambda answer: answer.startswith("CA")),
        ("who", " ", lambda answer: answer.startswith("CA")),
        ("who", '{"call": {"sid": "CA1"}}', error("call: ")),
        ("sync_add", "", error("a: Field required")),
        ("sync_add", "{bad", error("JSON")),
        ("sync_add", "[1, 2]", error("object")),
        ("sync_add", "null", error("object")),
        ("async_add", {"a": "many", "b": 1}, error("a: ")),
        ("async_add", {"a": 1, "b": 1, "c": 1}, error("c: ")),
        ("seat", {"guest": {"name": "Ada"}}, is_("Ada on friday")),
        ("seat", {"guest": {"age": 3}, "day": "monday"}, error("guest.name: ")),
        ("", "{}", error("no function")),
    )
    await agent.until_answered(ids)


async def raising(agent: HammerAgent, rng: random.Random) -> None:
    names = ["sync_raise", "async_raise", "exhaust", "wait_for_nothing"]
    ids = agent.ask(
        *[(name, {}, FAILED) for name in names],
        ("refuse", {}, error("we are closed")),
        ("huge", "", cut),
    )
    await agent.until_answered(ids)


async def slow(agent: HammerAgent, rng: random.Random) -> None:
    """Over the soft deadline: the agent is to say so, once; not while a caller barges in."""
    before = agent.fillers
    sleeps = {"seconds": 3.5}
    ids = agent.ask(
        ("sync_sleep", sleeps, is_("slept")),
        ("async_sleep", sleeps, is_("slept")),
        ("who", "", lambda answer: answer.startswith("CA")),
    )
    await agent.until_answered(ids)
    if agent.fillers > before + 1:
        agent.faults.append(f"{agent.fillers - before} filler sentences for one wait")


async def too_slow(agent: HammerAgent, rng: random.Random) -> None:
    """Over the hard deadline."""
    ids = agent.ask(
        ("async_sleep", {"seconds": 60}, error("too long")),
        ("sync_sleep", {"seconds": 12}, error("too long")),
    )
    await agent.until_answered(ids)


async def computing(agent: HammerAgent, rng: random.Random) -> None:
    ids = agent.ask(*[("sync_compute", {"seconds": 0.1}, is_("computed"))] * 3)
    await agent.until_answered(ids)


async def hanging(agent: HammerAgent, rng: random.Random) -> None:
    """In a thread, until the end of the run."""
    await agent.until_answered(agent.ask(("hang", {}, error("too long"))))


async def hanging_and_called_off(agent: HammerAgent, rng: random.Random) -> None:
    begun = agent.ask(("hang", {}, None))
    await asyncio.sleep(0.3)
    agent.call_off(begun)


async def called_off(agent: HammerAgent, rng: random.Random) -> None:
    ids = agent.ask(
        ("sync_sleep", {"seconds": 1.5}, None),
        ("async_sleep", {"seconds": 1.5}, None),
        ("async_sleep", {"seconds": 1.5}, is_("slept")),
    )
    await asyncio.sleep(rng.uniform(0.0, 0.3))
    agent.call_off(ids[:2])
    await agent.until_answered(ids[2:])


async def repeated(agent: HammerAgent, rng: random.Random) -> None:
    """What cannot be taken back, again: after its answer, at once, and after it was called off."""
    for name in ("pay", "sync_pay"):
        once = is_("paid 1 times")
        first, again = rng.randrange(10**6), 10**6 + rng.randrange(10**6)
        await agent.until_answered(agent.ask((name, {"amount": first}, once)))
        await agent.until_answered(agent.ask(*[(name, {"amount": first}, once)] * 2))
        begun = agent.ask((name, {"amount": again}, None))
        await asyncio.sleep(0.15)
        agent.call_off(begun)
        await agent.until_answered(agent.ask(*[(name, {"amount": again}, once)] * 2))


async def nothing(agent: HammerAgent, rng: random.Random) -> None:
    """What a call without functions does for as long."""
    await asyncio.sleep(rng.uniform(0.2, 3.0))


Kind = Callable[[HammerAgent, random.Random], Awaitable[None]]
QUICK: list[Kind] = [parallel, malformed, raising, called_off, repeated]


# --- the run -----------------------------------------------------------------------------------


class Hammer:
    def __init__(self, server: Child, port: int, seed: int, *, short: bool, compute: bool) -> None:
        self.server = server
        self.port = port
        self.short = short
        self.quick = [*QUICK, computing] if compute else QUICK
        self.quiet = Load(20, idle=False)
        self.loud = HammerLoad()
        self.hammering = False
        self.faults: list[str] = []
        self.counts = Counter[str]()
        self._seed = seed

    def session(self, socket: sockets.LoadSocket) -> AgentSink:
        return (self.loud if self.hammering else self.quiet).session(socket)

    async def look(self, command: Look | Release) -> dict[str, Any]:
        told: dict[str, Any] = msgspec.json.decode(await self.server.ask(command))
        return told

    async def calls(self, count: int, at_once: int, *, functions: bool) -> None:
        numbers = iter(range(count))

        async def some() -> None:
            for number in numbers:
                rng = random.Random(f"{self._seed} {number}")
                await self._call(number, rng, functions=functions)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(some())

    async def _call(self, number: int, rng: random.Random, *, functions: bool) -> None:
        kinds = rng.sample(self.quick, 3)
        if number % 4 == 0:
            kinds.append(slow)
        if not self.short and number % 8 == 1:
            kinds.append(too_slow)
        if number < HANGING_MAX:
            kinds.insert(0, hanging_and_called_off if self.short or number % 2 else hanging)
        if not functions:
            kinds = [nothing] * len(kinds)
        caller, agent = await self.loud.place_one(self.port)
        hangs_up = functions and number % 6 == 2
        for kind in kinds[: rng.randrange(3)] if hangs_up else kinds:
            await kind(agent, rng)
        if hangs_up:
            agent.ask(
                ("sync_sleep", {"seconds": 2}, is_("slept")),
                ("async_sleep", {"seconds": 30}, is_("slept")),
                ("pay", {"amount": 1}, is_("paid 1 times")),
            )
            await asyncio.sleep(rng.uniform(0.0, 0.2))
        caller.hang_up()
        await caller.closed.wait()
        async with asyncio.timeout(PATIENCE_S):
            while not agent.over:  # noqa: ASYNC110 - the socket closes a moment later
                await asyncio.sleep(0.01)
        self.faults += [f"call {number}: {fault}" for fault in agent.faults]
        for asked in agent.asked.values():
            answered = "answered" if asked.answers else "rightly not answered"
            fault = asked.fault
            self.counts["requests"] += 1
            self.counts["wrong" if fault else answered] += 1
            if fault:
                self.faults.append(f"call {number}: {fault}")
        self.counts["calls"] += bool(functions)
        self.counts["filler sentences"] += agent.fillers

    async def measured(self, work: Awaitable[None]) -> Measured:
        self.quiet.begin()
        await work
        done = self.quiet.finish()
        self.quiet.begin()  # what comes now is measured elsewhere
        return done

    async def hold(self) -> float:
        """Call functions that hold the interpreter; return the longest time of one, in ms."""
        caller, agent = await self.loud.place_one(self.port)
        names = ["hold_loop"]
        if sys.platform == "linux":  # elsewhere threads have no clock of their own
            names.append("hold_lock")
        for name in names:
            await agent.until_answered(agent.ask((name, {}, is_("held"))))
            await asyncio.sleep(0.5)
        told = await self.look(Look())
        held, counted = told["held"], told["held_s"]
        for each in held:
            print(f"  {each['tool']} held the interpreter for {each['ms']} ms, at {each['where']}")
        for name in names:
            if not any(h["tool"] == name and h["where"][:16] == "hammer_tools.py:" for h in held):
                self.faults.append(f"{name} held the interpreter, and was not named: {held}")
            named_s = sum(float(each["ms"]) for each in held if each["tool"] == name) / 1000
            if not math.isclose(counted.get(name, 0.0), named_s, abs_tol=0.001):
                self.faults.append(f"{name}: named for {named_s} s, and counted are {counted}")
        caller.hang_up()
        await caller.closed.wait()
        return max((float(h["ms"]) for h in held), default=0.0)

    async def compute(self, name: str) -> None:
        """Have a function compute for COMPUTES_S."""
        caller, agent = await self.loud.place_one(self.port)
        wanted = (name, {"seconds": COMPUTES_S}, is_("computed"))
        await agent.until_answered(agent.ask(wanted))
        self.faults += [f.fault for f in agent.asked.values() if f.fault]
        caller.hang_up()
        await caller.closed.wait()

    async def leftovers(self, before: dict[str, Any]) -> None:
        """What hangs is counted and named; once it is let go, nothing is left."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                now = await self.look(Look())
                tools = {n: c for n, c in now["threads"].items() if n.startswith("tool ")}
                if set(tools) <= {"tool hang"}:
                    break
                await asyncio.sleep(0.2)
        print(f"  still running in threads: {tools}; {now['gauges']}")
        hanging = tools.get("tool hang", 0)
        if not hanging or now["gauges"]["offhook_tool_threads_stuck"] != hanging:
            self.faults.append(f"{hanging} threads hang, and the metrics say {now['gauges']}")
        await self.look(Release())
        left = Counter[str]()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    now = await self.look(Look())
                    left = Counter(now["tasks"]) - Counter(before["tasks"])
                    left += Counter(now["threads"]) - Counter(before["threads"])
                    if not left:
                        return
                    await asyncio.sleep(0.2)
        except TimeoutError:
            self.faults.append(f"left running: {dict(left)}")


@asynccontextmanager
async def hammer(seed: int, capacity: int, *, short: bool, compute: bool) -> AsyncIterator[Hammer]:
    """A server, with an agent whose tools are hammer_tools.py, and what hammers it."""
    made: Hammer | None = None

    def session(socket: sockets.LoadSocket) -> AgentSink:
        assert made is not None  # nobody calls before the server is there
        return made.session(socket)

    listener = child.shared_listener(0)
    async with asyncio.TaskGroup() as group:
        sink = group.create_task(sockets.serve(listener, session))
        async with server_of(listener, capacity) as (server, port):
            made = Hammer(server, port, seed, short=short, compute=compute)
            yield made
        sink.cancel()
    listener.close()


@asynccontextmanager
async def server_of(listener: socket.socket, capacity: int) -> AsyncIterator[tuple[Child, int]]:
    """A server in a process of its own, and its port."""
    cores = Cores()
    with tempfile.TemporaryDirectory(prefix="offhook-hammer-") as name:
        folder = Path(name)
        (folder / "offhook.yaml").write_text(CONFIG)
        (folder / "agent.yaml").write_text(AGENT % json.dumps(str(HERE / "hammer_tools.py")))
        url = f"ws://localhost:{listener.getsockname()[1]}/v1/agent/converse"
        command = [sys.executable, str(HERE / "hammer_server.py"), "--agent-url", url]
        command += ["--capacity", str(capacity), "--token", TOKEN]
        command += ["--config", str(folder / "offhook.yaml")]
        async with started(command, "the server", {cores.bridge}, os.environ) as server:
            yield server, json.loads(await server.hear())["port"]


async def run(
    calls: int, at_once: int, quiet: int, seed: int, *, short: bool, compute: bool = False
) -> list[str]:
    """What was found wrong."""
    async with hammer(seed, 2 * (at_once + quiet), short=short, compute=compute) as it:
        # What a server starts at its first call is no leftover.
        await it.quiet.open(PlaceCalls(it.port, quiet, 0, TOKEN))
        it.hammering = True
        before = await it.look(Look())
        without: Measured | None = None
        beside = dict[str, Measured]()
        if not short:
            await asyncio.sleep(2)
            without = await it.measured(it.calls(max(calls // 4, 1), at_once, functions=False))
        with_ = await it.measured(it.calls(calls, at_once, functions=True))
        print(f"  {', '.join(f'{count} {what}' for what, count in it.counts.items())}")
        if not it.counts["filler sentences"]:
            it.faults.append("nothing was slow enough for a filler sentence")
        if not short:
            for where, name in COMPUTING.items():
                beside[where] = await it.measured(it.compute(name))
                what = f"while a function computes for {COMPUTES_S:g} s in a {where}"
                _print_delays(beside[where], what)
        held_ms = await it.hold()
        await it.leftovers(before)
        for part, what in ((without, "without functions"), (with_, "with functions")):
            if part is not None:
                _print_delays(part, what)
        if without is not None:
            computing_in = {f"one that computes in a {where}": beside[where] for where in beside}
            _judge({"functions that misbehave": with_, **computing_in}, it.faults)
            print(
                f"in short: p99 of quiet calls {_p99_ms(without):.1f} ms without functions,"
                f" {_p99_ms(with_):.1f} ms beside {calls} calls whose functions misbehave,"
                f" {_p99_ms(beside['thread']):.1f} ms while one computes for {COMPUTES_S:g} s"
                f" in a thread, {_p99_ms(beside['process']):.1f} ms in a process (the load"
                f" late by {_late_ms([with_, *beside.values()]):.1f} ms); a function that held the"
                f" interpreter for {held_ms:.0f} ms was named, and counted for as long; the server:"
                " one process without a record"
            )
        after = it.quiet.finish()
        # Two functions have held the server since: a clear may have come after the next barge-in.
        after.uncleared = with_.uncleared
        names = ["lost", "disordered", "doubled", "damaged", "uncleared", "broken_calls"]
        late_ms = max([*with_.late, *after.late], default=0) / 1e6
        if short and late_ms > LATE_MS:
            print(f"  quiet calls are not judged: the load itself was late by {late_ms:.0f} ms")
            names = ["broken_calls"]
        elif held_ms > HELD_MS:
            print(f"  gaps are not judged: the interpreter was held for {held_ms:.0f} ms")
            names = ["lost", "disordered", "doubled", "uncleared", "broken_calls"]
        for name in names:
            if getattr(after, name):
                it.faults.append(f"quiet calls: {getattr(after, name)} {name}")
        await it.quiet.hang_up()
        return it.faults


def _p99_ms(part: Measured) -> float:
    """Return the 99th percentile of the added delay in ms, of the slower of both ways.

    A way on which no frame came is infinitely slow.
    """
    spreads = [figures.spread(part.up_last), figures.spread(part.down)]
    return max(math.inf if each is None else each.p99 for each in spreads)


def _print_delays(part: Measured, what: str) -> None:
    ways = {"to the agent": part.up_last, "to the caller": part.down}
    for way, samples in ways.items():
        print(f"  quiet calls, {what}, added delay {way}: {figures.spread(samples)}")
    print(f"    the load itself was late by {figures.spread(part.late)}")


def _late_ms(parts: Iterable[Measured]) -> float:
    """Return by how much the load was late at p99, in ms, when it was latest."""
    spreads = [figures.spread(part.late) for part in parts]
    return max((each.p99 for each in spreads if each is not None), default=math.inf)


class Beside(NamedTuple):
    """The delay of quiet calls beside functions of one kind, and the load's own, p99 in ms."""

    p99: float
    load_late: float

    @property
    def verdict(self) -> bool | None:
        """Whether the bar is met; None if it is not, and the load was late itself.

        No late load explains that no frame came at all.
        """
        if self.p99 <= ALLOWED_MS:
            return True
        if math.isinf(self.p99):
            return False
        return None if self.load_late > LOAD_LATE_MS else False


def _judge(parts: Mapping[str, Measured], faults: list[str]) -> None:
    """Add to `faults` what the quiet calls were slow beside; print what is not judged."""
    unjudged = []
    for what, part in parts.items():
        found = Beside(_p99_ms(part), _late_ms([part]))
        said = f"{what}: p99 {found.p99:.1f} ms, the load late by {found.load_late:.1f} ms"
        if found.verdict is None:
            unjudged.append(said)
        elif not found.verdict:
            faults.append(f"quiet calls are slow beside {said}")
    if unjudged:
        print(f"{NOT_JUDGED}{'; '.join(unjudged)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=20, help="hammered calls at a time")
    parser.add_argument("--quiet", type=int, default=20, help="calls that only talk")
    parser.add_argument("--seed", type=int, default=1)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--short", action="store_true")
    form.add_argument("--compute", action="store_true")
    given = parser.parse_args()
    faults = run_on_uvloop(
        run(
            given.calls,
            given.at_once,
            given.quiet,
            given.seed,
            short=given.short,
            compute=given.compute,
        )
    )
    for fault in faults[:50]:
        print(f"  WRONG {fault}")
    print(f"hammer: {given.calls} calls, {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
