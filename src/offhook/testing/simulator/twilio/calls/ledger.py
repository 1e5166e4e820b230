"""Log of a simulated account, for tests. Times are in seconds of the clock."""

from dataclasses import dataclass, field
from typing import Literal

from offhook.testing.simulator.twilio.call_report import CallParty, LegReport


@dataclass(slots=True)
class Rung:
    """Call to a telephone that was rung."""

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
    """Status of the call in Twilio's words; a final one at the end."""

    def close(self, status: str, at: float) -> None:
        """Note that the call is over."""
        self.status, self.ended_at = status, at


@dataclass(slots=True)
class Joined:
    """Period in which a leg was in a conference, or was joined to another by <Dial>."""

    conference: str | None
    call_sid: str
    at: float
    left_at: float | None = None


@dataclass(frozen=True, slots=True)
class EndRequest:
    """Request to end a call. `in_time` is False if the call was over or unknown."""

    call_sid: str
    at: float
    in_time: bool


@dataclass(frozen=True, slots=True)
class Redirected:
    """Request to redirect a call. `in_time` is False if it could not be redirected."""

    call_sid: str
    at: float
    twiml: str | None
    url: str | None
    in_time: bool


@dataclass(frozen=True, slots=True)
class Texted:
    """Text message that was sent."""

    sid: str
    to: str
    from_: str
    body: str
    at: float


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """REST request, with the status and code of its answer."""

    method: str
    path: str
    status: int
    code: int | None


@dataclass(slots=True)
class NetworkLedger:
    """Log of one account, each kind of entry in order of time."""

    rung: list[Rung] = field(default_factory=list)
    joined: list[Joined] = field(default_factory=list)
    hang_ups: list[EndRequest] = field(default_factory=list)
    redirected: list[Redirected] = field(default_factory=list)
    texts: list[Texted] = field(default_factory=list)
    answers: list[RestAnswer] = field(default_factory=list)
    reports: dict[str, LegReport[CallParty]] = field(default_factory=dict)
    """Report of every leg, by its CallSid."""

    def rung_at(self, to: str) -> list[Rung]:
        """List the calls to a number."""
        return [one for one in self.rung if one.to == to]

    def together(self, conference: str) -> list[str]:
        """List the CallSids that have been in a conference."""
        return [one.call_sid for one in self.joined if one.conference == conference]
