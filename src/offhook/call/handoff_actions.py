"""Actions of Twilio's for which a caller leaves the stream, and may return to it.

A stream cannot dial and cannot press keys (twilio.md §5.4), so the call leaves it. The agent's leg
is hung up meanwhile, and resumed with the conversation so far.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Dial:
    """Ring a destination of the agent file, by its `name`, and connect the caller.

    `to` is an E.164 number or a SIP address. `caller_id` is the number shown to the person;
    None: the caller's.
    """

    name: str
    to: str
    timeout_s: int = 30
    caller_id: str | None = None


@dataclass(frozen=True, slots=True)
class JoinConference:
    """Connect the caller with the person who waits in the conference of that `name`."""

    name: str
    conference: str


@dataclass(frozen=True, slots=True)
class SendDigits:
    """Press keys toward the caller's side: 0 to 9, *, #; w pauses half a second, W a second."""

    digits: str

    @property
    def duration_s(self) -> float:
        """Seconds that the keys take, at a quarter of a second for each tone."""
        return sum({"w": 0.5, "W": 1.0}.get(digit, 0.25) for digit in self.digits)


HandoffAction: TypeAlias = Dial | JoinConference | SendDigits
