"""The status of a call that we placed, from reports in any order. No I/O.

Twilio sends status callbacks independently of each other: late, twice, the last before the first
(twilio.md §4.3). A status fetched by REST may be older than a report. So a report only ever moves a
call forward, and a final status stays.
"""

from typing import Final

from offhook.call.ending import Slug
from offhook.twilio.call_status import FINAL, STATUSES

_STEPS: Final[dict[str, int]] = {
    status: len(STATUSES) if status in FINAL else step for step, status in enumerate(STATUSES)
}
"""Progress of a call by status. Final statuses have the same step: the first one stays."""

UNANSWERED: Final[dict[str, Slug]] = {
    "busy": Slug.LINE_BUSY,
    "no-answer": Slug.NOT_ANSWERED,
    "failed": Slug.CALL_FAILED,
    "canceled": Slug.CALL_CANCELED,
}
"""Endings of calls that were not answered, by their final status."""

MACHINES: Final = frozenset(
    {"machine_start", "machine_end_beep", "machine_end_silence", "machine_end_other", "fax"}
)
"""Verdicts of answering-machine detection that mean a machine. `unknown` counts as a person
(twilio.md §5.3)."""

END_OF_GREETING: Final = frozenset({"machine_end_beep", "machine_end_silence", "machine_end_other"})
"""Verdicts after which a machine records what is said."""


class CallStatus:
    """The status of a call, and who answered, as far as reports tell."""

    __slots__ = ("answered_by", "status")

    def __init__(self) -> None:
        self.status: str = "queued"
        self.answered_by: str | None = None

    @property
    def final(self) -> bool:
        """True if nothing more can happen to the call."""
        return self.status in FINAL

    def hear(self, status: str) -> bool:
        """Take a report. Return whether it is news; unknown statuses never are."""
        if _STEPS.get(status, -1) <= _STEPS[self.status]:
            return False
        self.status = status
        return True

    def hear_answered_by(self, verdict: str) -> bool:
        """Take a verdict on who answered. Return whether it is news: the first one stays."""
        if self.answered_by is not None or not verdict:
            return False
        self.answered_by = verdict
        return True
