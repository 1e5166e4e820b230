"""Farewells: TwiML for callers whose call with the agent is over.

Each call has one farewell. It may say something, take a message, or dial the number that takes over
(`fallback.dial` and `busy.dial` of the agent file). Twilio repeats requests, and each repetition
gets the same answer. What follows a farewell never dials.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Literal

from offhook.call.ending import Ending, Slug
from offhook.calls import responses
from offhook.config import Agent
from offhook.events.types import Dialled, DialRefused, Event
from offhook.policy.dial_policy import DialPolicy
from offhook.twilio import twiml
from offhook.twilio.callers import Refused

REMEMBERED_MAX: Final = 5000
"""Calls whose farewell is kept, also while a thousand come in a second: Twilio repeats a request
within seconds (twilio.md §4.1)."""


class Farewells:
    """Farewells of all calls; `note` publishes the numbers that they dial.

    `after_url` is where Twilio asks what comes after a farewell's `<Dial>` or `<Record>`.
    """

    def __init__(self, dial_policy: DialPolicy, note: Callable[[str, Event], None]) -> None:
        self._dial_policy = dial_policy
        self._note = note
        self._given: OrderedDict[str, str] = OrderedDict()
        """TwiML documents by CallSid, oldest first."""

    def given(self, call_sid: str) -> str | None:
        """Return the farewell that a call has got, if any."""
        return self._given.get(call_sid)

    def forget(self, call_sid: str) -> None:
        """Forget the farewell of a call that was refused before and is now taken."""
        self._given.pop(call_sid, None)

    def hang_up(self, call_sid: str) -> str:
        """Return the farewell of a call without last words."""
        return self.given(call_sid) or self._keep(call_sid, twiml.hang_up())

    def after_ending(self, call_sid: str, agent: Agent, ending: Ending, after_url: str) -> str:
        """Return the farewell of a call with that ending."""
        message = agent.outbound.message
        if ending.how is Slug.MESSAGE_LEFT and message is not None:
            return self.given(call_sid) or self._keep(
                call_sid, twiml.hang_up(responses.announced(message))
            )
        if ending.how is Slug.AGENT_BUSY:
            return self.busy(call_sid, agent, after_url)
        if ending.wants_fallback:
            return self.fallback(call_sid, agent, after_url)
        return self.hang_up(call_sid)

    def fallback(self, call_sid: str, agent: Agent, after_url: str) -> str:
        """Return the farewell of a caller whose call failed."""
        given = self.given(call_sid)
        if given is not None:
            return given
        to = agent.fallback.dial
        if to is not None and not self._may_dial(call_sid, "fallback", to):
            return self._keep(call_sid, responses.apology(agent))
        return self._keep(call_sid, responses.fallback(agent, after_url))

    def busy(self, call_sid: str, agent: Agent, after_url: str) -> str:
        """Return the farewell of a caller whom the server has no capacity for."""
        given = self.given(call_sid)
        if given is not None:
            return given
        to = agent.busy.dial
        if to is not None and not self._may_dial(call_sid, "busy", to):
            return self._keep(call_sid, responses.apology(agent))
        return self._keep(call_sid, responses.busy(agent, after_url))

    def refuse(self, call_sid: str, agent: Agent, answer: Refused, say: str) -> str:
        """Return the farewell of a caller whom the inbound policy refuses."""
        given = self.given(call_sid)
        if given is not None:
            return given
        return self._keep(call_sid, responses.refused(agent, answer, say))

    def _may_dial(self, call_sid: str, kind: Literal["fallback", "busy"], to: str) -> bool:
        refused = self._dial_policy.check_last_resort(to)
        if refused is None:
            self._note(call_sid, Dialled(kind, "", to))
        else:
            self._note(call_sid, DialRefused(kind, refused.slug, to))
        return refused is None

    def _keep(self, call_sid: str, document: str) -> str:
        self._given[call_sid] = document
        if len(self._given) > REMEMBERED_MAX:
            self._given.popitem(last=False)
        return document
