"""What a call costs, from what its configuration says of prices."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

STANDARD = "standard"
"""The tier of an agent whose file names none."""


@dataclass(frozen=True, slots=True)
class Meters:
    """What is charged of one call, in ms. `twilio_ms` as Twilio billed it, None: not told."""

    twilio_ms: int | None
    stream_ms: int
    agent_ms: int
    tier: str = STANDARD


@dataclass(frozen=True, slots=True)
class Prices:
    """Per minute, in `currency`. None: not known, and then no cost is stored."""

    currency: str = "USD"
    twilio_minute: float | None = None
    stream_minute: float | None = None
    deepgram_minute: Mapping[str, float] = field(default_factory=dict)

    def cost_micros(self, meters: Meters) -> int | None:
        """Millionths of the currency; None without any price.

        Twilio bills begun minutes of the call and of its stream; Deepgram what was used.
        """
        known = (self.twilio_minute, self.stream_minute, self.deepgram_minute.get(meters.tier))
        if all(price is None for price in known):
            return None
        twilio, stream, deepgram = (price or 0.0 for price in known)
        cost = twilio * begun_minutes(meters.twilio_ms or 0)
        cost += stream * begun_minutes(meters.stream_ms)
        cost += deepgram * meters.agent_ms / 60_000
        return round(cost * 1_000_000)


def begun_minutes(ms: int) -> int:
    """Minutes as Twilio bills them: the last one counts whole."""
    return math.ceil(ms / 60_000)
