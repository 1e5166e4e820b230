"""Calls from the console's softphone: admitted here, and else calls like every other.

A user of the console asks for the call, and its stream comes over the local link. There is no
telephone call behind it: Twilio is asked nothing about it, and asks nothing
(docs/protocols/console.md).
"""

import secrets
from collections.abc import Mapping
from typing import Final

from offhook import variables
from offhook.call import inputs
from offhook.call.ending import Slug
from offhook.calls.call_entry import CallEntry
from offhook.calls.call_limits import CallLimit
from offhook.calls.registry import CallRegistry
from offhook.calls.session_factory import SessionFactory
from offhook.capture.tap import NewCall
from offhook.clock import Clock
from offhook.config import Agent
from offhook.config.current_agents import CurrentAgents
from offhook.errors import UserError
from offhook.net.websocket import Channel
from offhook.policy.inbound_policy import InboundPolicy, InboundRefusal
from offhook.twilio.messages import Start
from offhook.yamlfile import did_you_mean

NO_ACCOUNT: Final = "AC" + "0" * 32
"""AccountSid of the calls of a server that has no account."""


class NotTakenError(UserError):
    """Error: a limit takes no further call. `reason` is one of few."""

    def __init__(self, reason: str, problem: UserError) -> None:
        super().__init__(problem.code, problem.what, problem.fix)
        self.reason = reason


class BrowserCall:
    """A call from a browser whose stream has not come yet.

    Attributes:
        entry: The call in the registry.
        stream_sid: Identifier that its stream must have.
    """

    def __init__(self, entry: CallEntry, stream_sid: str) -> None:
        self.entry: Final = entry
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
    """Admission of calls from browsers, with the limits of every incoming call."""

    def __init__(
        self,
        account_sid: str | None,
        agents: CurrentAgents,
        registry: CallRegistry,
        sessions: SessionFactory,
        inbound: InboundPolicy,
        clock: Clock,
    ) -> None:
        self._account_sid: Final = account_sid or NO_ACCOUNT
        self._agents = agents
        self._registry = registry
        self._sessions = sessions
        self._inbound = inbound
        self._clock = clock

    def begin(
        self, agent_name: str, user: str, given: Mapping[str, str], due_s: float
    ) -> BrowserCall:
        """Begin a call of a user to an agent; its stream is due within `due_s` seconds.

        The call counts from now on, so that no number of requests is admitted beyond a limit.

        Raises UserError E-PHONE-01 for an agent that is not there, E-PHONE-02 for variables that
        cannot be used, and NotTakenError E-PHONE-03 and E-PHONE-04 for a limit.
        """
        agent = self._agent(agent_name)
        values, left_out = variables.taken(given)
        if left_out:
            raise _bad_variables(left_out)
        limit = self._registry.limit_reached
        if limit is not None:
            raise NotTakenError(limit, _at_limit(limit, is_draining=self._registry.is_draining))
        # The form in which Twilio names a caller who calls from a browser. Its limits of a day are
        # those of the user, not of everybody who withholds a number.
        caller = f"client:{user}"
        used_up = self._inbound.used_up(caller)
        if used_up is not None:
            raise NotTakenError(used_up.slug, _used_up(used_up))
        call_sid = "CA" + secrets.token_hex(16)
        self._inbound.admit(call_sid, caller, agent.tier)
        control = self._sessions.control(NewCall(call_sid, agent.name, "browser", from_=user))
        entry = self._sessions.make(control, agent, self._account_sid, None, values)
        entry.expected_until = self._clock.now() + due_s
        entry.receive(inputs.CallAnnounced(0))  # The agent is dialled ahead of the stream.
        return BrowserCall(entry, "MZ" + secrets.token_hex(16))

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
