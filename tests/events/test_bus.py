"""Subscribers that fail."""

import pytest

from offhook.events.bus import SAID_EVERY_S, Publisher
from offhook.events.types import CallEvent, CallStarted


class Broken:
    def __call__(self, call_event: CallEvent) -> None:
        raise RuntimeError("boom")


def test_one_that_raises_harms_nobody_and_is_said_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    got: list[CallEvent] = []
    now = 0.0
    publish = Publisher([Broken(), got.append], lambda: now)
    call_event = CallEvent("CA1", 0, CallStarted())
    for second in range(90):
        now = float(second)
        publish(call_event)
    assert got == [call_event] * 90
    assert publish.failures == 90
    unsaid = f"{SAID_EVERY_S - 1:g}"
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "the subscriber Broken failed on CallStarted, and 0 times since this was last said",
        f"the subscriber Broken failed on CallStarted, and {unsaid} times since this was last said",
    ]
    assert {record.__dict__["call_sid"] for record in caplog.records} == {"CA1"}


def test_each_is_said_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    def other(call_event: CallEvent) -> None:
        raise ValueError

    publish = Publisher([Broken(), other], lambda: 1.0)
    publish(CallEvent("CA1", 0, CallStarted()))
    assert [r.exc_info[0] for r in caplog.records if r.exc_info] == [RuntimeError, ValueError]
