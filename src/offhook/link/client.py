"""The operator's end of the local socket: one call process, and all of a data folder."""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from offhook.config.current_agents import ReloadReport
from offhook.errors import UserError
from offhook.link.agent_records import AgentDetails, AgentFinding, AgentSummary, TrialRequest
from offhook.link.channel import JoinStream, LinkChannel
from offhook.link.lines import LineConnection
from offhook.link.messages import (
    LINE_MAX,
    CallProcessState,
    CheckFiles,
    LinkOrder,
    NumberedOrder,
    NumberedReply,
    OpenedStream,
    OpenPhoneCall,
    PerformedOperation,
    PerformOperation,
    Ping,
    PlaceCall,
    ReadAgent,
    ReadAgents,
    ReadCallState,
    ReadMetrics,
    ReadProcessState,
    ReloadAgents,
    TryFunction,
    Withdraw,
    other_version,
)
from offhook.link.process_files import live_processes
from offhook.net.websocket import Receiver
from offhook.outbound.call_tracker import PlacedCallState
from offhook.outbound.errors import TryLaterError, uncertain
from offhook.outbound.outbound_calls import OutboundRequest, PlacedCall
from offhook.tools.trials import FunctionTrial

PATIENCE_S: Final = 5.0
"""Seconds after which a silent process is pinged; one that is silent for as long again is given up.

A function of a user may hold its interpreter for seconds.
"""

CONNECT_S: Final = 2.0
STATE_S: Final = 2.0
"""Seconds that a process has for its metrics, and for its state."""
PERFORM_S: Final = 55.0
"""Seconds that an operation may take: a farewell takes 15 s at most, Deepgram's answer 10 s."""
PLACE_S: Final = 140.0
"""Seconds that placing a call may take: its turn, Twilio's answer, and the look-up of the call."""
RELOAD_S: Final = 50.0
"""Seconds that a reload may take: it runs the files of functions."""

AGAIN_S: Final = 2.0
"""Seconds after which a request may be repeated: a call process restarts faster."""

_reply: Final = msgspec.json.Decoder(NumberedReply)

_T = TypeVar("_T")


class CallProcess:
    """A call process, over one connection that is opened when it is needed, and one a stream.

    Every method raises the UserError or ToolError that the call process raises, and TryLaterError
    E-LINK-01 when it has ended or does not answer.
    """

    def __init__(self, connect: Callable[[LineConnection], Awaitable[object]]) -> None:
        """Take `connect`, which connects a LineConnection to the process or raises OSError."""
        self._connect = connect
        self._connection: _OpenConnection | None = None
        self._connecting = asyncio.Lock()

    @classmethod
    def at(cls, path: str) -> "CallProcess":
        """Return the process that listens on a Unix socket."""
        return cls(
            lambda lines: asyncio.get_running_loop().create_unix_connection(lambda: lines, path)
        )

    def close(self) -> None:
        """Close the connection; requests that are open fail."""
        if self._connection is not None:
            self._connection.lines.abort()

    async def perform(
        self, call_sid: str, operation: str, arguments: Mapping[str, Any], by: str
    ) -> PerformedOperation:
        """Perform an operation of calls/operations.py on a call, as a person asks.

        Cancelled, it is withdrawn.
        """
        order = PerformOperation.of(call_sid, operation, arguments, by)
        performed: PerformedOperation = await self._ask(order, PERFORM_S, PerformedOperation)
        return performed

    async def place(self, request: OutboundRequest) -> PlacedCall:
        """Place a call, as OutboundCalls.place.

        Raises UncertainError E-OUT-14 when the process ends meanwhile: the same request, with the
        same key, may be repeated.
        """
        try:
            placed: PlacedCall = await self._ask(PlaceCall(request), PLACE_S, PlacedCall)
        except _LostError as lost:
            if lost.was_sent:
                raise uncertain(AGAIN_S) from None
            raise
        return placed

    async def state(self, sid: str, seen: str | None, wait_s: float) -> PlacedCallState | None:
        """Return the state of a placed call, as CallTracker.state."""
        order = ReadCallState(sid, seen, wait_s)
        state: PlacedCallState | None
        state = await self._ask(order, wait_s + PERFORM_S, PlacedCallState | None)
        return state

    async def metrics(self) -> str:
        """Return the metrics, in Prometheus' text format."""
        text: str = await self._ask(ReadMetrics(), STATE_S, str)
        return text

    async def process_state(self, call_sid: str = "") -> CallProcessState:
        """Return the state of the process, and whether it knows that call."""
        state: CallProcessState
        state = await self._ask(ReadProcessState(call_sid), STATE_S, CallProcessState)
        return state

    async def reload(self) -> ReloadReport:
        """Read the agent files again. Raises UserError for a mistake in one of them."""
        report: ReloadReport = await self._ask(ReloadAgents(), RELOAD_S, ReloadReport)
        return report

    async def check_files(self) -> list[AgentFinding]:
        """Check the files as they are now; return what `offhook check` says of them."""
        findings: list[AgentFinding]
        findings = await self._ask(CheckFiles(), RELOAD_S, list[AgentFinding])
        return findings

    async def agents(self) -> list[AgentSummary]:
        """Return the agents that new calls get."""
        found: list[AgentSummary] = await self._ask(ReadAgents(), PERFORM_S, list[AgentSummary])
        return found

    async def agent(self, name: str) -> AgentDetails:
        """Return all of one agent. Raises UserError as AgentDirectory.details does."""
        found: AgentDetails = await self._ask(ReadAgent(name), PERFORM_S, AgentDetails)
        return found

    async def try_function(self, request: TrialRequest) -> FunctionTrial:
        """Run a function without a call, as AgentDirectory.try_function.

        Cancelled, it is stopped.
        """
        tried: FunctionTrial = await self._ask(TryFunction(request), PERFORM_S, FunctionTrial)
        return tried

    async def open_stream(self, order: LinkOrder) -> OpenedStream:
        """Have the process offer a stream, which `join` makes this side's."""
        opened: OpenedStream = await self._ask(order, STATE_S, OpenedStream)
        return opened

    async def join(self, token: str, receiver: Receiver) -> LinkChannel:
        """Return the stream of a token that this process has offered, over its own connection.

        A token that is not valid ends the stream with a reason. `receiver` gets no `on_open`.
        """
        lines = LineConnection(_ignore_line, _nothing)
        await self._connect_lines(lines)
        if not lines.is_open:
            raise _LostError(was_sent=False)
        channel = LinkChannel(lines, receiver)
        lines.send(msgspec.json.encode(JoinStream(token)))
        return channel

    async def _ask(self, order: LinkOrder, limit_s: float, kind: Any) -> Any:
        connection = await self._open()
        raw = await connection.ask(order, limit_s)
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.MsgspecError:
            raise other_version("the result is not known") from None

    async def _open(self) -> "_OpenConnection":
        async with self._connecting:
            if self._connection is not None and self._connection.lines.is_open:
                return self._connection
            connection = _OpenConnection()
            await self._connect_lines(connection.lines)
            self._connection = connection
            return connection

    async def _connect_lines(self, lines: LineConnection) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._connect(lines)
        except (OSError, TimeoutError):
            raise _LostError(was_sent=False) from None


