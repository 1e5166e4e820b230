"""The cost of a call by the configured prices."""

import math
from typing import NamedTuple

from offhook.config.records_settings import Prices


class Cost(NamedTuple):
    """Cost of a call by meter, in millionths of the currency; a meter without a price costs 0."""

    twilio_micros: int
    stream_micros: int
    deepgram_micros: int


def cost_of(
    prices: Prices, *, twilio_ms: int | None, stream_ms: int, agent_ms: int, tier: str
) -> Cost | None:
    """Return the cost of a call; None without prices.

    `twilio_ms` None: Twilio has not billed the call yet.

    Twilio bills begun minutes of the call and of its stream; Deepgram what was used.
    """
    known = (prices.twilio_minute, prices.stream_minute, prices.deepgram_minute.get(tier))
    if all(price is None for price in known):
        return None
    twilio, stream, deepgram = (price or 0.0 for price in known)
    return Cost(
        round(twilio * begun_minutes(twilio_ms or 0) * 1_000_000),
        round(stream * begun_minutes(stream_ms) * 1_000_000),
        round(deepgram * agent_ms / 60_000 * 1_000_000),
    )


def begun_minutes(ms: int) -> int:
    """Return minutes as Twilio bills them: a begun minute counts whole."""
    return math.ceil(ms / 60_000)
