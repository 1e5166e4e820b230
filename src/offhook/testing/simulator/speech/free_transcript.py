"""Result of recognising a turn as free speech, without what recognises it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FreeTranscript:
    """Words of a turn, with the model's own doubts about them."""

    text: str
    log_prob: float
    """Mean natural logarithm of the probability of a token."""
    no_speech: float
    """Probability that nobody spoke."""
