"""Calls from the console's softphone: admitted here, and else calls like every other.

A user of the console asks for the call, and its stream comes over the local link. There is no
telephone call behind it: Twilio is asked nothing about it, and asks nothing
(docs/protocols/console.md). The page announces what Twilio would.
"""

import secrets
from collections.abc import Mapping
from typing import Final

from offhook import variables
from offhook.call import inputs
from offhook.call.ending import Slug
from offhook.calls.agent_session import values_for
from offhook.calls.call_entry import CallEntry, announcement_ms
from offhook.calls.call_limits import CallLimit
from offhook.calls.control import CallControl
from offhook.calls.fleet_places import FleetPlaces
from offhook.calls.lookup import LookUp
from offhook.calls.registry import CallRegistry
from offhook.calls.session_factory import SessionFactory
from offhook.capture.tap import NewCall
from offhook.clock import Clock
from offhook.config import Agent
from offhook.config.current_agents import CurrentAgents
from offhook.errors import UserError
from offhook.net.websocket import Channel
from offhook.policy.inbound_policy import InboundPolicy, InboundRefusal, rate_of
from offhook.twilio.messages import Start
from offhook.yamlfile import did_you_mean

NO_ACCOUNT: Final = "AC" + "0" * 32
"""AccountSid of the calls of a server that has no account."""

FULL_AGAIN_S: Final = 5.0
"""Seconds after which a call that found the server full may be tried again."""

USED_UP_AGAIN_S: Final = 60.0
"""Seconds after which a call may be tried again that a limit of an hour or a day has kept out."""


class NotTakenError(UserError):
    """Error: a limit takes no further call, for `again_s` seconds. `reason` is one of few."""

    def __init__(self, reason: str, problem: UserError, again_s: float) -> None:
        super().__init__(problem.code, problem.what, problem.fix)
        self.reason = reason
        self.again_s = again_s


class BrowserCall:
    """A call from a browser whose stream has not come yet.

    Attributes:
        entry: The call in the registry.
        due_s: Seconds within which its stream must come.
        stream_sid: Identifier that its stream must have.
    """

    def __init__(self, entry: CallEntry, stream_sid: str, due_s: float) -> None:
        self.entry: Final = entry
        self.due_s: Final = due_s
        self.stream_sid: Final = stream_sid

    def admit(self, channel: Channel, start: Start) -> str | None:
        """Make a channel the caller's leg, or return why not."""
        entry, details = self.entry, start.start
        if details.call_sid != entry.call_sid or start.stream_sid != self.stream_sid:
            return "a 'start' of another call"
        if details.account_sid != entry.account_sid:
            return "a foreign account"
        if entry.session is None:
            return "the call is over"
        entry.session.begin(channel, start)
        return None

    def abandon(self, why: str) -> None:
        """End the call, as its stream will not come."""
        self.entry.receive(inputs.NobodyReached(Slug.STREAM_NEVER_CAME, why))


