"""Composition of the parts that admit, hold and end a server's calls."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from offhook.calls.browser_calls import BrowserCalls
from offhook.calls.call_entry import CallEntry
from offhook.calls.call_limits import CallLimits
from offhook.calls.call_updates import CallUpdates
from offhook.calls.farewells import Farewells
from offhook.calls.fleet_places import FleetPlaces
from offhook.calls.intake import CallIntake
from offhook.calls.interrupted import InterruptedCalls
from offhook.calls.lookup import LookUp
from offhook.calls.messaging import Messaging
from offhook.calls.placed_intake import PlacedIntake
from offhook.calls.places import TakenCall
from offhook.calls.registry import CallRegistry
from offhook.calls.releasing import CallReleasing
from offhook.calls.session_factory import SessionFactory, ToolsFor
from offhook.calls.transfers import Transfers
from offhook.capture.tap import MakeTap
from offhook.clock import Clock
from offhook.config import Config
from offhook.config.current_agents import CurrentAgents
from offhook.deepgram.leg import Dial
from offhook.events.types import Subscriber
from offhook.journal.keeper import EventJournal
from offhook.policy.dial_policy import DialPolicy
from offhook.policy.inbound_policy import InboundPolicy
from offhook.recordings.recorder import Recordings


@dataclass(frozen=True, slots=True)
class CallHandling:
    """The parts of a server that handle calls."""

    registry: CallRegistry
    limits: CallLimits
    intake: CallIntake
    placed: PlacedIntake
    transfers: Transfers
    farewells: Farewells
    agents: CurrentAgents
    inbound: InboundPolicy
    interrupted: InterruptedCalls
    browser: BrowserCalls
    webhook_path: str
    """Path of Twilio's streams at this server, beneath which its webhooks are."""
    releasing: CallReleasing
    fleet: FleetPlaces | None


def compose(
    config: Config,
    *,
    clock: Clock,
    dial: Dial,
    publish: Subscriber,
    tools: ToolsFor,
    look_up: LookUp,
    messaging: Messaging,
    dial_policy: DialPolicy,
    inbound: InboundPolicy,
    updates: CallUpdates,
    make_tap: MakeTap | None = None,
    recordings: Recordings | None = None,
    seen: Iterable[int] = (),
    saw: Callable[[int], None] = lambda mark: None,
    limits: CallLimits | None = None,
    journal: EventJournal | None = None,
    dial_spare: Dial | None = None,
    fleet: FleetPlaces | None = None,
) -> CallHandling:
    """Compose the parts that handle the calls of one server.

    Args:
        config: The server's configuration.
        clock: The server's clock.
        dial: Opens agent legs.
        publish: Called with every event.
        tools: Returns the runner of a call agent's functions.
        look_up: Looks up webhook calls before they are announced.
        messaging: Sends texts, takes messages and stops calls to a number.
        dial_policy: Decides which numbers may be dialled.
        inbound: Decides which calls are answered.
        updates: Ends and redirects calls by REST.
        make_tap: Returns the tap of each call, if any.
        recordings: Record the calls of agents whose files say so.
        seen: Marks of CallSids that earlier runs admitted.
        saw: Called with the mark of every new CallSid.
        limits: Limits on new calls, if `dial` counts its sessions in one.
        journal: Keeps the files of live calls, and has those of processes that died.
        dial_spare: Opens a leg beside another one of its call, if there is room; else `dial` does.
        fleet: Where other nodes have calls, in a fleet.
    """
    limits = limits or CallLimits.of(config, clock.now)
    registry = CallRegistry(limits, clock, publish, seen, saw)
    agents = CurrentAgents(config)
    transfers = Transfers(agents, dial_policy, updates, clock, registry.note)
    farewells = Farewells(dial_policy, registry.note)
    sessions = SessionFactory(
        agents,
        registry,
        transfers,
        messaging,
        updates,
        inbound,
        clock=clock,
        dial=dial,
        dial_spare=dial_spare or dial,
        tools=tools,
        make_tap=make_tap,
        recordings=recordings,
        origin=config.server.public_url or "",
        webhook_path=config.webhook_path,
        session_s=config.deepgram.session_minutes * 60,
        keep=_keep_nothing if journal is None else journal.keep,
        pulse=None if fleet is None else fleet.pulse,
        dials_ahead=fleet is None or fleet.dials_ahead,
        next_token=_random_token if fleet is None else fleet.next_token,
        spare_settled=_count_nothing if fleet is None else fleet.spares.settle,
    )
    placed = PlacedIntake(agents, registry, sessions, farewells, clock, fleet)
    intake = CallIntake(
        config.twilio,
        agents,
        registry,
        sessions,
        farewells,
        inbound,
        placed,
        clock,
        look_up,
        fleet,
    )
    interrupted = InterruptedCalls(
        list if journal is None else journal.take_over,
        _drop_nothing if journal is None else journal.drop,
        agents,
        registry,
        sessions,
        updates,
        clock,
    )
    # Set afterwards: these call InterruptedCalls, which needs the factory.
    intake.go_on = interrupted.go_on
    sessions.ended = interrupted.ended
    browser = BrowserCalls(
        config.twilio.account_sid, agents, registry, sessions, inbound, clock, look_up, fleet
    )
    releasing = CallReleasing(
        registry, updates, _hand_over_nothing if journal is None else journal.hand_over
    )
    releasing.placed = placed.placed_with
    releasing.is_asking = transfers.is_asking
    if fleet is not None:
        _join(fleet, sessions, interrupted, releasing, registry)
    return CallHandling(
        registry,
        limits,
        intake,
        placed,
        transfers,
        farewells,
        agents,
        inbound,
        interrupted,
        browser,
        config.webhook_path,
        releasing,
        fleet,
    )


def _join(
    fleet: FleetPlaces,
    sessions: SessionFactory,
    interrupted: InterruptedCalls,
    releasing: CallReleasing,
    registry: CallRegistry,
) -> None:
    """Have the fleet know of ends and releases, and the calls of what others take and leave."""

    def ended(entry: CallEntry) -> None:
        interrupted.ended(entry)
        fleet.end(entry.call_sid)

    def reaped(taken: TakenCall, is_awaited: bool) -> None:
        # Without a stream of its own here, Twilio must be told where the call is now.
        if interrupted.go_on(taken) and not is_awaited:
            registry.live[taken.call_sid].handoff.rehome()

    def dropped(call_sid: str) -> None:
        fleet.permit.lose(call_sid)
        fleet.end(call_sid)

    sessions.ended = ended
    interrupted.lost = fleet.end
    releasing.epoch_of = fleet.epoch_of
    releasing.give_up = fleet.give_up
    releasing.dropped = dropped
    fleet.listen(
        fenced=releasing.fence,
        reaped=reaped,
        beside=lambda: registry.live_beside,
    )


def _random_token(call_sid: str) -> str:
    """Return a token that means something to this process alone."""
    return secrets.token_urlsafe(24)


def _count_nothing(call_sid: str) -> None:
    """Count no session: no node shares the budget."""


def _keep_nothing(call_sid: str, line: bytes) -> None:
    """Keep nothing: there is no journal."""


def _hand_over_nothing(call_sid: str, process_id: str) -> bool:
    """Return False: there is no journal, and no file."""
    return False


def _drop_nothing(call_sid: str) -> None:
    """Remove nothing: there is no journal."""