@dataclass(frozen=True, slots=True)
class ProcessStream:
    """A stream that a call process has offered."""

    process: CallProcess
    opened: OpenedStream


class CallProcesses:
    """The call processes of a data folder. There are several while one takes over from another.

    `journal` is the folder that has a folder for each process; `own` is a process that has no
    file there, because it shares this process.

    Every method raises TryLaterError E-LINK-02 when no call process runs.
    """

    def __init__(self, journal: Path, own: CallProcess | None = None) -> None:
        self._journal = journal
        self._own = own
        self._known: dict[str, CallProcess] = {}

    def live(self) -> list[CallProcess]:
        """Return the processes that live, the newest first."""
        files = live_processes(self._journal)
        for gone in self._known.keys() - files.keys():
            self._known.pop(gone).close()
        for process_id, file in files.items():
            if process_id not in self._known:
                self._known[process_id] = CallProcess.at(file.control)
        own = [self._own] if self._own is not None else []
        return own + [self._known[process_id] for process_id in files]

    def close(self) -> None:
        """Close all connections."""
        for process in (self._own, *self._known.values()):
            if process is not None:
                process.close()
        self._known.clear()

    async def perform(
        self, call_sid: str, operation: str, arguments: Mapping[str, Any], by: str
    ) -> PerformedOperation:
        """Perform an operation on a call, in the process that has it."""
        process = await self._process_of(call_sid)
        return await process.perform(call_sid, operation, arguments, by)

    async def place(self, request: OutboundRequest) -> PlacedCall:
        """Place a call with the newest process that is not draining, else with the newest."""
        return await (await self._ready()).place(request)

    async def phone(self, order: OpenPhoneCall) -> ProcessStream:
        """Begin a call from a browser, with the process that would place a call."""
        process = await self._ready()
        return ProcessStream(process, await process.open_stream(order))

    async def stream_of(self, call_sid: str, order: LinkOrder) -> ProcessStream:
        """Have the process that has a call offer a stream of it."""
        process = await self._process_of(call_sid)
        return ProcessStream(process, await process.open_stream(order))

    async def state(self, sid: str, seen: str | None, wait_s: float) -> PlacedCallState | None:
        """Return the state of a placed call, from the process that has it."""
        return await (await self._process_of(sid)).state(sid, seen, wait_s)

    async def metrics(self) -> list[str | None]:
        """Return the metrics of each process; None for one that does not answer within 2 s."""
        return [text for _, text in await _each(self.live(), lambda process: process.metrics())]

    async def states(self) -> list[CallProcessState | None]:
        """Return the state of each process; None for one that does not answer within 2 s."""
        found = await _each(self._some(), lambda process: process.process_state())
        return [state for _, state in found]

    async def reload(self) -> ReloadReport:
        """Read the agent files again in every process; return the report of the newest."""
        return (await asyncio.gather(*(process.reload() for process in self._some())))[0]

    def newest(self) -> CallProcess:
        """Return the newest process, whose agents new calls get."""
        return self._some()[0]

    def _some(self) -> list[CallProcess]:
        processes = self.live()
        if not processes:
            raise TryLaterError(
                "E-LINK-02",
                "No call process runs, so there are no live calls and none can be placed.",
                "Start offhook serve; one that is restarting is there in a moment.",
                AGAIN_S,
            )
        return processes

    async def _ready(self) -> CallProcess:
        """Return the newest process that is not draining, else the newest."""
        processes = self._some()
        if len(processes) > 1:
            states = await _each(processes, lambda process: process.process_state())
            ready = [p for p, state in states if state is not None and not state.is_draining]
            processes = ready or processes
        return processes[0]

    async def _process_of(self, call_sid: str) -> CallProcess:
        """Return the process that knows a call, else the newest."""
        processes = self._some()
        if len(processes) == 1:
            return processes[0]
        states = await _each(processes, lambda process: process.process_state(call_sid))
        return next((p for p, state in states if state and state.knows_call), processes[0])