class BrowserCalls:
    """Admission of calls from browsers, with the limits of every incoming call.

    `look_up` finds the data of a call first, as for a caller who withholds their number. In a
    `fleet` a call takes its session from the budget of all nodes, and never leaves its process.
    """

    def __init__(
        self,
        account_sid: str | None,
        agents: CurrentAgents,
        registry: CallRegistry,
        sessions: SessionFactory,
        inbound: InboundPolicy,
        clock: Clock,
        look_up: LookUp,
        fleet: FleetPlaces | None,
    ) -> None:
        self._account_sid: Final = account_sid or NO_ACCOUNT
        self._agents = agents
        self._registry = registry
        self._sessions = sessions
        self._inbound = inbound
        self._clock = clock
        self._look_up = look_up
        self._fleet = fleet

    async def begin(
        self, agent_name: str, user: str, given: Mapping[str, str], due_s: float
    ) -> BrowserCall:
        """Begin a call of a user to an agent; its stream is due `due_s` after the announcement.

        The call counts from now on, so that no number of requests is admitted beyond a limit. What
        the user has `given` has precedence over what the lookup finds.

        Raises UserError E-PHONE-01 for an agent that is not there, E-PHONE-02 for variables that
        cannot be used, and NotTakenError E-PHONE-03 and E-PHONE-04 for a limit.
        """
        agent = self._agent(agent_name)
        values, left_out = variables.taken(given)
        if left_out:
            raise _bad_variables(left_out)
        limit = self._registry.limit_reached
        if limit is not None:
            raise self._not_taken(limit)
        # The form in which Twilio names a caller who calls from a browser. Its limits of a day are
        # those of the user, not of everybody who withholds a number.
        caller = f"client:{user}"
        used_up = self._inbound.used_up(caller)
        if used_up is not None:
            raise NotTakenError(used_up.slug, _used_up(used_up), USED_UP_AGAIN_S)
        call_sid = "CA" + secrets.token_hex(16)
        self._inbound.admit(call_sid, caller, rate_of(agent.tier, "browser"))
        control = self._sessions.control(NewCall(call_sid, agent.name, "browser", from_=user))
        entry = await self._enter(control, agent, values)
        due_s += announcement_ms(entry.agent) / 1000
        entry.expected_until = self._clock.now() + due_s
        if self._registry.is_draining:  # Since the lookup began: no call was told of the stop.
            entry.receive(inputs.ServerStopped())
            raise self._not_taken(CallLimit.CAPACITY)
        entry.dial_ahead()
        return BrowserCall(entry, "MZ" + secrets.token_hex(16), due_s)

    async def _enter(
        self, control: CallControl, agent: Agent, values: Mapping[str, str]
    ) -> CallEntry:
        """Look a call up, which counts as live meanwhile, and add it to the registry.

        Raises NotTakenError where the fleet has no session left.
        """
        call_sid = control.call.call_sid
        known = values_for(agent, call_sid, "", "", values)
        self._registry.begin_lookup(call_sid)
        try:
            if self._fleet is not None:
                facts = self._sessions.facts(control.call, self._account_sid, known, None)
                if await self._fleet.begin(call_sid, facts) is not None:
                    raise self._not_taken(CallLimit.SESSIONS)  # A new CallSid is nobody else's.
            found = await self._look_up(agent, self._sessions.handle(control, agent, known, {}))
            given = {**found.variables, **values}
            entry = self._sessions.make(control, agent, self._account_sid, None, given)
        except BaseException:
            if self._fleet is not None:
                self._fleet.end(call_sid)
            raise
        finally:
            self._registry.end_lookup(call_sid)
        if found.event is not None and entry.session is not None:
            entry.session.note(found.event)
        return entry

    def _not_taken(self, limit: CallLimit) -> NotTakenError:
        problem = _at_limit(limit, is_draining=self._registry.is_draining)
        return NotTakenError(limit, problem, FULL_AGAIN_S)

    def _agent(self, name: str) -> Agent:
        every = self._agents.every()
        agent = every.get(name) if name else self._agents.agent_for(None)
        if agent is None and not name:
            raise UserError(
                "E-PHONE-01",
                "No agent answers calls to a number that is not known.",
                f"Name an agent: {', '.join(sorted(every))}.",
            )
        if agent is None:
            raise UserError("E-PHONE-01", "No agent has that name.", did_you_mean(name, every))
        return agent


def _bad_variables(count: int) -> UserError:
    return UserError(
        "E-PHONE-02",
        f"{count} of the variables cannot be used: a name has other characters than letters, digits"
        f" and _, or there are more than {variables.VARIABLES_MAX}.",
        "Name variables as the agent file does.",
    )


def _at_limit(limit: CallLimit, *, is_draining: bool) -> UserError:
    if is_draining:
        return UserError(
            "E-PHONE-03",
            "This server is being stopped, and takes no further call.",
            "Call again when it has been started.",
        )
    return UserError(
        "E-PHONE-03",
        f"The server takes no further call now: {limit}.",
        "Call again when a call has ended; server.capacity and deepgram.max_sessions set limits.",
    )


def _used_up(refusal: InboundRefusal) -> UserError:
    return UserError(
        "E-PHONE-04",
        f"The limits of inbound are used up: {refusal.words}.",
        "Wait, or raise the limit in offhook.yaml.",
    )
