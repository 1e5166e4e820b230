"""Calls that are rung and kept: a person on a simulated line who says what the test says."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.waiting import until
from tests.whole_server import ACCOUNT, TOKEN, fresh_sid, voice

from offhook import audio
from offhook.clock import LoopClock
from offhook.testing.simulator.speech.levels import is_speech
from offhook.testing.simulator.twilio.call_report import LegReport
from offhook.testing.simulator.twilio.phone import place_call
from offhook.testing.simulator.twilio.stream import LineControls


class Person:
    """Somebody on the telephone, who is silent until told what to say (a CallParty)."""

    def __init__(self) -> None:
        self.faults: Sequence[str] = ()
        self.heard = bytearray()
        """All that was played to them, as mu-law."""
        self.is_over = False
        self._frames = deque[bytes]()
        self._keys = deque[str]()
        self._hangs_up = False

    def say(self, text: str) -> None:
        """Say a text of which there is a clip."""
        self.play(voice(text))

    def play(self, sound: bytes) -> None:
        """Send mu-law audio at the rate at which it plays."""
        sound += audio.SILENCE * (-len(sound) % audio.FRAME_BYTES)
        at = range(0, len(sound), audio.FRAME_BYTES)
        self._frames.extend(sound[i : i + audio.FRAME_BYTES] for i in at)

    @property
    def unsaid(self) -> int:
        """Bytes of what they were told to say that are not sent yet."""
        return len(self._frames) * audio.FRAME_BYTES

    def press(self, keys: str) -> None:
        self._keys.extend(keys)

    def hang_up(self) -> None:
        self._hangs_up = True

    def has_heard(self, sound: bytes, since: int = 0) -> bool:
        """Tell whether mu-law audio was played to them, byte by byte: nothing transcodes a call."""
        return bytes(self.heard).find(sound.strip(audio.SILENCE), since) >= 0

    async def until_heard(self, text: str, since: int = 0) -> None:
        """Wait until a whole text, of which there is a clip, was played."""
        await until(lambda: self.has_heard(voice(text), since))

    async def until_heard_some(self, text: str, since: int = 0) -> None:
        """Wait until the beginning of a text was played, a second of it."""
        begin = voice(text).strip(audio.SILENCE)[: audio.BYTES_PER_SECOND]
        await until(lambda: self.has_heard(begin, since))

    async def until_quiet(self, ms: int = 600) -> None:
        """Wait until something was heard, and then nothing for that long."""
        await until(lambda: is_speech(bytes(self.heard)) and not is_speech(self.last(ms)))

    def last(self, ms: int) -> bytes:
        """Return the last that was heard."""
        return bytes(self.heard[-ms * audio.BYTES_PER_MS :])

    def next_frame(self, line: LineControls, heard: bytes, now: float) -> bytes:
        self.heard += heard
        if self._keys:
            line.press(self._keys.popleft())
        if self._hangs_up:
            line.hang_up()
        return self._frames.popleft() if self._frames else audio.silence(audio.FRAME_MS)

    def call_ended(self) -> None:
        self.is_over = True


class KeptCall:
    """A call that goes on until somebody ends it."""

    def __init__(self, sid: str, task: asyncio.Task[LegReport[Person]], person: Person) -> None:
        self.sid = sid
        self.person = person
        self._task = task

    async def ended(self) -> LegReport[Person]:
        """Wait for the end of the call."""
        async with asyncio.timeout(240):
            return await self._task


@asynccontextmanager
async def kept_call(
    url: str, *, from_: str = "+12025550142", to: str = "+12025550100"
) -> AsyncIterator[KeptCall]:
    """Ring the server at `url`, and stay on the line; at the end the person hangs up."""
    person, sid = Person(), fresh_sid()
    async with asyncio.TaskGroup() as group:
        call = place_call(
            url + "/twilio/voice",
            person,
            clock=LoopClock(asyncio.get_running_loop()),
            auth_token=TOKEN,
            account_sid=ACCOUNT,
            from_=from_,
            to=to,
            call_sid=sid,
        )
        task = group.create_task(call)
        try:
            yield KeptCall(sid, task, person)
        finally:
            person.hang_up()
