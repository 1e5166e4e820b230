"""What a call is told beforehand: how long it may last, and what the agent says at its limits."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """The limits of one call, in seconds, and its set phrases."""

    max_s: float = 1800.0
    silence_s: float = 60.0
    """Of the caller's silence, half until the question and half until the goodbye; 0: no limit."""
    still_there: str = "Are you still there?"
    silent_goodbye: str = "I cannot hear you. Goodbye."
    time_up: str = "We have reached the end of our time. Goodbye."
    one_moment: str = "One moment, please."
    """Said when a function takes long."""
    transferring: str = "One moment, I am connecting you."
