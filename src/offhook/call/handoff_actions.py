"""Actions of Twilio's for which a caller leaves the stream, and may come back to it.

A stream cannot dial and cannot press keys (twilio.md §5.4), so it is left for a while: the agent's
leg is hung up meanwhile, and resumed with the conversation so far.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Dial:
    """Ring a destination of the agent file, by its `name`, and connect the caller.

    `to` is an E.164 number or a SIP address; `caller_id` what the person sees, None: the caller.
    """

    name: str
    to: str
    timeout_s: int = 30
    caller_id: str | None = None


@dataclass(frozen=True, slots=True)
class JoinConference:
    """Put the caller together with somebody of that `name`, who waits in a conference."""

    name: str
    conference: str


@dataclass(frozen=True, slots=True)
class SendDigits:
    """Press keys toward the caller's side: 0 to 9, *, #, w for half a second, W for a whole one."""

    digits: str

    @property
    def duration_s(self) -> float:
        """The time that it takes, in seconds, at a quarter of a second for each tone."""
        return sum({"w": 0.5, "W": 1.0}.get(digit, 0.25) for digit in self.digits)


HandoffAction: TypeAlias = Dial | JoinConference | SendDigits
