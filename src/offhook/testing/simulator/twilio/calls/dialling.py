"""Execution of <Dial>: ringing people, joining them, and conferences (twilio.md §2.6)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Final, TypeAlias, get_args

from offhook.testing.simulator.twilio.call_report import LegReport
from offhook.testing.simulator.twilio.calls.ledger import Joined, Rung
from offhook.testing.simulator.twilio.calls.leg import Event, Leg, StatusSubscription, new_sid
from offhook.testing.simulator.twilio.calls.network import Conference
from offhook.testing.simulator.twilio.ending import Ending
from offhook.testing.simulator.twilio.verbs import Verb, method, number
from offhook.testing.simulator.twilio.webhooks import Request, joined

TIMEOUT_S: Final = 30
TIME_LIMIT_S: Final = 14400

NO_DIAL_HERE: Final = 13201


Follow: TypeAlias = Callable[[Leg, Request], Awaitable[Ending]]
"""Function that executes the TwiML of a URL to the end (executing.py)."""


@dataclass(slots=True)
class _Child:
    """Leg that <Dial> makes, until it is separated from its parent."""

    leg: Leg
    rung: Rung
    whisper: Request | None
    timeout_s: int
    news: asyncio.Event
    """Event that is set when a child is ready; all children of a <Dial> share it."""
    ready: bool = False
    """True once the leg has answered and heard its whisper, or cannot do so any more."""
    joined: bool = False
    apart: asyncio.Event = field(default_factory=asyncio.Event)
    status: str = "canceled"
    """DialCallStatus of the leg."""


async def dial(leg: Leg, verb: Verb, base: str, follow: Follow) -> dict[str, str]:
    """Ring people, join one, and wait for the end. Return the parameters for `action`."""
    nouns = verb.nouns or (Verb("Number", {}, verb.text, ()),)
    if nouns[0].name == "Conference":
        return await _confer(leg, nouns[0])
    if leg.direction == "outbound-dial":
        leg.note(NO_DIAL_HERE, "a leg that was dialled cannot dial")
        return {"DialCallStatus": "failed"}
    clock, news = leg.network.clock, asyncio.Event()
    children = [_child(leg, verb, noun, base, news) for noun in nouns]
    for child in children:
        leg.network.group.create_task(_live(child, follow), name=f"leg {child.leg.sid}")
    try:
        # Without these the caller may hear nothing (§2.6).
        heard = verb.attributes.get("answerOnBridge") == "true" or "ringTone" in verb.attributes
        with leg.hears("ringing") if heard else nullcontext():
            first = await _first(children, news)
        for child in children:
            if child is not first:
                child.leg.end("far_end_hung_up")
        if not first.joined:
            return _told(first, 0)
        met = Joined(None, first.leg.sid, clock.now())
        leg.network.ledger.joined.append(met)
        limit = number(verb, "timeLimit") or TIME_LIMIT_S
        first.leg.at(limit, lambda: first.leg.end("out_of_time"))
        with leg.hears("together"):
            await first.apart.wait()
        met.left_at = clock.now()
        return _told(first, round(met.left_at - met.at))
    finally:
        for child in children:
            if not child.apart.is_set():
                child.leg.end("far_end_hung_up")


def _told(child: _Child, seconds: int) -> dict[str, str]:
    return {
        "DialCallStatus": child.status,
        "DialCallSid": child.leg.sid,
        "DialCallDuration": str(seconds),
        "DialBridged": str(child.joined).lower(),
    }


async def _first(children: Sequence[_Child], news: asyncio.Event) -> _Child:
    """Return the first child that can be joined; the last child, if none can."""
    while True:
        for child in children:
            if child.joined:
                return child
        if all(child.ready for child in children):
            return children[-1]
        await news.wait()
        news.clear()


def _child(parent: Leg, verb: Verb, noun: Verb, base: str, news: asyncio.Event) -> _Child:
    network, to = parent.network, noun.text
    person = network.people(to)
    callback = noun.attributes.get("statusCallback")
    told = None
    if callback is not None:
        events = noun.attributes.get("statusCallbackEvent", "completed").split()
        told = StatusSubscription(
            joined(base, callback),
            method(noun, "statusCallbackMethod"),
            frozenset(event for event in get_args(Event) if event in events),
        )
    leg = Leg(
        network,
        LegReport(network.account_sid, new_sid("CA"), person.voice()),
        from_=verb.attributes.get("callerId", parent.from_),
        to=to,
        direction="outbound-dial",
        person=person,
        parent=parent,
        told=told,
    )
    timeout_s = number(verb, "timeout") or TIMEOUT_S
    rung = Rung(leg.sid, to, leg.from_, network.clock.now(), "dial", timeout_s, parent.sid)
    network.ledger.rung.append(rung)
    whisper = noun.attributes.get("url")
    request = whisper and Request(joined(base, whisper), method(noun, "method"))
    return _Child(leg, rung, request or None, timeout_s, news)


async def _live(child: _Child, follow: Follow) -> None:
    """Run a dialled leg from ringing to its end."""
    leg = child.leg

    async def live() -> Ending:
        leg.became("initiated")
        outcome = await leg.ring(child.timeout_s)
        if outcome != "answered":
            child.status = outcome
            return "not_answered"
        leg.answer()
        child.rung.answered_at = leg.report.answered_at
        child.status = "completed"  # even if not joined, which DialBridged says
        if child.whisper is not None:
            ending = await follow(leg, child.whisper)
            if ending != "end_of_document":
                return ending
        child.joined = True
        child.ready = True
        child.news.set()
        try:
            with leg.hears("together"):
                await leg.talk()
        finally:
            child.apart.set()
        return "caller_hung_up"

    try:
        ending = await leg.run(live)
        leg.finish(ending, child.status)
        child.rung.close(leg.status, leg.report.ended_at)
    finally:
        child.ready = True
        child.news.set()
        child.apart.set()


async def _confer(leg: Leg, noun: Verb) -> dict[str, str]:
    """Stay in a conference until it is over. Return the parameters for `action`."""
    network, attributes = leg.network, noun.attributes
    conference = network.conferences.setdefault(noun.text, Conference(noun.text))
    met = Joined(conference.name, leg.sid, network.clock.now())
    network.ledger.joined.append(met)
    conference.legs.append(leg)
    conference.started |= attributes.get("startConferenceOnEnter", "true") == "true"
    conference.stir()
    leaves = False
    try:
        while not conference.over:
            talking = conference.talking
            if talking and not leaves and leg.person.talks_s is not None:
                leaves = True
                leg.at(leg.person.talks_s, lambda: leg.end("caller_hung_up"))
            silent = not talking and attributes.get("waitUrl") == ""
            with nullcontext() if silent else leg.hears("together" if talking else "waiting"):
                while conference.talking == talking and not conference.over:
                    await conference.changed.wait()
    finally:
        met.left_at = network.clock.now()
        conference.legs.remove(leg)
        if not conference.legs or attributes.get("endConferenceOnExit") == "true":
            conference.over = True
            if network.conferences.get(conference.name) is conference:
                del network.conferences[conference.name]
        conference.stir()
    return {"DialCallStatus": "answered"}
