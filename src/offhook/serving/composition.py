"""Composition of a server: builds its parts in the order of their dependencies."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC

import httpx2

from offhook.calls.call_limits import CallLimits
from offhook.calls.call_updates import CallUpdates
from offhook.calls.compose import CallHandling, compose
from offhook.calls.fleet_places import FleetPlaces, GivenUp
from offhook.calls.lookup import Lookups
from offhook.calls.messaging import Messaging
from offhook.calls.registry import CallRegistry
from offhook.capture.tap import MakeTap
from offhook.clock import Clock, wall_clock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import Config
from offhook.config.prices import cost_of
from offhook.deepgram.connection import Dialler
from offhook.events.bus import Publisher
from offhook.events.types import InterpreterHeld, Subscriber
from offhook.fleet.parts import FleetParts
from offhook.fleet.places import OwnState
from offhook.journal.keeper import EventJournal
from offhook.link.agent_directory import AgentDirectory
from offhook.link.neighbours import Neighbours
from offhook.observability.metrics import catalogue
from offhook.observability.metrics.meter import Metrics
from offhook.outbound.ledger import CallLedger
from offhook.outbound.outbound_calls import OutboundCalls
from offhook.policy.dial_count import DialCount
from offhook.policy.dial_policy import DialPolicy
from offhook.policy.inbound_policy import BROWSER_RATE, InboundPolicy
from offhook.recordings.recorder import Recordings
from offhook.redaction.thread import RedactionThread
from offhook.serving.reloading import AgentReloader
from offhook.tools.file_watch import FileWatch
from offhook.tools.processes import ToolProcesses
from offhook.tools.runner import Runner
from offhook.tools.trials import FunctionTrials
from offhook.tools.watchdog import Held, Watchdog
from offhook.twilio.rest import TwilioRest
from offhook.webhooks.elsewhere import OtherNodes
from offhook.webhooks.pending_streams import PendingStreams
from offhook.webhooks.routes import Webhooks


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNeeds:
    """Objects that the owner of a server passes to it; they exist before its event loop.

    Attributes:
        config: The configuration.
        metrics: Metrics of the server.
        subscribers: Receive every event, redacted.
        watchers: Receive every event as it was.
        make_tap: Returns the tap of each call, if any.
        recordings: Records calls, or None when no agent's calls are recorded.
        journal: The journal of this process, a subscriber. Its owner runs it.
        ledger: Placed calls, do-not-call numbers and known CallSids. Its owner runs it.
        dial_count: Counts the dialling of the last hour. Its owner runs it.
    """

    config: Config
    metrics: Metrics
    subscribers: Sequence[Subscriber]
    watchers: Sequence[Subscriber]
    make_tap: MakeTap | None
    recordings: Recordings | None
    journal: EventJournal | None
    ledger: CallLedger | None
    dial_count: DialCount | None


@dataclass(frozen=True, slots=True)
class ServerParts:
    """The parts of a running server."""

    calls: CallHandling
    webhooks: Webhooks
    pending_streams: PendingStreams
    placing: OutboundCalls | None
    policy: DialPolicy
    watchdog: Watchdog
    processes: ToolProcesses
    redaction: RedactionThread | None
    reloader: AgentReloader
    directory: AgentDirectory
    file_watch: FileWatch


def compose_server(
    needs: ServerNeeds,
    http: httpx2.AsyncClient,
    clock: Clock,
    tasks: ServerTasks,
    *,
    failing: Callable[[], dict[str, str]],
    faults: Callable[[], int],
    fleet: FleetParts | None,
    neighbours: Neighbours | None,
) -> ServerParts:
    """Compose the parts of a server.

    Args:
        needs: Objects that the owner of the server passes.
        http: The client for requests to other hosts.
        clock: The clock of the event loop.
        tasks: Owner of the server's tasks.
        failing: Returns the parts that do not work, each with its state.
        faults: Returns the number of faults of tasks and threads.
        fleet: The directory of a fleet's calls, and what belongs to it; None without a fleet.
        neighbours: Other call processes; None without a journal.
    """
    config, metrics, ledger = needs.config, needs.metrics, needs.ledger
    key = config.require_deepgram_key().get_secret_value()
    deepgram = config.deepgram
    limits = CallLimits.of(config, clock.now)
    places = _fleet_places(config, fleet, neighbours, needs.journal, clock, tasks)
    dial = Dialler(
        deepgram.urls,
        deepgram.headers(key),
        deepgram.connect_timeout_s,
        limits.sessions,
        tasks,
        has_room=None if places is None else places.spares.take,
    )

    inbound = inbound_policy(config, clock, ledger)

    subscribed = Publisher([*needs.subscribers], clock.now)
    redaction, wanted = None, config.records.redact
    if wanted.takes_any:
        redaction = RedactionThread(wanted, subscribed, clock.now, asyncio.get_running_loop())
        if places is not None:
            places.settle = redaction.settle
    redacted = subscribed if redaction is None else redaction
    publish = Publisher([redacted, inbound, *needs.watchers], clock.now)

    count = needs.dial_count
    earlier = count.earlier(clock.now()) if count is not None else ()
    policy = DialPolicy(config.dialling_rules(), earlier=earlier, keep=count)
    account = config.twilio.rest_account
    permit = None if places is None else places.permit.may_act
    rest = TwilioRest(account, http, permit=permit) if account is not None else None

    runner = Runner(tasks)
    lookups = Lookups(http, config.lookup_secrets, clock)
    calls = compose(
        config,
        clock=clock,
        dial=dial,
        dial_spare=dial.spare,
        publish=publish,
        tools=runner.for_call,
        look_up=lookups.find,
        messaging=Messaging(
            policy,
            rest,
            clock,
            recorded=needs.journal is not None,
            bar=ledger.bar if ledger is not None else None,
        ),
        dial_policy=policy,
        inbound=inbound,
        updates=CallUpdates(rest, tasks),
        make_tap=needs.make_tap,
        recordings=needs.recordings,
        seen=ledger.recent if ledger is not None else (),
        saw=ledger.saw if ledger is not None else lambda mark: None,
        limits=limits,
        journal=needs.journal,
        fleet=places,
    )
    pending_streams = PendingStreams(
        clock,
        calls.intake.admit,
        metrics.refused_stream,
        calls.intake.prepare,
        lambda sid, work: tasks.start("admit a stream", work, call_sid=sid),
    )
    placing = None
    if ledger is not None and rest is not None:
        placing = OutboundCalls(
            config,
            calls.agents,
            calls.registry,
            calls.placed,
            rest,
            ledger,
            dial_policy=policy,
            clock=clock,
            wall=lambda: wall_clock(UTC),
        )
        calls.interrupted.placed = calls.placed.follow = placing.following.follow
        calls.releasing.left = placing.following.forget
    webhooks = Webhooks(
        config, calls, pending_streams, metrics, needs.journal, placing, failing=failing
    )
    if fleet is not None and neighbours is not None:
        fleet.heartbeat.state = _own_state(calls.registry, config.server.capacity)
        _measure_fleet(needs.metrics, fleet)
        webhooks.others = _other_nodes(calls, webhooks, fleet, neighbours)

    reloader = AgentReloader(
        config, calls.agents, policy, inbound, is_recording=needs.recordings is not None
    )

    def on_late(seconds: float) -> None:
        metrics.late(seconds)
        limits.lag.on_beat(seconds)

    def on_held(held: Held) -> None:
        metrics.held(held.tool, held.held_ms / 1000)
        entry = calls.registry.live.get(held.call_sid)
        if entry is not None and entry.session is not None:
            entry.session.note(InterpreterHeld(held.tool, held.where, held.held_ms))

    watchdog = Watchdog(
        clock,
        runs=lambda: runner.runs,
        threads=lambda: (
            *runner.threads.lately,
            *lookups.threads.lately,
            *reloader.threads.lately,
        ),
        late=on_late,
        held=on_held,
    )

    publishers: list[Publisher | RedactionThread] = [subscribed, publish]
    if redaction is not None:
        publishers.append(redaction)
    _measure(needs, calls, pending_streams, runner, publishers, failing=failing, faults=faults)
    directory = AgentDirectory(calls.agents, FunctionTrials(runner, clock), reloader.threads)
    return ServerParts(
        calls,
        webhooks,
        pending_streams,
        placing,
        policy,
        watchdog,
        runner.processes,
        redaction,
        reloader,
        directory,
        FileWatch(calls.agents.python_files, reloader.threads),
    )


def _measure_fleet(metrics: Metrics, fleet: FleetParts) -> None:
    """Have the metrics read what is known of the fleet whenever metrics are requested."""
    directory, lines, ask = fleet.directory, fleet.lines, metrics.ask
    ask(catalogue.FLEET_AWAY, lambda: directory.is_away)
    ask(catalogue.FLEET_PROCESSES, lambda: directory.alive)
    ask(catalogue.FLEET_NODES, lambda: directory.budget.nodes_alive)
    ask(catalogue.FLEET_SESSIONS, lambda: directory.budget.taken)
    ask(catalogue.FLEET_SESSIONS_LIMIT, lambda: directory.budget.most or 0)
    ask(catalogue.FLEET_LINES_WAITING, lambda: lines.waiting_bytes)
    ask(catalogue.FLEET_LINES_LOST, lambda: lines.lost)


def _own_state(registry: CallRegistry, capacity: int) -> Callable[[], OwnState]:
    """Return what tells the other nodes the state of this process."""
    return lambda: OwnState(registry.is_draining, registry.live_count, capacity)


def _fleet_places(
    config: Config,
    fleet: FleetParts | None,
    neighbours: Neighbours | None,
    journal: EventJournal | None,
    clock: Clock,
    tasks: ServerTasks,
) -> FleetPlaces | None:
    if fleet is None or neighbours is None or journal is None:
        return None

    async def take(process_id: str, call_sid: str, token: str) -> GivenUp | None:
        answer = await neighbours.release(process_id, call_sid, to=journal.process_id, token=token)
        # A slow process may have given the call up although its answer came too late.
        file = journal.adopt(call_sid)
        return None if file is None else GivenUp(file, answer == "released")

    return FleetPlaces(
        fleet,
        neighbours.forward,
        neighbours.fence,
        take,
        journal.keep,
        journal.inherit,
        tasks,
        clock.now,
        config.webhook_path,
    )


def _other_nodes(
    calls: CallHandling, webhooks: Webhooks, fleet: FleetParts, neighbours: Neighbours
) -> OtherNodes:
    directory = fleet.directory
    return OtherNodes(
        directory.node,
        calls,
        webhooks.known,
        processes=lambda: directory.processes.values(),
        find=directory.find,
        forward=neighbours.forward,
    )


def inbound_policy(config: Config, clock: Clock, ledger: CallLedger | None) -> InboundPolicy:
    """Return the policy of incoming calls, with what the ledger knows of the last day."""
    prices = config.records.prices

    def cost(ms: int, rate: str) -> int:
        tier = rate.removeprefix(BROWSER_RATE)
        twilio_ms = ms if tier == rate else 0
        cost = cost_of(prices, twilio_ms=twilio_ms, stream_ms=twilio_ms, agent_ms=ms, tier=tier)
        return sum(cost or ())

    rules = config.inbound.rules
    if ledger is None:
        return InboundPolicy(rules, clock, cost)
    earlier = ledger.calls_of_the_day(clock.now())
    return InboundPolicy(rules, clock, cost, earlier=earlier, keep=ledger.used)


def _measure(
    needs: ServerNeeds,
    calls: CallHandling,
    pending_streams: PendingStreams,
    runner: Runner,
    publishers: Sequence[Publisher | RedactionThread],
    *,
    failing: Callable[[], dict[str, str]],
    faults: Callable[[], int],
) -> None:
    """Have the metrics read the counts of the parts whenever metrics are requested."""
    config, journal, sessions = needs.config, needs.journal, calls.limits.sessions
    registry, ask = calls.registry, needs.metrics.ask
    ask(catalogue.CALLS_LIVE, lambda: registry.live_count)
    ask(catalogue.CALLS_CAPACITY, lambda: 0 if registry.is_draining else config.server.capacity)
    ask(catalogue.SESSIONS, lambda: sessions.dialled)
    ask(catalogue.SESSIONS_LIMIT, lambda: sessions.limit or 0)
    ask(catalogue.SESSIONS_REFUSED, lambda: sessions.refusals)
    ask(catalogue.LATE, lambda: calls.limits.lag.is_late)
    ask(catalogue.DRAINING, lambda: registry.is_draining)
    ask(catalogue.SUBSCRIBER_FAILURES, lambda: sum(each.failures for each in publishers))
    ask(catalogue.INTERNAL_FAULTS, faults)
    ask(catalogue.PARTS_FAILING, lambda: len(failing()))
    ask(catalogue.TASKS, lambda: len(asyncio.all_tasks()))
    ask(catalogue.PENDING_STREAMS, lambda: len(pending_streams.waiting))
    ask(catalogue.TOOL_THREADS, lambda: len(runner.threads.running))
    ask(catalogue.TOOL_THREADS_STUCK, lambda: runner.threads.stuck)
    ask(catalogue.TOOL_PROCESSES, lambda: runner.processes.count)
    ask(catalogue.TOOL_PROCESSES_DIED, lambda: runner.processes.died)
    if journal is not None:
        ask(catalogue.RECORD_WAITING, lambda: journal.waiting)
        ask(catalogue.RECORD_LAG, lambda: journal.lag_ms / 1000)
        ask(catalogue.RECORD_JOURNAL, lambda: journal.filled)
        ask(catalogue.RECORD_LOST, lambda: journal.lost)
