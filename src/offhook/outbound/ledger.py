"""The ledger of requested calls, which prevents that a person is called twice."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Placement:
    """A requested call. It holds no number.

    `key` identifies the request: a repeat of it is the same call. `id` is this attempt's, which
    Twilio returns with each report. `fingerprint` differs for another call under the same key.
    `made_ms` is the wall clock. `sid` is None until Twilio has given the call's SID.
    """

    key: str
    id: str
    fingerprint: str
    made_ms: int
    sid: str | None = None


def fingerprint(to: str, agent: str, variables: Mapping[str, str]) -> str:
    """Return a digest that is equal for two requests for the same call."""
    data = json.dumps([to, agent, sorted(variables.items())]).encode()
    return hashlib.sha256(data).hexdigest()


class Ledger(Protocol):
    """A store of placements and of numbers that must not be rung.

    Each method raises UserError E-REC-05 when it cannot, and E-API-09 when that takes too long.
    """

    async def claim(self, placement: Placement) -> Placement | None:
        """Take the key. Return None if it is ours now; else the placement that has it."""

    async def retake(self, old: Placement, new: Placement) -> bool:
        """Replace an attempt that never became a call. Return False if it has changed since."""

    async def name(self, placement_id: str, sid: str) -> None:
        """Keep the CallSid of an attempt. Harmless if it has one, or there is no such attempt."""

    async def release(self, placement: Placement) -> None:
        """Free the key of an attempt that certainly became no call."""

    async def is_barred(self, number: str) -> bool:
        """Return whether a number is never to be called (records/dnc.py)."""

    async def named(self, sids: Sequence[str]) -> frozenset[str]:
        """Return which of these calls belong to a placement."""
