"""Answering-machine detection of the simulated Twilio (twilio.md §5.3)."""

from dataclasses import dataclass
from typing import Literal

from offhook.testing.simulator.twilio.calls import dates
from offhook.testing.simulator.twilio.calls.leg import Leg
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson
from offhook.testing.simulator.twilio.webhooks import Request


@dataclass(frozen=True, slots=True)
class Detection:
    """Request for detection. With a `url`, the result is posted and the call does not wait."""

    mode: Literal["Enable", "DetectMessageEnd"]
    url: str | None = None
    method: str = "POST"
    timeout_s: float = 30.0
    speech_s: float = 2.4
    """Seconds of speech after which a machine is assumed."""
    speech_end_s: float = 1.2
    """Seconds of silence that end the first words of a person or a machine."""
    silence_s: float = 5.0
    """Seconds of silence after the answer that give the result `unknown`."""


def verdict(person: SimulatedPerson, detection: Detection) -> tuple[str, float]:
    """Return `AnsweredBy`, and the seconds after the answer at which it is known."""
    speaks_s = person.machine.greeting_s if person.machine is not None else person.hello_s
    if speaks_s == 0:
        found = "unknown", detection.silence_s
    elif speaks_s <= detection.speech_s:
        # A machine with a short greeting counts as human.
        found = "human", speaks_s + detection.speech_end_s
    elif detection.mode == "Enable" or person.machine is None:
        found = "machine_start", detection.speech_s
    elif person.machine.beep:
        found = "machine_end_beep", person.machine.over_s
    else:
        found = "machine_end_silence", speaks_s + detection.speech_end_s
    if found[1] > detection.timeout_s:
        return "unknown", detection.timeout_s
    return found


def listen(leg: Leg, detection: Detection) -> None:
    """Detect who has answered, and post the result."""
    answered_by, seconds = verdict(leg.person, detection)

    def known() -> None:
        leg.answered_by = answered_by
        if detection.url is None or leg.over:
            return
        form = {
            "AccountSid": leg.report.account_sid,
            "CallSid": leg.sid,
            "AnsweredBy": answered_by,
            "MachineDetectionDuration": str(round(seconds * 1000)),
            "Timestamp": dates.rfc2822(dates.now()),
        }
        leg.post(Request(detection.url, detection.method, form))

    leg.at(seconds, known)
