"""What a process knows by itself of the calls that it has."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class HeldCall:
    """A call that this process has.

    Attributes:
        epoch: Number of the ownership.
        since: Begin of the call, by the monotonic clock.
        facts: The call's facts, as of now.
        nonce: Nonce of the stream that is awaited.
        legs: Agent sessions that count for it.
        is_known: False while the database does not know the call.
        before: The process that had it, for a file taken while the database was away.
        until: Time by the monotonic clock until which an earlier process of this node, which the
            database names, may be dead with its lease still running; None before the first look.
        is_stale: True if the nonce is to be told.
        reserved: The call's name in the database until it is told the CallSid; empty: it knows it.
    """

    epoch: int
    since: float
    facts: bytes = field(repr=False)
    nonce: str | None = field(repr=False)
    legs: int
    is_known: bool = True
    before: str = ""
    until: float | None = None
    is_stale: bool = False
    reserved: str = ""
