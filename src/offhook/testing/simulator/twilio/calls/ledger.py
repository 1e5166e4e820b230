"""What happened on a simulated account, for tests to read. Times are the clock's, in seconds."""

from dataclasses import dataclass, field
from typing import Literal

from offhook.testing.simulator.twilio.call_report import CallParty, LegReport


@dataclass(slots=True)
class Rung:
    """A telephone that was rung."""

    call_sid: str
    to: str
    from_: str
    at: float
    by: Literal["api", "dial"]
    timeout_s: float
    parent_call_sid: str | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    status: str = "queued"
    """Twilio's, in the end a final one."""

    def close(self, status: str, at: float) -> None:
        """Note that the call is over."""
        self.status, self.ended_at = status, at


@dataclass(slots=True)
class Joined:
    """Somebody's time in a conference, or with whom they were joined by <Dial>."""

    conference: str | None
    call_sid: str
    at: float
    left_at: float | None = None


@dataclass(frozen=True, slots=True)
class EndRequest:
    """A request to end a call, and whether there was a call to be ended."""

    call_sid: str
    at: float
    in_time: bool


@dataclass(frozen=True, slots=True)
class Redirected:
    """A request for other instructions, and whether there was a call to be redirected."""

    call_sid: str
    at: float
    twiml: str | None
    url: str | None
    in_time: bool


@dataclass(frozen=True, slots=True)
class Texted:
    """A text that was sent."""

    sid: str
    to: str
    from_: str
    body: str
    at: float


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """A REST request, and how it was answered."""

    method: str
    path: str
    status: int
    code: int | None


@dataclass(slots=True)
class NetworkLedger:
    """All of it, in the order in which it happened."""

    rung: list[Rung] = field(default_factory=list)
    joined: list[Joined] = field(default_factory=list)
    hang_ups: list[EndRequest] = field(default_factory=list)
    redirected: list[Redirected] = field(default_factory=list)
    texts: list[Texted] = field(default_factory=list)
    answers: list[RestAnswer] = field(default_factory=list)
    reports: dict[str, LegReport[CallParty]] = field(default_factory=dict)
    """Of every leg, by its CallSid."""

    def rung_at(self, to: str) -> list[Rung]:
        """How often that number was rung."""
        return [one for one in self.rung if one.to == to]

    def together(self, conference: str) -> list[str]:
        """List the CallSids that have been in a conference."""
        return [one.call_sid for one in self.joined if one.conference == conference]
