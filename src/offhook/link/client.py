"""The asking end of a connection to a call process."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from offhook.calls.forwarded import ForwardedWebhook, WebhookAnswer
from offhook.config.current_agents import ReloadReport
from offhook.link.agent_records import AgentDetails, AgentFinding, AgentSummary, TrialRequest
from offhook.link.channel import JoinStream, LinkChannel
from offhook.link.lines import LineConnection, Lines, OnLine, OnLost
from offhook.link.messages import (
    LINE_MAX,
    AnswerWebhook,
    CallProcessState,
    CheckFiles,
    FenceCall,
    LinkOrder,
    NumberedOrder,
    NumberedReply,
    OpenedStream,
    PerformedOperation,
    PerformOperation,
    Ping,
    PlaceCall,
    ReadAgent,
    ReadAgents,
    ReadCallState,
    ReadMetrics,
    ReadProcessState,
    ReleaseCall,
    ReloadAgents,
    TryFunction,
    Withdraw,
    other_version,
)
from offhook.link.node_links import NodeLinks, NotHereError
from offhook.net.websocket import Receiver
from offhook.outbound.errors import TryLaterError, uncertain
from offhook.outbound.requests import OutboundRequest, PlacedCall, PlacedCallState
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

WEBHOOK_S: Final = 12.0
"""Seconds that a forwarded webhook may take; Twilio gives up after 15 s (twilio.md §4.1)."""
RELEASE_S: Final = 5.0
"""Seconds that giving a call up may take: what was said in it is stored first."""
CALLER_WAITS_S: Final = 1.5
"""Seconds within which a process elsewhere must have read a request for which a caller waits."""

BEGIN_S: Final = 2.0
"""Seconds within which a process of another node must have begun with a request. It refuses the
request later, and this side does not wait longer for a sign that it has read it."""

MARGIN_S: Final = 0.5
"""Seconds before that at which a request to another node expires. This side waits longer than it
holds, by more than two nodes may differ in what they take for the database's time."""

_reply: Final = msgspec.json.Decoder(NumberedReply)

_T = TypeVar("_T")

Connect: TypeAlias = Callable[[OnLine, OnLost], Awaitable[Lines]]
"""Function that connects to a call process. Raises OSError."""


@dataclass(frozen=True, slots=True)
class ElsewhereTerms:
    """Terms of requests to a process of another node.

    Attributes:
        node: The name of that node.
        now_ms: Returns the time by the database's clock, in ms since 1970.
    """

    node: str
    now_ms: Callable[[], int]


