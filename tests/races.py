"""Races of streams and requests for one call, at a whole server over real sockets.

Twilio opens one stream for a call. Whoever saw its token or its upgrade may open others at the
same moment, and Twilio repeats webhooks and callbacks (twilio.md §3.2, §4.2). Whatever the order, a
call has one stream, one session of Deepgram's and one ending, and equal requests get equal answers.
`make soak` runs 10,000 races (bench/races.py).
"""

import asyncio
import contextlib
import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import httpx2
from tests.waiting import until
from tests.whole_server import RawStream, WholeServer, fresh_sid

from offhook.events.types import CallEnded, StreamBroke
from offhook.net import websocket
from offhook.twilio import messages

AT_ONCE = 20
"""Races that run at the same time; the server has room for 100 calls."""

RETRIES = 5
"""As in twiml.RETRIES."""

_T = TypeVar("_T")

BREAKS = ("drops", "asks after")
"""Ends after which a call of the webhook waits for its caller to come back."""

ENDS = ("hangs up", "drops", "is over by a callback", "asks after")


class Races:
    """Results of many races."""

    def __init__(self, whole: WholeServer, seed: int) -> None:
        self.whole = whole
        self.random = random.Random(seed)
        # Races that run at the same time draw in any order: by chance one end might be left out.
        self._ends = itertools.cycle(ENDS)
        self.wrong: list[str] = []
        self.done: Counter[str] = Counter()
        self.streams = 0
        self.further = 0
        """Calls whose callers were expected back, so that another agent was dialled."""

    async def run(self, count: int) -> None:
        """Run `count` races, AT_ONCE at the same time."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            async with room:
                await self.race()

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(one())
        await until(lambda: all(session.closed for session in self.whole.sessions))
        lost = any("agent_" in what for what in self.done)
        if len(self.whole.sessions) > count + self.further and not lost:
            self.wrong.append(f"{len(self.whole.sessions)} sessions of Deepgram's, {count} calls")

    async def race(self) -> None:
        """Run one race: several requests, several streams, and an end."""
        sid, of_webhook = fresh_sid(), self.random.random() < 0.7
        token = await self._announced(sid) if of_webhook else None
        if of_webhook and token is None:
            self.done[f"did not begin: {self.whole.endings(sid)}"] += 1
            return
        streams = await self._started(sid, token)
        await until(lambda: sum(s.closed.done() for s in streams) >= len(streams) - 1)
        left = [stream for stream in streams if not stream.closed.done()]
        if not left and any(slug.startswith("agent_") for slug in self.whole.endings(sid)):
            # The machine stood still for so long that Deepgram was not reached, or was lost.
            self.done[f"lost its agent: {self.whole.endings(sid)[0]}"] += 1
            return
        if not left and self._was_cut(sid, streams):
            if of_webhook:  # its caller may come back
                await self._alike(sid, "/twilio/status", CallStatus="completed", CallDuration="3")
            self.done["was cut by a machine that stood still"] += 1
            return
        if len(left) != 1:
            self._fault(sid, f"{len(left)} of {len(streams)} streams are open")
            return
        codes = [s.closed.result().received for s in streams if s.closed.done()]
        if set(codes) - {1008}:
            self._fault(sid, f"streams were closed with {codes}")
        end = next(self._ends) if of_webhook else self.random.choice(ENDS[:2])
        await self._end(sid, left[0], end)
        if of_webhook and end in BREAKS:
            await self._give_up(sid, end)
        await until(lambda: self.whole.endings(sid))
        endings = self.whole.endings(sid)
        if len(endings) != 1:
            self._fault(sid, f"{end}: endings {endings}")
        if of_webhook:
            await self._alike(sid, "/twilio/after", CallStatus="in-progress")
        left[0].channel.abort()
        await left[0].closed
        self.done[f"{end}: {endings[0]}"] += 1

    async def _announced(self, sid: str) -> str | None:
        """Ask the webhook. Return the stream's token; None if the agent was not reached in time."""
        answers = await self._alike(sid, "/twilio/voice", times=self.random.randint(1, 3))
        found = re.search(r'name="token" value="([^"]+)"', answers)
        return found[1] if found is not None else None

    async def _started(self, sid: str, token: str | None) -> list[RawStream]:
        """Open some streams for a call, and have all of them claim it at once."""
        count = self.random.randint(2, 4)
        self.streams += count
        streams = list(
            await asyncio.gather(*(self._again(self.whole.stream) for _ in range(count)))
        )
        repeated = self._alike(sid, "/twilio/voice") if token is not None else asyncio.sleep(0)
        for stream in self.random.sample(streams, count):
            stream.start(sid, token)
            stream.speak(2)
            if self.random.random() < 0.3:
                await asyncio.sleep(0)
        await repeated
        return streams

    async def _end(self, sid: str, stream: RawStream, end: str) -> None:
        channel: websocket.Channel = stream.channel
        match end:
            case "hangs up":
                stream.send(messages.Stop(stream_sid="MZ" + "b" * 32, stop=messages.StopDetails()))
            case "drops":
                channel.abort()
            case "is over by a callback":
                await self._alike(sid, "/twilio/status", CallStatus="completed", CallDuration="3")
            case _:
                await self._alike(sid, "/twilio/after", CallStatus="in-progress")

    async def _give_up(self, sid: str, end: str) -> None:
        """Let a caller hang up who may come back; after a question, an agent was dialled."""
        broke = (StreamBroke, CallEnded)
        await until(lambda: any(isinstance(event, broke) for event in self.whole.events(sid)))
        self.further += end == "asks after"
        await self._alike(sid, "/twilio/status", CallStatus="completed", CallDuration="3")

    async def _alike(self, sid: str, path: str, times: int = 2, **form: str) -> str:
        """Send a request several times at once. Return the answer, which must be one."""
        post = partial(self.whole.post, path, CallSid=sid, **form)
        answers = await asyncio.gather(*(self._again(post) for _ in range(times)))
        given = {(answer.status_code, answer.text) for answer in answers}
        lost = any(slug.startswith("agent_") for slug in self.whole.endings(sid))
        if len(given) != 1 and not lost:
            self._fault(sid, f"{path} gave {len(given)} answers")
        return answers[0].text

    async def _again(self, ask: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Ask as often as Twilio does: a machine that stands still for 5 s cuts its connections."""
        for _ in range(RETRIES):
            with contextlib.suppress(httpx2.TransportError, websocket.UnreachableError):
                return await ask()
        return await ask()

    def _was_cut(self, sid: str, streams: list[RawStream]) -> bool:
        """Return True if one stream was taken, and cut because nobody answered its ping for 5 s."""
        codes = [stream.closed.result().received for stream in streams]
        broke = any(isinstance(event, StreamBroke) for event in self.whole.events(sid))
        lost = "caller_leg_lost" in self.whole.endings(sid)
        return codes.count(1008) == len(codes) - 1 and (broke or lost)

    def _fault(self, sid: str, what: str) -> None:
        self.wrong.append(f"{sid}: {what}")
