"""Calls that are created by REST: a person is rung, and the call's instructions run.

Source: twilio.md §5.3.
"""

from dataclasses import dataclass
from typing import Final, Literal

from offhook.testing.simulator.twilio.account.parameters import (
    BAD_PARAMETER,
    BAD_URL,
    Given,
    RequestRefusedError,
)
from offhook.testing.simulator.twilio.call_report import LegReport
from offhook.testing.simulator.twilio.calls import detection, executing
from offhook.testing.simulator.twilio.calls.detection import Detection
from offhook.testing.simulator.twilio.calls.ledger import Rung
from offhook.testing.simulator.twilio.calls.leg import (
    SETUP_S,
    Leg,
    StatusSubscription,
    Work,
    final_status,
    new_sid,
)
from offhook.testing.simulator.twilio.calls.network import SimulatedNetwork
from offhook.testing.simulator.twilio.ending import Ending
from offhook.testing.simulator.twilio.verbs import MalformedTwimlError, read
from offhook.testing.simulator.twilio.webhooks import Request
from offhook.twilio import call_status

TWIML_MAX: Final = 4000
TWIML_FAULT: Final = 12100
NO_AMD_CALLBACK: Final = 21262


@dataclass(frozen=True, slots=True)
class Instructions:
    """Instructions for a call: a URL that gives TwiML, or TwiML itself."""

    url: str | None
    method: str
    twiml: str | None
    fallback_url: str | None

    def work(self, leg: Leg) -> Work:
        """Return the work that executes the instructions on `leg`."""

        async def work() -> Ending:
            if self.url is None:
                assert self.twiml is not None  # `instructions` gives one of the two
                return await executing.inline(leg, self.twiml)
            return await executing.follow(leg, Request(self.url, self.method), self.fallback_url)

        return work


def instructions(given: Given) -> Instructions | None:
    """Return the instructions of a request, if it has any. Raises RequestRefusedError."""
    url, twiml = given.text("Url"), given.text("Twiml")
    if not url and not twiml:
        return None
    if not url:  # with both, Twiml is ignored (§5.3)
        if len(twiml) > TWIML_MAX:
            raise RequestRefusedError(
                400, BAD_PARAMETER, f"Twiml has more than {TWIML_MAX} characters"
            )
        try:
            read(twiml.encode(), "text/xml")
        except MalformedTwimlError as bad:
            raise RequestRefusedError(400, bad.code, "Twiml is no TwiML") from None
    return Instructions(
        url or None,
        given.text("Method", "POST").upper(),
        twiml or None,
        given.text("FallbackUrl") or None,
    )


def told(given: Given) -> StatusSubscription | None:
    """Return the subscription to status callbacks, if any. Raises RequestRefusedError."""
    url = given.text("StatusCallback")
    events = [event for text in given.texts("StatusCallbackEvent") for event in text.split()]
    if not set(events) <= set(call_status.EVENTS):
        raise RequestRefusedError(
            400, BAD_PARAMETER, "StatusCallbackEvent names an event that there is not"
        )
    if not url:
        return None
    method = given.text("StatusCallbackMethod", "POST").upper()
    return StatusSubscription(url, method, frozenset(events or ["completed"]))


def detection_of(given: Given) -> Detection | None:
    """Return the answering-machine detection, if any. Raises RequestRefusedError."""
    mode: Literal["Enable", "DetectMessageEnd"]
    match given.text("MachineDetection"):
        case "":
            return None
        case "Enable":
            mode = "Enable"
        case "DetectMessageEnd":
            mode = "DetectMessageEnd"
        case _:
            raise RequestRefusedError(400, BAD_PARAMETER, "MachineDetection is not what it may be")
    url = given.text("AsyncAmdStatusCallback")
    if given.text("AsyncAmd") == "true" and not url:
        raise RequestRefusedError(400, NO_AMD_CALLBACK, "AsyncAmd needs AsyncAmdStatusCallback")
    if given.text("SendDigits"):
        return None  # SendDigits disables detection
    return Detection(
        mode,
        url if given.text("AsyncAmd") == "true" else None,
        given.text("AsyncAmdStatusCallbackMethod", "POST").upper(),
        given.integer("MachineDetectionTimeout", 30),
        given.integer("MachineDetectionSpeechThreshold", 2400) / 1000,
        given.integer("MachineDetectionSpeechEndThreshold", 1200) / 1000,
        given.integer("MachineDetectionSilenceTimeout", 5000) / 1000,
    )


def ring(network: SimulatedNetwork, given: Given, waits_s: float) -> Leg:
    """Ring a person after `waits_s` seconds in the queue. Raises RequestRefusedError."""
    first = instructions(given)
    if first is None:
        raise RequestRefusedError(400, BAD_URL, "neither Url nor Twiml")
    machines, tell = detection_of(given), told(given)
    to, from_ = given.text("To"), given.text("From")
    person = network.people(to)
    leg = Leg(
        network,
        LegReport(network.account_sid, new_sid("CA"), person.voice()),
        from_=given.text("CallerId", from_),
        to=to,
        direction="outbound-api",
        person=person,
        told=tell,
    )
    leg.time_limit_s = given.integer("TimeLimit", 0) or None
    timeout_s = given.integer("Timeout", 60)
    rung = Rung(leg.sid, to, leg.from_, network.clock.now(), "api", timeout_s)
    work = _live(leg, rung, first, machines, given.text("SendDigits"), waits_s)
    network.group.create_task(work, name=f"leg {leg.sid}")
    return leg


async def _live(
    leg: Leg,
    rung: Rung,
    first: Instructions,
    machines: Detection | None,
    digits: str,
    waits_s: float,
) -> None:
    """Run a created call from the queue to its end."""
    network = leg.network
    outcome = "canceled"

    async def live() -> Ending:
        nonlocal outcome
        await network.passed(waits_s + SETUP_S)
        leg.became("initiated")
        rung.at = network.clock.now()
        network.ledger.rung.append(rung)
        rings = await leg.ring(rung.timeout_s)
        if rings != "answered":
            outcome = rings
            return "not_answered"
        leg.answer()
        rung.answered_at = leg.report.answered_at
        if digits:
            await network.passed(executing.digits_seconds(digits))
        if machines is not None:
            detection.listen(leg, machines)
            if machines.url is None:  # the call waits for the result (§5.3)
                await network.passed(detection.verdict(leg.person, machines)[1])
        return await first.work(leg)()

    ending = await leg.run(live)
    answered = rung.answered_at is not None
    leg.finish(ending, final_status(ending) if answered else outcome)
    rung.close(leg.status, leg.report.ended_at)