def result_of(raw: bytes, kind: Any) -> Any:
    """Return the result of a request, which is of a kind. Raises UserError E-LINK-03 for others."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise other_version("the result is not known") from None


class CallProcess:
    """A call process, over one connection that is opened when it is needed, and one a stream.

    Every method raises the UserError or ToolError that the call process raises, and TryLaterError
    when it has ended or does not answer: E-LINK-01 for one of this machine, E-LINK-07 for one of
    another node, which must begin within BEGIN_S.
    """

    def __init__(self, connect: Connect, elsewhere: ElsewhereTerms | None = None) -> None:
        """Take `connect`, and the terms for a process that is of another node."""
        self._connect = connect
        self._elsewhere = elsewhere
        self._connection: _OpenConnection | None = None
        self._connecting = asyncio.Lock()
        self._failures = 0
        """Attempts to connect that have failed."""
        self._is_other = False
        """True if the last one of them found another process."""

    @classmethod
    def at(cls, path: str) -> "CallProcess":
        """Return the process that listens on a Unix socket."""

        async def connect(on_line: OnLine, on_lost: OnLost) -> LineConnection:
            lines = LineConnection(on_line, on_lost)
            await asyncio.get_running_loop().create_unix_connection(lambda: lines, path)
            return lines

        return cls(connect)

    @classmethod
    def of(cls, process_id: str, node: str, address: str, links: NodeLinks) -> "CallProcess":
        """Return a process of another node, at its address of the node list.

        Its methods raise NotHereError when another process answers there.
        """
        return cls(
            lambda on_line, on_lost: links.connect(process_id, address, on_line, on_lost),
            ElsewhereTerms(node, links.now_ms),
        )

    def close(self) -> None:
        """Close the connection; requests that are open fail."""
        if self._connection is not None:
            self._connection.lines.abort()

    async def perform(
        self,
        call_sid: str,
        operation: str,
        arguments: Mapping[str, Any],
        by: str,
        epoch: int = 0,
    ) -> PerformedOperation:
        """Perform an operation of calls/operations.py on a call, as a person asks.

        With an `epoch`, only if the process has the call in it, and else "unknown". Cancelled, it
        is withdrawn.
        """
        order = PerformOperation.of(call_sid, operation, arguments, by, epoch)
        performed: PerformedOperation = await self._ask(order, PERFORM_S, PerformedOperation)
        return performed

    async def place(self, request: OutboundRequest) -> PlacedCall:
        """Place a call, as OutboundCalls.place.

        Raises UncertainError E-OUT-14 when the process ends meanwhile: the same request, with the
        same key, may be repeated.
        """
        try:
            placed: PlacedCall = await self._ask(PlaceCall(request), PLACE_S, PlacedCall)
        except LostError as lost:
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

    async def answer(self, webhook: ForwardedWebhook) -> WebhookAnswer | None:
        """Have the process answer a webhook of Twilio's; None if it does not know the call."""
        order = AnswerWebhook(webhook)
        answer: WebhookAnswer | None
        # Nobody else can answer for a process of this machine that lives, however slow it is.
        begin_s = None if self._elsewhere is None else CALLER_WAITS_S
        answer = await self._ask(order, WEBHOOK_S, WebhookAnswer | None, begin_s=begin_s)
        return answer

    async def release(self, call_sid: str, to: str | None, token: str | None) -> bool:
        """Have the process give a call up; return False if it has none such."""
        order = ReleaseCall(call_sid, to, token)
        begin_s = None if self._elsewhere is None else CALLER_WAITS_S
        given_up: bool = await self._ask(order, RELEASE_S, bool, begin_s=begin_s)
        return given_up

    async def fence(self, call_sid: str, epoch: int) -> None:
        """Tell the process that a call of its is claimed by another one."""
        await self._ask(FenceCall(call_sid, epoch), STATE_S, None)

    async def open_stream(self, order: LinkOrder, limit_s: float = STATE_S) -> OpenedStream:
        """Have the process offer a stream, which `join` makes this side's."""
        opened: OpenedStream = await self._ask(order, limit_s, OpenedStream)
        return opened

    async def join(self, token: str, receiver: Receiver) -> LinkChannel:
        """Return the stream of a token that this process has offered, over its own connection.

        A token that is not valid ends the stream with a reason. `receiver` gets no `on_open`.
        """
        try:
            lines = await self._connect_lines(_ignore_line, _nothing)
        except NotHereError:
            raise _lost(self._elsewhere, was_sent=False) from None
        if not lines.is_open:
            raise _lost(self._elsewhere, was_sent=False)
        channel = LinkChannel(lines, receiver)
        lines.send(msgspec.json.encode(JoinStream(token)))
        return channel

    async def _ask(
        self, order: LinkOrder, limit_s: float, kind: Any, *, begin_s: float | None = None
    ) -> Any:
        """Return the result of a request; `begin_s`: the process must have read it by then."""
        if begin_s is None and self._elsewhere is not None:
            begin_s = BEGIN_S
        connection = await self._open()
        return result_of(await connection.ask(order, limit_s, begin_s), kind)

    async def _open(self) -> "_OpenConnection":
        failures = self._failures
        async with self._connecting:
            if self._connection is not None and self._connection.lines.is_open:
                return self._connection
            if self._failures != failures:
                # One after another, each would wait until it fails, and its caller with it.
                raise NotHereError if self._is_other else _lost(self._elsewhere, was_sent=False)
            connection = _OpenConnection(self._elsewhere)
            try:
                connection.lines = await self._connect_lines(connection.on_line, connection.on_lost)
            except (LostError, NotHereError) as error:
                self._failures += 1
                self._is_other = isinstance(error, NotHereError)
                raise
            self._connection = connection
            return connection

    async def _connect_lines(self, on_line: OnLine, on_lost: OnLost) -> Lines:
        try:
            async with asyncio.timeout(CONNECT_S):
                return await self._connect(on_line, on_lost)
        except (OSError, TimeoutError):
            raise _lost(self._elsewhere, was_sent=False) from None


