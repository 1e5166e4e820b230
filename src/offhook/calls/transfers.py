"""Transfers of callers, cold or warm, and their outcomes for the agent.

A destination is a name in the agent file: a number that a model makes up is never dialled. In a
cold transfer the caller leaves the stream for a `<Dial>` (call/handoff_actions.py). In a warm
transfer the person is called first, by REST, hears what the call is about and accepts with a key;
the caller stays with the agent meanwhile, then meets the person in a conference. Source: twilio.md
§2.6 and §5.4.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique
from functools import partial
from typing import Final, Literal, NamedTuple

from offhook.call.handoff_actions import Dial, JoinConference
from offhook.call.phrases import fill, transfer_failed
from offhook.call.requests import CallRequest, Leave, SwitchAgent, Tell
from offhook.calls.agent_session import call_settings
from offhook.calls.call_entry import CalledPerson, CallEntry
from offhook.calls.call_updates import CallUpdates
from offhook.calls.refusal_words import refusal_words
from offhook.calls.responses import spoken
from offhook.clock import Clock, Timer
from offhook.config import Agent, TransferDestination
from offhook.config.current_agents import CurrentAgents
from offhook.events.types import (
    Dialled,
    DialRefused,
    Event,
    HandoffOutcome,
    TransferFailed,
)
from offhook.policy.dial_policy import DialPolicy
from offhook.tools.declare import ToolError
from offhook.tools.requests import StartTransfer
from offhook.twilio import twiml
from offhook.twilio.call_status import FINAL, UNANSWERED
from offhook.twilio.errors import TwilioRefusedError, TwilioUnreachableError

_log: Final = logging.getLogger("offhook.transfers")

ACCEPT: Final = "1"
"""Key with which a person accepts a call."""

ASK_AGAIN_S: Final = 1.0
TRIES: Final = 15
"""Attempts to move a caller, once the person has accepted.

An attempt fails while the caller speaks or keys are pressed for the agent.
"""

TELL_TRIES: Final = 60
"""Attempts to tell the agent of an outcome, while it is absent because keys are pressed."""

ANSWER_SLACK_S: Final = 30.0
CHARACTER_S: Final = 0.07
"""Seconds that the whisper takes for each character of its document.

A person who has answered may listen that long, and then press the key within ANSWER_SLACK_S. If the
outcome of the leg is unknown by then, no report from Twilio has come.
"""

JOIN_S: Final = 3.0
"""Seconds that a caller who was sent to a conference may take to join it."""

ALONE_S: Final = 5.0
"""Seconds after the end of a person's leg, before a caller who still waits is brought back.

If the two have met, the conference ends for the caller within that time, too.
"""

LOOK_S: Final = (15.0, 15.0, 30.0, 60.0, 300.0)
"""Seconds after sending a caller to a person at which Twilio is asked if the person is there.

Those after the first are until it is asked again, as it has not answered; the last repeats, until
the conference is over. Twilio ends that after four hours (twilio.md §2.6).
"""


@unique
class _At(Enum):
    """Progress of a warm transfer."""

    RINGING = "ringing"
    """The person is being called, or hears what the call is about."""
    ACCEPTED = "accepted"
    """The person waits in the conference; the caller is about to leave the stream."""
    MEETING = "meeting"
    """Twilio was told to put the caller into the conference."""
    OVER = "over"
    """The transfer failed, or the person's leg is over."""


class _Rung(NamedTuple):
    """Outcome of having a person called: why nobody was, in the agent's words, or None."""

    refusal: str | None = None


@dataclass(slots=True, eq=False)
class _WarmTransfer:
    """A person who is called for a caller; Twilio's requests about the leg carry the `id`."""

    entry: CallEntry
    name: str
    id: str
    by: Literal["agent", "operator"]
    leg: str = ""
    """CallSid of the person's leg, once Twilio has reported it."""
    at: _At = _At.RINGING
    sent_at: float = 0.0
    """Time in seconds at which the caller was sent to the conference."""
    left_at: float | None = None
    """Time in seconds at which the person's leg ended, as far as reported."""
    timer: Timer | None = None

    @property
    def conference(self) -> str:
        """Conference name unique to this transfer; the account shares them (twilio.md §2.6)."""
        return f"offhook-{self.entry.call_sid}-{self.id}"