async def _each(
    processes: Sequence[CallProcess], ask: Callable[[CallProcess], Awaitable[_T]]
) -> list[tuple[CallProcess, _T | None]]:
    """Return each process with its answer, all asked at once; None for one without an answer."""

    async def one(process: CallProcess) -> _T | None:
        with contextlib.suppress(UserError):
            return await ask(process)
        return None

    answers = await asyncio.gather(*map(one, processes))
    return list(zip(processes, answers, strict=True))


class _LostError(TryLaterError):
    """Error: the process has ended or does not answer. `was_sent`: it may have the request."""

    def __init__(self, *, was_sent: bool) -> None:
        super().__init__(
            "E-LINK-01",
            "The call process has ended or does not answer. It may have done what was asked.",
            "Ask again in a moment: a call process that has ended is started again.",
            AGAIN_S,
        )
        self.was_sent = was_sent


class _OpenConnection:
    """A connection to a call process, and the open requests by their numbers."""

    def __init__(self) -> None:
        self.lines: Final = LineConnection(self._on_line, self._on_lost)
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[bytes]] = {}

    async def ask(self, order: LinkOrder, limit_s: float) -> bytes:
        """Return the JSON of the result. A request that is given up is withdrawn."""
        number = next(self._numbers)
        line = msgspec.json.encode(NumberedOrder(number, order))
        if len(line) > LINE_MAX:
            raise other_version(f"the request has {len(line)} bytes")
        if not self.lines.is_open:
            raise _LostError(was_sent=False)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open[number] = reply
        self.lines.send(line)
        try:
            async with asyncio.timeout(limit_s):
                await self._watch(reply)
                return await reply
        except TimeoutError:
            raise _LostError(was_sent=True) from None
        finally:
            del self._open[number]
            if not reply.done():
                self._send(number, Withdraw())
            elif not reply.cancelled():
                reply.exception()  # it may be of a request that was cancelled at the same moment

    async def _watch(self, reply: asyncio.Future[bytes]) -> None:
        """Wait for a reply; close the connection when the process has become silent."""
        was_pinged = False
        while not reply.done():
            received = self.lines.received
            await asyncio.wait((reply,), timeout=PATIENCE_S)
            if reply.done() or self.lines.received != received:
                was_pinged = False
            elif was_pinged:
                self.lines.abort()
                await asyncio.wait((reply,))  # it fails when the connection is lost
            else:
                was_pinged = True
                self._send(next(self._numbers), Ping())

    def _send(self, number: int, order: LinkOrder) -> None:
        self.lines.send(msgspec.json.encode(NumberedOrder(number, order)))

    def _on_line(self, line: bytes) -> None:
        try:
            reply = _reply.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.lines.abort()  # nothing after it can be trusted
            return
        waiting = self._open.get(reply.number)
        if waiting is None or waiting.done():
            return
        if reply.error is not None:
            waiting.set_exception(reply.error.raised())
        else:
            waiting.set_result(bytes(reply.result))

    def _on_lost(self) -> None:
        for waiting in self._open.values():
            if not waiting.done():
                waiting.set_exception(_LostError(was_sent=True))


def _ignore_line(line: bytes) -> None:
    """Ignore a line: the stream has not begun."""


def _nothing() -> None:
    """Do nothing: the stream has not begun."""