class LostError(TryLaterError):
    """Error: the process has ended or does not answer. `was_sent`: it may have the request."""

    was_sent: bool


def _lost(elsewhere: ElsewhereTerms | None, *, was_sent: bool) -> LostError:
    if elsewhere is None:
        error = LostError(
            "E-LINK-01",
            "The call process has ended or does not answer. It may have done what was asked.",
            "Ask again in a moment: a call process that has ended is started again.",
            AGAIN_S,
        )
    else:
        done = "It may have done what was asked" if was_sent else "Nothing was done"
        error = LostError(
            "E-LINK-07",
            f'The node "{elsewhere.node}", which was asked, does not answer. {done}.',
            "Ask again in a moment: another node takes over the calls of one that has died.",
            AGAIN_S,
        )
    error.was_sent = was_sent
    return error


class _OpenConnection:
    """A connection to a call process, and the open requests by their numbers."""

    def __init__(self, elsewhere: ElsewhereTerms | None) -> None:
        self.lines: Lines
        self._elsewhere = elsewhere
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[bytes]] = {}

    async def ask(self, order: LinkOrder, limit_s: float, begin_s: float | None) -> bytes:
        """Return the JSON of the result. A request that is given up is withdrawn."""
        number = next(self._numbers)
        until_ms = None
        if self._elsewhere is not None:
            until_ms = self._elsewhere.now_ms() + round(1000 * ((begin_s or BEGIN_S) - MARGIN_S))
        line = msgspec.json.encode(NumberedOrder(number, order, until_ms))
        if len(line) > LINE_MAX:
            raise other_version(f"the request has {len(line)} bytes")
        if not self.lines.is_open:
            raise _lost(self._elsewhere, was_sent=False)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open[number] = reply
        self.lines.send(line)
        is_read = True
        try:
            async with asyncio.timeout(limit_s):
                if begin_s is not None:
                    is_read = await self._is_read(reply, begin_s)
                if not is_read:
                    raise TimeoutError
                await self._watch(reply)
                return await reply
        except TimeoutError:
            raise _lost(self._elsewhere, was_sent=True) from None
        finally:
            del self._open[number]
            if not reply.done():
                self._send(number, Withdraw())
            elif not reply.cancelled():
                reply.exception()  # it may be of a request that was cancelled at the same moment
            if not is_read:  # What is in it is of no use: the request is withdrawn behind itself.
                self.lines.end()

    async def _is_read(self, reply: asyncio.Future[bytes], begin_s: float) -> bool:
        """Return whether the process reads a request within `begin_s`.

        Its answer shows that, or its answer to a ping that is sent behind the request.
        """
        number = next(self._numbers)
        read: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open[number] = read
        self._send(number, Ping())
        try:
            await asyncio.wait((reply, read), timeout=begin_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._open[number]
        if read.done():
            read.exception()
        return read.done() or reply.done()

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

    def on_line(self, line: bytes) -> None:
        """Take a reply."""
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

    def on_lost(self) -> None:
        """Fail every request: the connection has ended."""
        for waiting in self._open.values():
            if not waiting.done():
                waiting.set_exception(_lost(self._elsewhere, was_sent=True))


def node_away(node: str) -> TryLaterError:
    """Return the error for a node that has a call, and whose process has ended."""
    return _lost(ElsewhereTerms(node, lambda: 0), was_sent=False)


def _ignore_line(line: bytes) -> None:
    """Ignore a line: the stream has not begun."""


def _nothing() -> None:
    """Do nothing: the stream has not begun."""
