"""A process of the load: it obeys the runner's messages."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from offhook.bench import child
from offhook.bench.frames import FrameFaults
from offhook.bench.load import sockets
from offhook.bench.load.caller import LoadCaller
from offhook.bench.load.messages import (
    Arrive,
    Begin,
    Churn,
    EndCalls,
    Finish,
    Measured,
    PlaceCalls,
    Road,
    Spec,
)
from offhook.bench.load.schedule import Wheel
from offhook.bench.load.sink import AgentSink

CONNECT_S: Final = 10.0
OPENING_AT_ONCE: Final = 20


class Load:
    """The load of this process. Idle calls send and receive a frame once in `turn_ms`."""

    def __init__(self, turn_ms: int, *, idle: bool) -> None:
        self.idle = idle
        self.tls: ssl.SSLContext | None = None
        """Context of the callers, once the bridge's port is known to have TLS."""
        self.faults = FrameFaults()
        self.measured = Measured()
        self.wheel = Wheel(turn_ms)
        self._sessions = 0
        self.timed_callers: set[LoadCaller] = set()
        self.timed_sessions: set[AgentSink] = set()
        self._callers: set[LoadCaller] = set()
        self._began: child.Usage = child.usage()

    def session(self, socket: sockets.LoadSocket) -> AgentSink:
        """Return a new session of the sink, on its socket."""
        self._sessions += 1
        # 7 shares no factor with the slots of a turn: consecutive sessions are well spread.
        return AgentSink(self, 7 * self._sessions, socket)

    async def open(self, command: PlaceCalls) -> None:
        """Place calls that stay."""
        if command.tls:
            self.tls = sockets.unchecked()
        names = iter(range(command.first, command.first + command.calls))

        async def place_some() -> None:
            for name in names:
                caller = LoadCaller(str(name), self, 7 * name + 3)
                if await self.place(caller, command.port, command.token, command.road):
                    self._callers.add(caller)

        await self._together(place_some, OPENING_AT_ONCE)

    async def churn(self, command: Churn) -> None:
        """Place short calls, one after another."""
        numbers = iter(range(command.calls))

        async def place_some() -> None:
            for number in numbers:
                name = command.first + number
                caller = LoadCaller(str(name), self, 7 * name + 3, command.frames)
                if await self.place(caller, command.port, command.token, command.road):
                    caller.hang_up()
                    await caller.closed.wait()
                if number % 100 == 99:
                    child.tell({"placed": number + 1})

        await self._together(place_some, command.at_once)

    async def arrive(self, command: Arrive) -> None:
        """Begin calls at a rate, until cancelled."""
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def one(name: int) -> None:
            caller = LoadCaller(str(name), self, 7 * name + 3)
            if await self.place(caller, command.port, command.token, command.road):
                self._callers.add(caller)
                await asyncio.sleep(command.hold_s)
                self._callers.discard(caller)
                caller.hang_up()
                await caller.closed.wait()
                self.measured.ended_calls += 1

        async with asyncio.TaskGroup() as group:
            number = 0
            while True:
                due = began + number / command.per_second
                await asyncio.sleep(max(0.0, due - loop.time()))
                group.create_task(one(command.first + number))
                number += 1

    def begin(self) -> None:
        """Measure from now on."""
        broken, uncleared = self.measured.broken_calls, self.measured.uncleared
        self.measured = Measured(broken_calls=broken, uncleared=uncleared)
        self._began = child.usage()
        self.wheel.slips = 0

    def finish(self) -> Measured:
        """Return what was measured."""
        now, measured, faults = child.usage(), self.measured, self.faults
        measured.lost, measured.disordered = faults.lost, faults.disordered
        measured.doubled, measured.damaged = faults.doubled, faults.damaged
        measured.slips = self.wheel.slips
        measured.cpu_ns = now.cpu_ns - self._began.cpu_ns
        measured.elapsed_ns = now.at_ns - self._began.at_ns
        return measured

    async def hang_up(self) -> None:
        """End every call."""
        callers, self._callers = self._callers, set()
        for caller in callers:
            if not caller.closed.is_set():
                caller.hang_up()
        for caller in callers:
            await caller.closed.wait()

    async def place(self, caller: LoadCaller, port: int, token: str, road: Road = "bin") -> bool:
        """Place a call. Return whether it was answered."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await caller.call(port, token, road)
                await caller.answered.wait()
        except (sockets.RefusedError, TimeoutError):
            self.measured.broken_calls += 1
            return False
        return not caller.closed.is_set()

    @staticmethod
    async def _together(place_some: Callable[[], Coroutine[Any, Any, None]], n: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(n):
                group.create_task(place_some())


_commands: Final = msgspec.json.Decoder[PlaceCalls | Churn | Arrive | Begin | Finish | EndCalls](
    PlaceCalls | Churn | Arrive | Begin | Finish | EndCalls
)


async def obey(spec: Spec) -> None:
    """Obey the runner's messages, until it ends."""
    load = Load(spec.turn_ms, idle=spec.idle)
    tls = None
    if spec.certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(spec.certificate)
    listener = child.shared_listener(spec.port)
    async with asyncio.TaskGroup() as group:
        sink = group.create_task(sockets.serve(listener, load.session, tls))
        child.tell({"port": listener.getsockname()[1]})
        arriving: asyncio.Task[None] | None = None
        async for line in child.told():
            match command := _commands.decode(line):
                case PlaceCalls():
                    await load.open(command)
                    child.tell({"open": True})
                case Churn():
                    await load.churn(command)
                    child.tell({"open": False})
                case Arrive():
                    arriving = group.create_task(load.arrive(command))
                case Begin():
                    load.begin()
                case Finish():
                    child.tell(load.finish())
                case EndCalls():
                    await _cancel(arriving)
                    await load.hang_up()
                    child.tell({"open": False})
        await _cancel(arriving)
        sink.cancel()
    listener.close()


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
