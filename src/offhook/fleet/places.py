"""Answers of the directory of calls. No database is imported here."""

import hashlib
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from offhook.journal.entries import InheritedLine

LEASE_S: Final = 10.0
"""Seconds after its last beat, by the database's clock, for which a process counts as alive."""

RESERVATION: Final = "placing "
"""Beginning of what stands for the CallSid of a call that Twilio is asked for (reservations.py)."""

RESERVED_S: Final = 300.0
"""Seconds for which the token of a call's first stream is good. Nothing waits for it after that."""

BEAT_S: Final = 3.0
"""Seconds between two beats of a process."""

HELD_S: Final = 60.0
"""Seconds for which a caller is held while the database is away and nobody has the call.

A process that stops waits for the database so long before it gives up its calls without it.
"""


def reservation(nonce: str) -> str:
    """Return the name of a call without a CallSid, from which its token cannot be told."""
    return RESERVATION + hashlib.sha256(nonce.encode()).hexdigest()[:32]


class DirectoryAwayError(Exception):
    """Error: the database has not answered in time, or there is no connection to it now."""


class FleetProcess(NamedTuple):
    """A call process of the fleet, as of this process's last beat.

    Attributes:
        process_id: The id of its journal.
        node: The name of its node.
        address: The origin of its node listener; empty while it has none.
        is_alive: True while its lease runs.
        is_draining: True if it takes no new calls.
        live: Number of its live calls.
        capacity: Number of calls that it takes.
        is_mine: True for this process.
    """

    process_id: str
    node: str
    address: str
    is_alive: bool
    is_draining: bool
    live: int
    capacity: int
    is_mine: bool


class OwnState(NamedTuple):
    """The state of this process, which each beat tells the others."""

    is_draining: bool
    live: int
    capacity: int


class CallPlace(NamedTuple):
    """The process that has a call, and in which epoch.

    Attributes:
        call_sid: The call.
        process_id: The process; empty if the last one has released the call.
        node: Its node; empty likewise, or if the process is not known any more.
        address: The origin of its node listener; empty likewise.
        epoch: Number of the ownership.
        is_alive: True while the process's lease runs.
        is_draining: True if the process takes no new calls.
        is_mine: True if it is this process.
        is_over: True for a call that has ended within the last hour; nobody may claim it.
        awaits_stream: True if the token of its next stream is not spent.
    """

    call_sid: str
    process_id: str
    node: str
    address: str
    epoch: int
    is_alive: bool
    is_draining: bool
    is_mine: bool
    is_over: bool
    awaits_stream: bool


class BegunCall(NamedTuple):
    """A call that this process has entered into the directory."""

    epoch: int


class NoRoom(NamedTuple):
    """The project's agent sessions are all taken: `taken` of `most`."""

    taken: int
    most: int


@dataclass(frozen=True, slots=True)
class ClaimedCall:
    """A call that this process has taken over.

    Attributes:
        call_sid: The call.
        epoch: The new number of the ownership.
        lines: The call's facts and events, as in a live call's file (journal/live_files.py).
        inherited: The lines of its events, with the begin of the call, and where each is from, for
            this process's own journal; oldest ownership first.
        began_ago_s: Seconds since the call began, by the database's clock.
        nonce: Nonce of the stream that has not come yet, if it is awaited.
        from_process: The process that had the call.
        from_node: Its node; empty if that process is not known any more.
    """

    call_sid: str
    epoch: int
    lines: list[bytes] = field(repr=False)
    inherited: list[InheritedLine] = field(repr=False)
    began_ago_s: float
    nonce: str | None = field(repr=False)
    from_process: str
    from_node: str
