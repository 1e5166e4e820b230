"""Short calls, one after another: nothing of them stays in the server.

In the long form, `bench/soak.py` watches the memory of a process over 50,000 of them.
"""

import asyncio
import gc
import re
from collections import Counter
from pathlib import Path

import pytest
from tests.waiting import until
from tests.whole_server import WholeServer, fresh_sid, whole_server

from offhook.calls.call_entry import CallEntry
from offhook.calls.session import Session
from offhook.deepgram.leg import AgentLeg

OPEN = Path("/proc/self/fd")
WARM, CALLS, KEPT = 10, 40, 5
PER_CALL = 20
"""Objects that may stay of a call: its mark in a cache, and what Python keeps to use again."""


async def short_call(h: WholeServer) -> None:
    """A call that ends as soon as its agent is there, as Twilio sees it."""
    call_sid = fresh_sid()
    answer = await h.post("/twilio/voice", CallSid=call_sid)
    token = re.search(r'name="token" value="([^"]+)"', answer.text)
    assert token is not None, answer.text
    stream = await h.stream()
    stream.start(call_sid, token[1])
    stream.speak(3)
    await until(lambda: bool(stream.received))
    stream.channel.close()
    await stream.end()
    await h.post("/twilio/after", CallSid=call_sid, CallStatus="completed")
    await until(lambda: bool(h.endings(call_sid)))


def open_files() -> int:
    return len([*OPEN.iterdir()])


def used() -> tuple[int, Counter[str]]:
    """Number of objects that the collector knows, and of each part of a call."""
    gc.collect()
    every = gc.get_objects()
    parts = Counter(type(each).__name__ for each in every)
    kinds = (CallEntry.__name__, Session.__name__, AgentLeg.__name__)
    return len(every), Counter({name: parts[name] for name in kinds})


@pytest.mark.skipif(not OPEN.is_dir(), reason="open files are counted on Linux")
async def test_short_calls_leave_no_task_no_file_and_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("offhook.calls.registry.RECENT_MAX", KEPT)
    _, of_other_tests = used()
    async with whole_server() as h:
        for _ in range(WARM):
            await short_call(h)
        h.happened.clear()
        h.sessions.clear()
        await until(lambda: h.server.calls.registry.live_count == 0)
        tasks, files = len(asyncio.all_tasks()), open_files()
        objects, before = used()
        for _ in range(CALLS):
            await short_call(h)
        h.happened.clear()
        h.sessions.clear()
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        await until(lambda: open_files() <= files)
        now, after = used()
    assert after[CallEntry.__name__] <= of_other_tests[CallEntry.__name__] + KEPT + 1
    assert all(after[name] <= before[name] for name in after), (before, after)
    assert now - objects <= PER_CALL * CALLS
