"""The text with which the session of an agent that goes on with a conversation begins."""

from typing import NamedTuple


class OwedText(NamedTuple):
    """Text that an agent is told first.

    `is_turn` is True for a turn that was said or told before, and that nobody has answered.
    """

    text: str
    is_turn: bool = False
