"""Twilio's side of a call fails: no session of Deepgram's outlives it (docs/operating.md)."""

import pytest
from tests.twilio_faults import ENDINGS, FailingCall, TwilioFault
from tests.waiting import settled
from tests.whole_server import whole_server

from offhook.call import leg_health
from offhook.net import websocket

AFTER_S = 15.0
"""Seconds after which no session may be left, as docs/operating.md promises."""


def test_the_time_limits_leave_no_session_after_15_s() -> None:
    assert 2 * websocket.ACCEPTED_IDLE_S < AFTER_S
    assert leg_health.STUCK_S < AFTER_S


@pytest.mark.parametrize("fault", ENDINGS)
async def test_no_agent_leg_outlives_twilios_side(
    fault: TwilioFault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In real time: bench/races.py."""
    if fault != "reads slowly":
        monkeypatch.setattr(leg_health, "STUCK_S", 0.2)
    monkeypatch.setattr("offhook.call.handoff.BROKEN_S", 0.2)
    monkeypatch.setattr(websocket, "ACCEPTED_IDLE_S", 0.2 if fault == "goes silent" else 60.0)
    async with whole_server() as h:
        call = FailingCall(h)
        await call.begin()
        await call.fail(fault)
        await settled()
        assert h.endings(call.sid) == [ENDINGS[fault]]
        # A caller whose stream failed is still on the line: Twilio asks, and gets the fallback.
        answer = await h.post("/twilio/after", CallSid=call.sid, CallStatus="in-progress")
        assert ("<Say" in answer.text) == (fault != "reads slowly")
