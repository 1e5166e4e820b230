"""HTTP side of the server's port: Twilio's webhooks, its streams, and health for operators."""

import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from offhook.call import inputs
from offhook.calls.compose import CallHandling
from offhook.calls.forwarded import ForwardedWebhook, WebhookAnswer, WebhookName
from offhook.config import Config
from offhook.config.app_config import WEBHOOKS
from offhook.config.fleet_settings import NODE_NAME
from offhook.journal.keeper import EventJournal
from offhook.net import websocket
from offhook.observability.metrics.meter import Metrics
from offhook.outbound.outbound_calls import OutboundCalls
from offhook.webhooks.auth import Form, TwilioAuth, UnbelievedRequestError, host_name
from offhook.webhooks.call_flow import CallFlow
from offhook.webhooks.callbacks import StatusCallbacks
from offhook.webhooks.elsewhere import KnownSubjects, OtherNodes
from offhook.webhooks.pending_streams import PendingStreams
from offhook.webhooks.siblings import SiblingProcesses

_log: Final = logging.getLogger("offhook.webhooks")

_FIELDS: Final[Mapping[WebhookName, tuple[str, ...]]] = {
    "voice": ("From", "StirVerstat", "To"),
    "after": (
        "CallStatus",
        "DialCallStatus",
        "Digits",
        "Direction",
        "From",
        "RecordingSid",
        "RecordingUrl",
        "To",
    ),
    "status": ("CallDuration", "CallStatus", "SipResponseCode"),
    "stream-status": ("StreamError", "StreamEvent", "StreamSid"),
    "amd": ("AnsweredBy",),
}
"""Every webhook, and the fields that are read of its form."""

PUBLIC: Final = frozenset((*(f"{WEBHOOKS}/{name}" for name in _FIELDS), "/healthz", "/readyz"))
"""Paths of the HTTP side of a server alone.

/healthz and /readyz answer the operator's hosts and our own address.
"""

OF_NODES: Final = frozenset(f"{WEBHOOKS}/n/{{node}}/{name}" for name in _FIELDS)
"""Further paths in a fleet, by which a load balancer can bring a request to the call's node."""

_STREAMS: Final = re.compile(f"{WEBHOOKS}(/n/{NODE_NAME})?/*")
"""Paths of streams in a fleet."""

OPERATORS: Final = ("/api", "/metrics", "/docs", "/openapi.json")
"""Beginnings of paths that were served at this port before the operator had a listener."""

Endpoint = Callable[[Form, str], Awaitable[Response]]
Handler = Callable[[Request], Awaitable[Response]]

LAG_MS: Final = 5000
"""Age in ms of the oldest event that the database lacks, beyond which readiness says so."""


def _records(journal: EventJournal) -> str:
    """Return the state of the record: an operator process that is behind is no fault of calls."""
    state = journal.state
    if state == "ok" and journal.upgrading:
        return journal.upgrading
    if state == "ok" and journal.lag_ms > LAG_MS:
        return f"the operator process is {journal.lag_ms // 1000} s behind"
    return state