class Transfers:
    """Transfers of all calls. `agents` are those to which a caller can be switched."""

    def __init__(
        self,
        agents: CurrentAgents,
        dial_policy: DialPolicy,
        updates: CallUpdates,
        clock: Clock,
        note: Callable[[str, Event], None],
    ) -> None:
        self._agents = agents
        self._dial_policy = dial_policy
        self._updates = updates
        self._clock = clock
        self._note = note
        self._warm: dict[str, _WarmTransfer] = {}
        """Warm transfers under way, by id."""
        self._of_call: dict[str, _WarmTransfer] = {}
        """Warm transfers under way, by CallSid of the call: one for each call."""

    async def begin(self, entry: CallEntry, asked: StartTransfer) -> str:
        """Transfer the caller to a destination of the agent file.

        Return what happened, in words for the agent; raise ToolError when the transfer
        failed. Cancellation withdraws the transfer, unless the caller has left the stream
        for it already.
        """
        name, transfer = asked.destination, entry.agent.transfer
        destination = transfer.destinations.get(name) if transfer is not None else None
        if destination is None:
            raise ToolError(fill(entry.agent.phrases.no_destination, destination=repr(name)))
        phrase = entry.agent.phrases.transferring
        if destination.to is None:
            if destination.agent is None:
                raise ValueError("a destination that is neither number nor agent")
            agent = self._agents.of_file(destination.agent).filled(entry.values)
            return await _done(entry, SwitchAgent(agent.name, call_settings(agent), phrase))
        self._check(entry, destination)
        refused = await self._dial_policy.begin_transfer(
            entry.call_sid, destination.to, self._clock.now()
        )
        if refused is not None:
            self._note(entry.call_sid, DialRefused("transfer", refused.slug, destination.to))
            reason = refusal_words(entry.agent.phrases, refused)
            raise ToolError(fill(entry.agent.phrases.not_transferred, reason=reason))
        cold = Dial(name, destination.to, destination.timeout_seconds, destination.caller_id)
        goes_on = False
        try:
            if destination.warm:
                happened = await self._call_person(entry, asked, destination)
            else:
                happened = await _done(entry, Leave(cold, phrase, asked.by))
            goes_on = True
            return happened
        finally:
            if not goes_on and entry.handoff.action is not cold:
                self._dial_policy.end_transfer(entry.call_sid)

    def over(self, call_sid: str) -> None:
        """End a transfer, whatever its outcome, as the caller is back."""
        self._dial_policy.end_transfer(call_sid)
        warm = self._of_call.get(call_sid)
        if warm is not None:
            self._drop(warm)

    def call_over(self, call_sid: str, *, caller_is_gone: bool) -> None:
        """End the transfer of a call that is over.

        If both people are there, their conversation goes on. If the caller is gone, a
        person who is being rung or who waits is hung up on.
        """
        self._dial_policy.forget(call_sid)
        warm = self._of_call.get(call_sid)
        if warm is None:
            return
        if warm.at is _At.MEETING and not caller_is_gone:
            self._forget(warm)
        else:
            self._drop(warm)

    def resume(self, entry: CallEntry, person: CalledPerson) -> None:
        """Go on with the warm transfer of a call whose process died.

        A caller who has left the stream to meet the person meets them, or is brought back if they
        are gone. A person for whom no caller has left is hung up on.
        """
        action = entry.handoff.action
        if not isinstance(action, JoinConference) or entry.handoff.is_returning:
            self._updates.hang_up(person.leg, _nothing)
            return
        warm = _WarmTransfer(entry, action.name, person.id, "agent", person.leg, _At.ACCEPTED)
        self._warm[warm.id] = self._of_call[entry.call_sid] = warm
        entry.person = person
        if entry.handoff.has_begun:
            # Since when they are together died with the process.
            warm.at, warm.sent_at = _At.MEETING, self._clock.now() - JOIN_S
        self._look(warm)  # What Twilio reported meanwhile found nobody.

    def let_go(self, call_sid: str) -> None:
        """Forget the transfer of a call that goes on in another process.

        Unless the caller has left for the person, who is then that one's, hang up on the person.
        """
        self._dial_policy.forget(call_sid)
        warm = self._of_call.get(call_sid)
        if warm is not None and isinstance(warm.entry.handoff.action, JoinConference):
            self._forget(warm)
        elif warm is not None:
            self._drop(warm)

    # --- the caller, who is to meet somebody -----------------------------------------------------

    def meet(self, call_sid: str) -> bool:
        """Return whether there is a conference for a caller who has left the stream for one."""
        warm = self._of_call.get(call_sid)
        if warm is None or warm.at is not _At.ACCEPTED:
            return False
        warm.at = _At.MEETING
        warm.sent_at = self._clock.now()
        self._arm(warm, LOOK_S[0], lambda: self._look(warm))
        return True

    def is_asking(self, call_sid: str) -> bool:
        """Return whether a person rings or is being asked for a caller, or waits for them."""
        warm = self._of_call.get(call_sid)
        return warm is not None and warm.at in (_At.RINGING, _At.ACCEPTED)

    def have_met(self, call_sid: str) -> bool:
        """Return whether a caller has been in a conference long enough to meet the person there."""
        warm = self._of_call.get(call_sid)
        return warm is None or warm.left_at is None or warm.left_at >= warm.sent_at + JOIN_S

    # --- the person's leg, as Twilio tells of it ----------------------------------------------

    def answer(self, person: str, leg: str, digits: str | None) -> str:
        """Return TwiML for the person of that id, who has pressed a key.

        `digits` is None when the person was in the conference already. A repeated request
        gets the same answer. A person of an unknown id, whose process has ended, is hung up
        on, and no number is dialled. Whoever takes a call that is not to be had any more is told.
        """
        warm = self._warm.get(person)
        if warm is None:
            is_taken = digits == ACCEPT
            return _too_late(self._agents.agent_for(None)) if is_taken else twiml.hang_up()
        self._know(warm, leg)
        after = _url(warm, "after")
        if digits == ACCEPT and warm.at is not _At.OVER:
            if warm.at is _At.RINGING:
                warm.at = _At.ACCEPTED
                self._disarm(warm)
                _ = self._updates.start(warm.entry.call_sid, self._bring_caller(warm))
            return twiml.wait_in(warm.conference, after)
        if warm.at is _At.RINGING:
            self._fail(warm, "declined")
        return twiml.hang_up() if digits != ACCEPT else _too_late(warm.entry.agent)

    def knows(self, person: str) -> bool:
        """Return whether a person of that id is being called, or is on the line, for a caller."""
        return person in self._warm

    def status(self, person: str, leg: str, status: str) -> None:
        """Handle a status of the leg of the person of that id."""
        warm = self._warm.get(person)
        if warm is None:
            return
        self._know(warm, leg)
        if status not in FINAL:
            return
        del self._warm[person]
        warm.left_at = self._clock.now()
        match warm.at:
            case _At.RINGING:
                self._fail(warm, UNANSWERED.get(status, "declined"))
            case _At.ACCEPTED:
                # _bring_caller reads this, or Twilio's next request about the caller does.
                warm.at = _At.OVER
            case _At.MEETING:
                self._arm(warm, ALONE_S, warm.entry.handoff.bring_back)
            case _At.OVER:
                pass

    # --- inside ----------------------------------------------------------------------------------

    def _check(self, entry: CallEntry, destination: TransferDestination) -> None:
        if not entry.is_telephone:
            raise ToolError(entry.agent.phrases.no_telephone)
        if destination.warm and (self._updates.rest is None or not entry.origin):
            raise ToolError(entry.agent.phrases.call_impossible)
        if not entry.by_webhook and (self._updates.rest is None or not entry.origin):
            raise ToolError(entry.agent.phrases.transfer_impossible)

    async def _call_person(
        self, entry: CallEntry, asked: StartTransfer, destination: TransferDestination
    ) -> str:
        # A function that is cancelled while Twilio is asked must not leave an unknown leg: the
        # request has a task of its own, which then hangs up on the person.
        name = asked.destination
        warm = _WarmTransfer(entry, name, secrets.token_urlsafe(9), asked.by)
        self._warm[warm.id] = self._of_call[entry.call_sid] = warm
        rings = False
        try:
            request = self._ring(warm, destination, asked.summary)
            rung = await asyncio.shield(self._updates.start(entry.call_sid, request))
            refused = entry.agent.phrases.reason_fault if rung is None else rung.refusal
            if refused is not None:
                raise ToolError(fill(entry.agent.phrases.not_called, reason=refused))
            rings = True
        finally:
            if not rings:
                self._drop(warm)
        return fill(entry.agent.phrases.rings, destination=name)

    async def _ring(
        self, warm: _WarmTransfer, destination: TransferDestination, summary: str
    ) -> _Rung:
        """Have the person called."""
        rest, to, entry = self._updates.rest, destination.to, warm.entry
        if rest is None or to is None:
            return _Rung(entry.agent.phrases.reason_credentials)
        document = twiml.whisper(partial(_whisper, entry.agent), summary, _url(warm, "after"))
        dialled = Dialled("warm-transfer", warm.name, to)
        try:
            leg = await rest.create_call(
                to=to,
                from_=destination.caller_id or entry.our_number,
                twiml=document,
                status_callback=twiml.retried(_url(warm, "status")),
                timeout_s=destination.timeout_seconds,
                for_call=entry.call_sid,
            )
        except TwilioRefusedError as refused:
            _log.warning("the person was not called: %s", refused)
            return _Rung(refusal_words(entry.agent.phrases, refused))
        except TwilioUnreachableError as unreachable:
            _log.warning("the person was not called: %s", unreachable)
            if unreachable.sent:
                # It may ring all the same; no caller is transferred then.
                self._note(entry.call_sid, dialled)
            return _Rung(entry.agent.phrases.reason_silence)
        self._note(entry.call_sid, dialled)
        self._know(warm, leg.sid)
        if warm.at is _At.OVER:
            self._drop(warm)  # The transfer was cancelled, or the caller has hung up, meanwhile.
        elif warm.at is _At.RINGING:
            due_s = destination.timeout_seconds + len(document) * CHARACTER_S + ANSWER_SLACK_S
            self._arm(warm, due_s, lambda: self._give_up(warm))
        return _Rung()

    def _know(self, warm: _WarmTransfer, leg: str) -> None:
        """Note the person's leg, also for whoever goes on with the call if this process dies."""
        entry, warm.leg = warm.entry, leg
        person = CalledPerson(warm.id, leg)
        if entry.person != person and self._of_call.get(entry.call_sid) is warm:
            entry.person = person
            entry.keep()

    def _give_up(self, warm: _WarmTransfer) -> None:
        """End a transfer about which Twilio has reported nothing in time."""
        self._fail(warm, "no-answer")
        self._drop(warm)

    async def _bring_caller(self, warm: _WarmTransfer) -> None:
        """Have the caller leave the stream and meet the waiting person."""
        meet = Leave(JoinConference(warm.name, warm.conference), by=warm.by)
        for _ in range(TRIES):
            done, _ = await warm.entry.control.request(meet)
            if done:
                return
            if warm.at is not _At.ACCEPTED or warm.entry.ending is not None:
                break
            await asyncio.sleep(ASK_AGAIN_S)
        self._fail(warm, "hung-up" if warm.at is _At.OVER else "canceled")
        self._drop(warm)

    def _look(self, warm: _WarmTransfer, looks: int = 1) -> None:
        if warm.leg and self._updates.rest is not None:
            _ = self._updates.start(warm.entry.call_sid, self._look_after(warm, looks))

    async def _look_after(self, warm: _WarmTransfer, looks: int) -> None:
        """Ask Twilio if the person is still there, as its reports are best effort (§4.3).

        Without an answer it is asked again. The caller is left where they are: two people who talk
        are far more likely than a person whose leg has ended without a report.
        """
        assert self._updates.rest is not None
        try:
            found = await self._updates.rest.fetch_call(warm.leg)
        except (TwilioRefusedError, TwilioUnreachableError) as error:
            _log.warning("cannot check whether the callee is still connected: %s", error)
            if warm.at is _At.MEETING and warm.left_at is None:
                again_s = LOOK_S[min(looks, len(LOOK_S) - 1)]
                self._arm(warm, again_s, lambda: self._look(warm, looks + 1))
            return
        self.status(warm.id, warm.leg, found.status)

    def _fail(self, warm: _WarmTransfer, why: HandoffOutcome) -> None:
        """End a failed transfer, and tell the agent and the record, once."""
        entry = warm.entry
        if self._of_call.get(entry.call_sid) is not warm:
            return  # The call is over, or the transfer.
        self._forget(warm)
        self._dial_policy.end_transfer(entry.call_sid)
        self._note(entry.call_sid, TransferFailed(warm.name, why))
        words = transfer_failed(entry.agent.phrases, warm.name, why)
        _ = self._updates.start(entry.call_sid, self._tell(entry, words))

    async def _tell(self, entry: CallEntry, words: str) -> None:
        later = (entry.agent.phrases.no_agent, entry.agent.phrases.call_ending)
        for _ in range(TELL_TRIES):
            _, what = await entry.control.request(Tell(words))
            if what not in later or entry.ending is not None:
                return
            await asyncio.sleep(ASK_AGAIN_S)

    def _drop(self, warm: _WarmTransfer) -> None:
        """Hang up the person's leg, if there is one, as no caller waits for it."""
        self._forget(warm)
        if warm.leg and warm.left_at is None:
            warm.left_at = self._clock.now()
            self._updates.hang_up(warm.leg, _nothing)

    def _forget(self, warm: _WarmTransfer) -> None:
        warm.at = _At.OVER
        self._disarm(warm)
        self._warm.pop(warm.id, None)
        entry = warm.entry
        if self._of_call.get(entry.call_sid) is warm:
            del self._of_call[entry.call_sid]
            entry.person = None
            entry.keep()

    def _arm(self, warm: _WarmTransfer, seconds: float, callback: Callable[[], None]) -> None:
        self._disarm(warm)
        # The loop would only count a fault, and the caller would wait for up to four hours.
        contained = self._updates.contained(warm.entry.call_sid, callback)
        warm.timer = self._clock.call_at(self._clock.now() + seconds, contained)

    def _disarm(self, warm: _WarmTransfer) -> None:
        if warm.timer is not None:
            warm.timer.cancel()
            warm.timer = None


def _url(warm: _WarmTransfer, what: str) -> str:
    return f"{warm.entry.webhooks}/{what}?person={warm.id}"


async def _done(entry: CallEntry, request: CallRequest) -> str:
    done, what = await entry.control.request(request)
    if not done:
        raise ToolError(fill(entry.agent.phrases.not_transferred, reason=what))
    return what


def _whisper(agent: Agent, summary: str) -> twiml.Speech:
    """Return the speech that asks a person to take a call."""
    about = fill(agent.phrases.whisper_about, summary=summary) if summary else ""
    return spoken(agent, fill(agent.phrases.whisper, key=ACCEPT, about=about))


def _too_late(agent: Agent | None) -> str:
    """Return TwiML that tells a person that the caller is not to be had any more."""
    return twiml.hang_up(None if agent is None else spoken(agent, agent.phrases.person_too_late))


def _nothing() -> None:
    """Do nothing to a leg: it ends with the conference, or when it has rung long enough."""
