"""Messages between the runner and a process of the load, and its arguments."""

from typing import Literal, TypeAlias

import msgspec

Road: TypeAlias = Literal["bin", "webhook"]
"""Way in which a call comes: by its stream alone, as from a TwiML Bin, or by the voice webhook."""


class PlaceCalls(msgspec.Struct, frozen=True, tag=True):
    """Place calls `first` to `first` + `calls` - 1, and go on with all of them."""

    port: int
    calls: int
    first: int
    token: str
    road: Road = "bin"
    tls: bool = False
    """True if the bridge's own port has TLS."""

    def __repr__(self) -> str:
        return f"PlaceCalls({self.calls} calls)"


class Churn(msgspec.Struct, frozen=True, tag=True):
    """Place `calls` short calls, `at_once` at a time, each until `frames` of its agent came."""

    port: int
    calls: int
    at_once: int
    frames: int
    first: int
    token: str
    road: Road = "bin"

    def __repr__(self) -> str:
        return f"Churn({self.calls} calls)"


class Arrive(msgspec.Struct, frozen=True, tag=True):
    """Begin calls at a rate, each of `hold_s` seconds, until EndCalls. There is no answer."""

    port: int
    per_second: float
    hold_s: float
    first: int
    token: str
    road: Road = "bin"

    def __repr__(self) -> str:
        return f"Arrive({self.per_second} calls a second)"


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Begin to measure."""


class Finish(msgspec.Struct, frozen=True, tag=True):
    """Report the measurements."""


class EndCalls(msgspec.Struct, frozen=True, tag=True):
    """End every call."""


class Measured(msgspec.Struct):
    """Measurements of a process of the load between Begin and Finish. Times are lists of ns.

    Faults and calls that broke count from the first frame on.
    """

    up: list[int] = []
    """Added delay of the sampled frames, caller to agent."""
    up_last: list[int] = []
    """Added delay of the last frame in each message, caller to agent: without time in batches."""
    down: list[int] = []
    barge_in: list[int] = []
    """Times from UserStartedSpeaking out of the sink to `clear` at the caller's end."""
    late: list[int] = []
    """Lateness of the sampled frames against the load's schedule."""
    slips: int = 0
    """Number of times that the load was so late that it left frames out."""
    sent_up: int = 0
    received_up: int = 0
    sent_down: int = 0
    received_down: int = 0
    lost: int = 0
    disordered: int = 0
    doubled: int = 0
    damaged: int = 0
    uncleared: int = 0
    """Number of barge-ins that no `clear` followed."""
    broken_calls: int = 0
    ended_calls: int = 0
    """Number of calls of Arrive that ended in this time, after all of it."""
    cpu_ns: int = 0
    elapsed_ns: int = 0


class Spec(msgspec.Struct, frozen=True):
    """Arguments of a process of the load."""

    port: int
    """Port of the sink; 0 is any that is free."""
    turn_ms: int = 20
    idle: bool = False
    certificate: str | None = None
    """A PEM file with key and chain: the sink speaks TLS."""
