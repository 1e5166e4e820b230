"""The cost of a call by the configured prices."""

import math

from offhook.config.app_config import Prices


def cost_micros(
    prices: Prices, *, twilio_ms: int | None, stream_ms: int, agent_ms: int, tier: str
) -> int | None:
    """Return the cost in millionths of the currency; None without prices.

    `twilio_ms` None: Twilio has not billed the call yet.

    Twilio bills begun minutes of the call and of its stream; Deepgram what was used.
    """
    known = (prices.twilio_minute, prices.stream_minute, prices.deepgram_minute.get(tier))
    if all(price is None for price in known):
        return None
    twilio, stream, deepgram = (price or 0.0 for price in known)
    cost = twilio * begun_minutes(twilio_ms or 0)
    cost += stream * begun_minutes(stream_ms)
    cost += deepgram * agent_ms / 60_000
    return round(cost * 1_000_000)


def begun_minutes(ms: int) -> int:
    """Return minutes as Twilio bills them: a begun minute counts whole."""
    return math.ceil(ms / 60_000)
