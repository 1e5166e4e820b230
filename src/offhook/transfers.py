"""Transfers: whom a caller is put through to, cold or warm, and what the agent is told of it.

A destination is a name in the agent file: a number that a model makes up is never dialled. Cold,
the caller leaves the stream for a `<Dial>` (call/errands.py). Warm, the person is called first, by
REST, hears what it is about and accepts with a key; the caller stays with the agent meanwhile, and
meets the person in a conference then. Source: twilio.md §2.6 and §5.4.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from offhook.call.errands import Dial, Meet
from offhook.call.plan import Plan
from offhook.call.wishes import Leave, SwitchAgent, Tell, Wish
from offhook.clock import Clock
from offhook.config import Agent, TransferDestination
from offhook.events import DialRefused, Event, TransferFailed
from offhook.guard import Guard
from offhook.line import Lines
from offhook.tools.declare import ToolError
from offhook.twilio import twiml
from offhook.twilio.refusals import TwilioRefused, TwilioUnreachable

_log: Final = logging.getLogger("offhook.transfers")

ACCEPT: Final = "1"
"""The key with which a person accepts."""

ASK_AGAIN_S: Final = 1.0
TRIES: Final = 5
"""A caller who speaks just when the person has accepted is asked for again, that often."""

_WHY: Final = frozenset({"busy", "no-answer", "failed", "canceled"})
"""Final statuses of a leg that nobody has answered; after any other the person has declined."""

_WORDS: Final = {
    "busy": "the line is busy",
    "no-answer": "nobody answered",
    "failed": "the number could not be reached",
    "canceled": "it was called off",
    "declined": "they did not take the call",
}

Ask: TypeAlias = Callable[[Wish], Awaitable[tuple[bool, str]]]


@dataclass(frozen=True, slots=True)
class Party:
    """The call whose caller is to be put through.

    `origin` is our https address as Twilio reaches it, empty when it is not known; `after`: Twilio
    asks us what comes after the stream by itself. `line` is the number that was called.
    """

    call_sid: str
    agent: Agent
    line: str
    origin: str
    after: bool
    ask: Ask
    note: Callable[[Event], None]


@dataclass(slots=True)
class _Warm:
    """A person who is called for a caller."""

    party: Party
    name: str
    leg: str
    settled: bool = False
    """They have accepted, declined, or were given up."""


class Transfers:
    """Those of all calls; `plan_of` tells the limits of an agent."""

    def __init__(
        self, guard: Guard, lines: Lines, clock: Clock, plan_of: Callable[[Agent], Plan]
    ) -> None:
        self._guard = guard
        self._lines = lines
        self._clock = clock
        self._plan_of = plan_of
        self._calling: set[str] = set()
        """Calls for which Twilio is just being asked to ring somebody."""
        self._warm: dict[str, _Warm] = {}
        """By the CallSid of the person's leg, until that is over."""

    async def begin(
        self,
        party: Party,
        name: str,
        summary: str,
        agent_at: Callable[[TransferDestination], Agent],
    ) -> str:
        """Put the caller through to a destination of the agent file.

        Returns what happened, in words for the agent; raises ToolError when nothing did.
        """
        transfer = party.agent.transfer
        destination = transfer.destinations.get(name) if transfer is not None else None
        if destination is None:
            raise ToolError(f"there is no destination {name!r}")
        phrase = party.agent.phrases.transferring
        if destination.to is None:
            agent = agent_at(destination)
            return await _done(party, SwitchAgent(agent.name, self._plan_of(agent), phrase))
        self._check(party, destination)
        refused = await self._guard.begin_transfer(
            party.call_sid, destination.to, self._clock.now()
        )
        if refused is not None:
            party.note(DialRefused("transfer", refused.why.slug, destination.to))
            raise ToolError(f"the caller was not put through: {refused.words}")
        try:
            if destination.warm:
                return await self._call_person(party, name, destination, summary)
            errand = Dial(name, destination.to, destination.timeout_seconds, destination.caller_id)
            return await _done(party, Leave(errand, phrase))
        except ToolError:
            self._guard.end_transfer(party.call_sid)
            raise

    def over(self, call_sid: str) -> None:
        """A transfer came to something or nothing: the caller is back."""
        self._guard.end_transfer(call_sid)
        self._give_up(call_sid)

    def call_over(self, call_sid: str) -> None:
        """The caller's call is over."""
        self._guard.forget(call_sid)
        self._give_up(call_sid)

    def _give_up(self, call_sid: str) -> None:
        self._calling.discard(call_sid)
        for warm in list(self._warm.values()):
            if warm.party.call_sid == call_sid and not warm.settled:
                self._drop(warm)

    # --- the person's leg, as Twilio tells of it ----------------------------------------------

    def knows(self, leg: str) -> bool:
        """Whether that is the leg of a person who was called for a caller."""
        return leg in self._warm

    def answer(self, leg: str, digits: str | None) -> str:
        """TwiML for the person: the key that was pressed, if any, comes to something."""
        warm = self._warm[leg]
        if warm.settled or digits != ACCEPT:
            self._fail(warm, "declined")
            return twiml.hang_up()
        warm.settled = True
        _ = self._lines.start(warm.party.call_sid, self._bring_caller(warm))
        return twiml.wait_in(_conference(warm.party.call_sid), warm.party.origin + "/twilio/after")

    def status(self, leg: str, status: str) -> None:
        """The person's leg is over, for that reason."""
        self._fail(self._warm.pop(leg), status if status in _WHY else "declined")

    # --- inside ----------------------------------------------------------------------------------

    def _check(self, party: Party, destination: TransferDestination) -> None:
        if destination.warm and (self._lines.rest is None or not party.origin):
            raise ToolError("nobody can be called from here")
        if not party.after and (self._lines.rest is None or not party.origin):
            raise ToolError("the caller cannot be put through on this line")

    async def _call_person(
        self, party: Party, name: str, destination: TransferDestination, summary: str
    ) -> str:
        # A function that is called off while Twilio is asked must not leave a leg behind of which
        # nobody knows: the request has a task of its own.
        self._calling.add(party.call_sid)
        request = self._ring(party, name, destination, summary)
        refused = await asyncio.shield(self._lines.start(party.call_sid, request))
        if refused is None:
            raise ToolError("nobody was called: a fault in Offhook")
        if refused:
            raise ToolError(f"nobody was called: {refused}")
        return (
            f"It rings at {name}. Stay with the caller, who is put through as soon as they accept;"
            " if they do not, you are told."
        )

    async def _ring(
        self, party: Party, name: str, destination: TransferDestination, summary: str
    ) -> str:
        """Have the person called. Returns why not, if so."""
        rest, to = self._lines.rest, destination.to
        if rest is None or to is None:
            return "there are no credentials for it"
        try:
            leg = await rest.create_call(
                to=to,
                from_=destination.caller_id or party.line,
                twiml=twiml.whisper(summary, ACCEPT, party.origin + "/twilio/after"),
                status_callback=party.origin + "/twilio/status",
                timeout_s=destination.timeout_seconds,
            )
        except TwilioRefused as refused:
            _log.warning("nobody was called: %s", refused)
            return refused.words
        except TwilioUnreachable as unreachable:
            _log.warning("nobody was called: %s", unreachable)
            return "the telephone company gave no answer"
        warm = self._warm[leg.sid] = _Warm(party, name, leg.sid)
        if party.call_sid not in self._calling:
            self._drop(warm)  # The caller has hung up meanwhile.
        self._calling.discard(party.call_sid)
        return ""

    async def _bring_caller(self, warm: _Warm) -> None:
        """The person waits: have the caller leave the stream and meet them."""
        meet = Leave(Meet(warm.name, _conference(warm.party.call_sid)))
        for _ in range(TRIES):
            done, _ = await warm.party.ask(meet)
            if done:
                return
            await asyncio.sleep(ASK_AGAIN_S)
        self._guard.end_transfer(warm.party.call_sid)
        self._drop(warm)

    def _fail(self, warm: _Warm, why: str) -> None:
        if warm.settled:
            return
        warm.settled = True
        party = warm.party
        self._guard.end_transfer(party.call_sid)
        outcome = "canceled" if why == "declined" else why
        party.note(TransferFailed(warm.name, outcome))  # type: ignore[arg-type]
        words = (
            f"(The transfer to {warm.name} did not work: {_WORDS[why]}."
            " Tell the caller, and go on helping.)"
        )
        _ = self._lines.start(party.call_sid, self._tell(party, words))

    async def _tell(self, party: Party, words: str) -> None:
        await party.ask(Tell(words))

    def _drop(self, warm: _Warm) -> None:
        self._warm.pop(warm.leg, None)
        self._lines.hang_up(warm.leg, _nothing)


async def _done(party: Party, wish: Wish) -> str:
    done, what = await party.ask(wish)
    if not done:
        raise ToolError(f"the caller was not put through: {what}")
    return what


def _conference(call_sid: str) -> str:
    """A name of this call's own: conferences are the whole account's (twilio.md §2.6)."""
    return f"offhook-{call_sid}"


def _nothing() -> None:
    """What Twilio does not end by itself ends with the conference, or when it has rung enough."""
