"""The ledger of requested calls, which prevents that a person is called twice."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Placement:
    """One call that is asked for. It holds no number.

    `key` is whose call it is: asked for again, it is the same call. `id` is this attempt's, which
    Twilio brings back with each report. `fingerprint` tells another call under the same key from
    the same one. `made_ms` is the wall clock. `sid` is None until Twilio has named the call.
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
    """Where placements are kept, and who is not to be rung.

    Each method raises UserError E-REC-05 when it cannot, and E-API-09 when that takes too long.
    """

    async def claim(self, placement: Placement) -> Placement | None:
        """Take the key. None: it is ours; else what is there under it, and nothing is changed."""

    async def retake(self, old: Placement, new: Placement) -> bool:
        """Begin anew what never became a call. False: somebody else has, or has named it."""

    async def name(self, placement_id: str, sid: str) -> None:
        """Twilio has named the call of this attempt. Harmless when it is known, or none is."""

    async def release(self, placement: Placement) -> None:
        """Free the key: it is certain that this attempt became no call."""

    async def is_barred(self, number: str) -> bool:
        """Return whether a number is never to be called (records/dnc.py)."""

    async def named(self, sids: Sequence[str]) -> frozenset[str]:
        """Which of these calls belong to a placement."""
