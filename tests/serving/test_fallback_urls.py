"""A session that is lost in mid-call goes on at the next of `deepgram.fallback_urls`."""

import asyncio
import dataclasses

from tests.in_time import in_time
from tests.whole_server import (
    ASK,
    GREET,
    HANG_UP,
    HOURS,
    QUICK,
    configured,
    texts,
    whole_server,
)

from offhook.clock import LoopClock
from offhook.events.types import AgentLost, AgentResumed, AgentSaid, CallerSaid, CallEvent
from offhook.testing.simulator.deepgram import server as standin_server
from offhook.testing.simulator.deepgram.standin import StandIn

GREETING = "Hello! How can I help you today?"
ANSWER = "Of course, what else?"


async def test_a_call_whose_region_goes_away_goes_on_at_the_next_address() -> None:
    """The first address loses the session and refuses the next one."""
    await in_time(_a_region_goes_away)


async def _a_region_goes_away() -> None:
    clock = LoopClock(asyncio.get_running_loop())
    sessions: list[StandIn] = []
    first = await standin_server.serve("127.0.0.1", 0, QUICK, clock)
    second = await standin_server.serve("127.0.0.1", 0, QUICK, clock, sessions.append)
    greeted = asyncio.Event()

    def watch(happened: CallEvent) -> None:
        if isinstance(happened.event, AgentSaid) and happened.event.text == GREETING:
            greeted.set()

    async def leave() -> None:
        await greeted.wait()
        await first.close()

    config = configured(first.url)
    both = config.deepgram.model_copy(update={"fallback_urls": (second.url,)})
    config = dataclasses.replace(config, deepgram=both)
    async with (
        asyncio.TaskGroup() as group,
        whole_server(config=config, deepgram_url=first.url, watchers=[watch]) as running,
    ):
        group.create_task(leave())
        report = await running.call(GREET, ASK, GREET, HANG_UP)
        await running.until_ended()
        events = running.events()
        assert report.faults == []
        assert running.endings() == ["caller_hung_up"]
        assert texts(events, CallerSaid) == [HOURS]
        assert texts(events, AgentSaid) == [GREETING, ANSWER]
        # Of the two losses one is of the session, the other of the dial that was refused.
        assert [each.why for each in events if isinstance(each, AgentLost)] == [
            "closed",
            "unreachable",
        ]
        assert [each.attempts for each in events if isinstance(each, AgentResumed)] == [2]
    (session,) = sessions
    assert session.settings is not None
    assert session.settings.greeting == ""
    assert [each.content for each in session.settings.context] == [GREETING]
    await second.close()