class Webhooks:
    """Routes of authenticated requests to their handlers, and acceptance of Twilio's streams."""

    def __init__(
        self,
        config: Config,
        calls: CallHandling,
        pending_streams: PendingStreams,
        metrics: Metrics,
        journal: EventJournal | None = None,
        placing: OutboundCalls | None = None,
        *,
        failing: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._server = config.server
        self._registry = calls.registry
        self._pending_streams = pending_streams
        self._metrics = metrics
        self._journal = journal
        self._sessions = calls.limits.sessions
        self._failing = failing
        self._has_hinted = False
        self._auth = TwilioAuth(config, metrics)
        self.known: Final = KnownSubjects(calls, placing)
        self.others: OtherNodes | None = None
        """The other nodes, once it is known how they are reached; None without a fleet."""
        self.siblings: SiblingProcesses | None = None
        """The other call processes of a server that is exchanged; None if there can be none."""
        self._permit = None if calls.fleet is None else calls.fleet.permit
        self._flow = CallFlow(calls, metrics, placing)
        self._callbacks = StatusCallbacks(
            calls, placing, journal.process_id if journal is not None else ""
        )
        self._endpoints: Mapping[WebhookName, Endpoint] = {
            "voice": self._flow.voice,
            "after": self._flow.after,
            "status": self._callbacks.status,
            "stream-status": self._callbacks.stream_status,
            "amd": self._callbacks.answered_by,
        }

    def app(self) -> ASGIApp:
        """Return the HTTP side of the port. The public host has /twilio/… and nothing else."""
        bases = [WEBHOOKS] if self.others is None else [WEBHOOKS, f"{WEBHOOKS}/n/{{node}}"]
        routes = [
            Route(path, self._timed(path, self._signed(name)), methods=["POST"])
            for base in bases
            for name in _FIELDS
            for path in (f"{base}/{name}",)
        ]
        routes.append(Route("/healthz", self._probes_only(self._healthz), methods=["GET"]))
        routes.append(Route("/readyz", self._probes_only(self._readyz), methods=["GET"]))
        assert {route.path for route in routes} == PUBLIC | (OF_NODES if len(bases) > 1 else set())
        served = Starlette(routes=routes, exception_handlers={404: self._not_found})

        async def exact(scope: Scope, receive: Receive, send: Send) -> None:
            # Starlette also takes a path with a newline behind it for its route.
            if scope["type"] == "http" and scope["path"].endswith("\n"):
                scope = {**scope, "path": "/", "raw_path": b"/"}
            await served(scope, receive, send)

        return exact

    async def _not_found(self, request: Request, _: Exception) -> Response:
        path = request.url.path
        if (
            not self._has_hinted
            and path.startswith(OPERATORS)
            and host_name(request.headers) in self._server.operator_hosts
        ):
            self._has_hinted = True
            at = next(begin for begin in OPERATORS if path.startswith(begin))
            _log.warning(
                "%s is not served at this port: the operator's paths are at server.operator_listen,"
                " %s, and the API's begin with /api/v1",
                at,
                self._server.operator_listen,
            )
        return PlainTextResponse("Not found.\n", 404)

    def decide(self, upgrade: websocket.Upgrade) -> websocket.Acceptance | websocket.Refusal:
        """Accept or refuse a WebSocket upgrade."""
        path = upgrade.path.partition("?")[0]
        if path.rstrip("/") != WEBHOOKS and (
            self.others is None or _STREAMS.fullmatch(path) is None
        ):
            return websocket.Refusal(404, "Not found.\n")
        try:
            self._auth.check_upgrade(upgrade)
        except UnbelievedRequestError as refused:
            return websocket.Refusal(refused.status, refused.words)
        return websocket.Acceptance(self._pending_streams.receiver())

    async def _healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _readyz(self, request: Request) -> Response:
        registry = self._registry
        limit, sessions = registry.limit_reached, self._sessions
        state = "draining" if registry.is_draining else "full" if limit else "ready"
        body: dict[str, Any] = {
            "state": state,
            "live": registry.live_count,
            "capacity": self._server.capacity,
            "sessions": sessions.dialled,
            "max_sessions": sessions.limit,
        }
        if state == "full":
            body["reason"] = limit
        if self._journal is not None:
            body["records"] = _records(self._journal)
        failing = self._failing()
        if failing:
            body["failing"] = failing
        if "dead" in failing.values():  # only a restart repairs that
            body["state"] = state = "broken"
        return JSONResponse(body, 200 if state == "ready" else 503)

    def _signed(self, name: WebhookName) -> Handler:
        """Return a handler that has only authenticated forms answered."""

        async def checked(request: Request) -> Response:
            try:
                form = await self._auth.form(request, _FIELDS[name])
            except UnbelievedRequestError as refused:
                return PlainTextResponse(refused.words, refused.status)
            await self._until_known()
            webhook = ForwardedWebhook(name, form, self._auth.origin(request.headers))
            answer = await self._elsewhere(webhook, request.path_params.get("node", ""))
            if answer is not None:
                return Response(answer.body, answer.status, media_type=answer.media_type)
            return await self._reply(webhook)

        return checked

    async def _until_known(self) -> None:
        """Wait, after a pause of a process of a fleet, until it knows which calls it has still."""
        if self._permit is not None:
            await self._permit.until_known()

    async def _elsewhere(self, webhook: ForwardedWebhook, node: str) -> WebhookAnswer | None:
        """Return the answer of another call process; None: it is to be answered here."""
        answer = None
        try:
            # One of the two at most: in a fleet, `others` has this machine's processes, too.
            if self.siblings is not None:
                answer = await self.siblings.answer(webhook)
            if self.others is not None:
                answer = await self.others.answer(webhook, node)
            if answer is None:
                answer = await self._flow.resolve(webhook)
        except Exception:  # noqa: BLE001 - Twilio waits, and this process can answer, too
            sid = {"call_sid": webhook.form["CallSid"]}
            _log.exception("a fault while others were asked about a webhook", extra=sid)
        return answer

    async def answer(self, webhook: ForwardedWebhook) -> WebhookAnswer | None:
        """Answer a webhook that another call process has authenticated, and passed on.

        None: it is about a call that this process does not know.
        """
        await self._until_known()
        if not self.known.has(webhook):
            return None
        response = await self._reply(webhook)
        body = bytes(response.body).decode()
        return WebhookAnswer(response.status_code, body, response.media_type)

    async def _reply(self, webhook: ForwardedWebhook) -> Response:
        form = webhook.form
        try:
            return await self._endpoints[webhook.name](form, webhook.origin)
        except Exception as error:  # noqa: BLE001 - it ends the call that it is about
            # Answer with an apology: else Twilio reads out an error of its own.
            call_sid = form["CallSid"]
            _log.exception("a fault in a webhook", extra={"call_sid": call_sid})
            self._registry.send(call_sid, inputs.CallBroke(type(error).__name__))
            return self._flow.apology(call_sid)

    def _timed(self, path: str, handler: Handler) -> Handler:
        now = self._pending_streams.clock.now

        async def timed(request: Request) -> Response:
            began, status = now(), 500
            try:
                response = await handler(request)
                status = response.status_code
            finally:
                self._metrics.answered(path, status, now() - began)
            return response

        return timed

    def _probes_only(self, handler: Handler) -> Handler:
        """Return a handler for the operator's hosts, and for probes of our own address.

        Kubernetes' probes and a load balancer's checks name the address of the pod or machine.
        """

        async def checked(request: Request) -> Response:
            name = host_name(request.headers)
            if name not in self._server.operator_hosts and not _is_own_address(request, name):
                return PlainTextResponse("Not found.\n", 404)
            return await handler(request)

        return checked


def _is_own_address(request: Request, name: str) -> bool:
    """Return whether `name` is the IP address at which the request's connection arrived."""
    server: tuple[str, int | None] | None = request.scope.get("server")
    if server is None:
        return False
    try:
        arrived, named = ipaddress.ip_address(server[0]), ipaddress.ip_address(name)
    except ValueError:
        return False
    # A socket of both families has the IPv4 address of a connection inside an IPv6 one.
    mapped = arrived.ipv4_mapped if isinstance(arrived, ipaddress.IPv6Address) else None
    return named in (arrived, mapped)
