"""Twilio's statuses: which are final, and what a dial's status means."""

import pytest

from offhook.twilio.call_status import FINAL, STATUSES, UNANSWERED, outcome_of_dial


def test_a_call_ends_with_one_of_five() -> None:
    assert {"completed", "busy", "no-answer", "failed", "canceled"} == FINAL
    assert STATUSES[:4] == ("queued", "initiated", "ringing", "in-progress")
    assert FINAL - set(UNANSWERED) == {"completed"}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("completed", "reached"),
        ("answered", "reached"),
        ("busy", "busy"),
        ("no-answer", "no-answer"),
        ("canceled", "canceled"),
        ("failed", "failed"),
        ("a-new-word", "failed"),
    ],
)
def test_what_a_dial_came_to(status: str, outcome: str) -> None:
    assert outcome_of_dial(status) == outcome
