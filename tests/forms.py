"""Long and short forms of a test: a short one in `make test`, the long one in `make soak`."""

from typing import Final

from hypothesis import settings

LONG: Final = "soak"
"""Name of Hypothesis' profile, given as `--hypothesis-profile soak`, that asks for long forms."""


def sized(short: int, long: int) -> int:
    """Return how often a test does something: `long` in a long run, else `short`."""
    return long if settings.get_current_profile_name() == LONG else short
