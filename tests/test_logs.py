"""What reaches the log, and what never does."""

import logging

import pytest
from tests.house import ASK, GREET, HANG_UP, HOURS, TOKEN, house

from offhook import events
from offhook.events import Happening
from offhook.logs import log_calls

CALLED, CALLING = "+12025550100", "+12025550142"


async def test_a_call_leaves_its_facts_and_none_of_its_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with house() as h:
        report = await h.call(GREET, ASK, GREET, HANG_UP, from_=CALLING, to=CALLED)
        await h.post("/twilio/voice", signature="forged", From=CALLING)
        for happening in h.happened:
            log_calls(happening)
    text = caplog.text
    assert f"{report.call_sid} " in text
    assert "ended, caller_hung_up, by nobody" in text
    assert "E-SEC-01" in text
    canaries = (TOKEN, "a-key", CALLED, CALLING, HOURS, "How can I help", "what else", "forged")
    own = "".join(r.getMessage() for r in caplog.records if r.name.startswith("offhook"))
    assert [canary for canary in canaries if canary in own] == []


@pytest.mark.parametrize(
    "event",
    [
        events.CallerSaid("private"),
        events.AgentSaid("private", "private", 1, interrupted=False),
        events.KeyPressed("private"),
        events.FunctionCalled("private", "private", "private"),
    ],
)
def test_what_was_said_or_pressed_is_not_logged(
    event: events.Event, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    log_calls(Happening("CA1", 0, event))
    assert caplog.records == []


def test_a_fault_of_ours_or_theirs_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    log_calls(Happening("CA1", 7, events.CallEnded("agent", "agent_lost", "it went", "1006", 9)))
    log_calls(Happening("CA1", 7, events.AgentWarned("X", "line one\nline two", fatal=True)))
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert all("\n" not in record.getMessage() for record in caplog.records)
