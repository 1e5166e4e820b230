"""A call that another process had, and this one has now."""

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class TakenCall:
    """A call that another process had, and this one has now, by its lines (journal/live_files.py).

    Attributes:
        call_sid: Twilio's CallSid.
        lines: Its facts and its events, in order.
        epoch: Number of the ownership, in a fleet; else 0.
        node: Name of this node, in a fleet.
        began_ago_s: Seconds since the call began, if the other machine's clock says nothing here.
        has_begun: False for a call that another process has placed, and has not heard of since.
        token: Token of the stream that has come for it; None: the call was taken without one.
    """

    call_sid: str
    lines: list[bytes]
    epoch: int = 0
    node: str = ""
    began_ago_s: float | None = None
    has_begun: bool = True
    token: str | None = field(default=None, repr=False)


Refusal: TypeAlias = str
"""Reason why a stream is refused."""
