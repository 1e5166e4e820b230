"""Handlers of requests to a call process, of an operator's process or another call process."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from offhook.calls.browser_calls import NotTakenError
from offhook.calls.compose import CallHandling
from offhook.calls.forwarded import ForwardedWebhook, WebhookAnswer
from offhook.calls.operations import (
    LISTENING,
    OPERATIONS,
    STREAM_OPERATIONS,
    Operation,
    OperationModel,
    no_live_call,
)
from offhook.config import Config
from offhook.config.current_agents import ReloadReport
from offhook.link.agent_directory import AgentDirectory
from offhook.link.agent_records import AgentFinding
from offhook.link.messages import (
    AnswerWebhook,
    CallProcessState,
    CheckFiles,
    FenceCall,
    LinkOrder,
    OpenedStream,
    OpenOperatorStream,
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
    ReleaseCall,
    ReloadAgents,
    TryFunction,
    Withdraw,
    other_version,
)
from offhook.link.streams import TOKEN_S, OfferedStreams
from offhook.observability.metrics.meter import Metrics
from offhook.outbound.errors import TryLaterError
from offhook.outbound.outbound_calls import OutboundCalls
from offhook.webhooks.pending_streams import PendingStreams
from offhook.yamlfile import Finding

_STREAM_OPERATIONS: Final = {operation.name: operation for operation in STREAM_OPERATIONS}
_OPERATIONS: Final = {operation.name: operation for operation in OPERATIONS}


def arguments_of(operation: Operation, text: str) -> OperationModel:
    """Return the arguments of an operation, from JSON. Raises UserError E-LINK-03 for others."""
    try:
        return operation.arguments.model_validate(json.loads(text))
    except (ValueError, RecursionError):
        raise other_version(f'the arguments of "{operation.name}" are others') from None


class LinkOrders:
    """Performs the requests of other processes, with the parts of a call process.

    Args:
        config: The configuration, which says why no calls are placed.
        calls: The calls of this process.
        placing: Its outbound calls; None without credentials for Twilio's REST API.
        pending_streams: Streams that have not identified their call yet.
        streams: Streams that it offers to the operator's process.
        metrics: Its metrics.
        failing: Returns the parts that do not work, each with its state.
        reload: Reads the agent files again, and returns a report.
        check: Checks the files as they are now, and returns every finding.
        agents: Tells of the agents, and tries their functions.
        answer: Answers a webhook of Twilio's that another call process has got.
        release: Gives a call up to another call process, as ReleaseCall says.
        fence: Ends a call without a word, as FenceCall says.
        owns: Returns whether this process has a call in an epoch of the fleet, and is sure of it.
    """

    def __init__(
        self,
        config: Config,
        calls: CallHandling,
        placing: OutboundCalls | None,
        pending_streams: PendingStreams,
        streams: OfferedStreams,
        metrics: Metrics,
        *,
        failing: Callable[[], Mapping[str, str]],
        reload: Callable[[], Awaitable[ReloadReport]],
        check: Callable[[], Awaitable[Sequence[Finding]]],
        agents: AgentDirectory,
        answer: Callable[[ForwardedWebhook], Awaitable[WebhookAnswer | None]],
        release: Callable[[str, str | None, str | None], Awaitable[bool]],
        fence: Callable[[str, int], None],
        owns: Callable[[str, int], bool],
    ) -> None:
        self._config = config
        self._calls = calls.registry
        self._browser = calls.browser
        self._placing = placing
        self._pending_streams = pending_streams
        self._streams = streams
        self._metrics = metrics
        self._failing = failing
        self._reload = reload
        self._check = check
        self._agents = agents
        self._answer = answer
        self._release = release
        self._fence = fence
        self._owns = owns

    async def obey(self, order: LinkOrder) -> Any:
        """Return the result of a request. Raises UserError or ToolError for one that fails."""
        match order:
            case PerformOperation():
                return await self._perform(order)
            case PlaceCall(request):
                return await self._outbound().place(request)
            case ReadCallState(call_sid, seen, wait_s):
                return await self._outbound().following.state(call_sid, seen, wait_s)
            case ReadMetrics():
                return (await self._metrics.text()).decode()
            case ReadProcessState(call_sid):
                return CallProcessState(
                    self._calls.is_draining,
                    self._calls.live_count,
                    self._calls.find(call_sid) is not None,
                    dict(self._failing()),
                    # New calls go to a process with room.
                    0 if self._calls.is_draining else self._config.server.capacity,
                    0 if self._placing is None else self._placing.live,
                )
            case ReloadAgents():
                return await self._reload()
            case CheckFiles():
                return [AgentFinding.of(finding) for finding in await self._check()]
            case ReadAgents():
                return self._agents.summaries()
            case ReadAgent(name):
                return await self._agents.details(name)
            case TryFunction(request):
                return await self._agents.try_function(request)
            case OpenPhoneCall():
                return await self._open_phone_call(order)
            case OpenOperatorStream():
                return self._open_operator_stream(order)
            case AnswerWebhook(webhook):
                return await self._answer(webhook)
            case ReleaseCall(call_sid, to, token):
                return await self._release(call_sid, to, token)
            case FenceCall(call_sid, epoch):
                self._fence(call_sid, epoch)
                return None
            case Ping() | Withdraw():
                return None

    async def _perform(self, order: PerformOperation) -> PerformedOperation:
        operation = _OPERATIONS.get(order.operation)
        if operation is None:
            raise other_version(f'there is no operation "{order.operation}"')
        # Another node may have taken the call over while this process was cut off or paused.
        if order.epoch and not self._owns(order.call_sid, order.epoch):
            return PerformedOperation("unknown")
        entry = self._calls.find(order.call_sid)
        if entry is None:
            return PerformedOperation("unknown")
        if entry.session is None:
            return PerformedOperation("over")
        request = operation.request(arguments_of(operation, order.arguments))
        what = await entry.control.operate(order.by, operation.name, request)
        return PerformedOperation("done", what)

    async def _open_phone_call(self, order: OpenPhoneCall) -> OpenedStream:
        try:
            call = await self._browser.begin(order.agent, order.by, order.variables, TOKEN_S)
        except NotTakenError as refused:
            self._metrics.refused("browser", refused.reason)
            raise TryLaterError.of(refused, refused.again_s) from None
        receiver = self._pending_streams.receiver(call.admit, call.abandon)
        unwanted = partial(call.abandon, "no page opened it")
        token = self._streams.offer(receiver, unwanted, call.due_s)
        entry, said = call.entry, call.entry.agent.announcement
        return OpenedStream(
            entry.call_sid,
            token,
            call.due_s,
            entry.account_sid,
            call.stream_sid,
            "" if said is None else said.say,
            None if said is None else said.language,
        )

    def _open_operator_stream(self, order: OpenOperatorStream) -> OpenedStream:
        operation = _STREAM_OPERATIONS.get(order.operation)
        if operation is None:
            raise other_version(f'there is no operation "{order.operation}"')
        entry = self._calls.find(order.call_sid)
        if entry is None or entry.session is None:
            raise no_live_call()
        operators = entry.session.operators
        if operation is LISTENING:
            receiver = operators.listening(order.by)
        else:
            entry.control.check_take_over(order.by, operation.name)
            receiver = operators.speaking(order.by)
        return OpenedStream(order.call_sid, self._streams.offer(receiver, _nothing))

    def _outbound(self) -> OutboundCalls:
        """Return the outbound calls. Raises UserError E-TW-02 without credentials for Twilio."""
        if self._placing is None:
            self._config.twilio.require_rest()
        assert self._placing is not None, "there are credentials"
        return self._placing


def _nothing() -> None:
    """Do nothing: a stream that nobody has joined holds nothing of its call."""
