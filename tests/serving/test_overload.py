"""More calls at once than the server takes: the short form of bench/rush.py, without the clock."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from tests.serving.test_server import verbs
from tests.waiting import until
from tests.whole_server import fresh_sid, whole_server

from offhook.testing.simulator.deepgram.script import Script, Stage


@pytest.mark.parametrize(
    ("limits", "script"),
    [
        ({"capacity": 10}, Script()),
        ({"capacity": 100, "max_sessions": 10}, Script()),
        # Deepgram answers slowly: every webhook that is admitted is held for a second.
        ({"capacity": 10}, Script(welcome=Stage(after_ms=3000))),
    ],
)
async def test_every_call_of_a_rush_is_answered_and_as_many_as_there_is_room_for_connected(
    limits: dict[str, Any], script: Script
) -> None:
    async with whole_server(script, busy={"reject": True}, **limits) as h:
        sids = [fresh_sid() for _ in range(100)]
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(h.post("/twilio/voice", CallSid=sid)) for sid in sids]
        answers = [verbs(each.result().text)[0] for each in asked]
        assert Counter(answers) == {"Connect": 10, "Reject": 90}
        await until(lambda: len(h.sessions) == 10)
        assert h.server.calls.limits.sessions.dialled == 10
        # Twilio repeats requests: each gets the same answer, and nothing is dialled again.
        again = [verbs((await h.post("/twilio/voice", CallSid=sid)).text)[0] for sid in sids]
        assert again == answers
        assert len(h.sessions) == 10
