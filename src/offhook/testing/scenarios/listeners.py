"""Whoever makes words of what the callers of a rehearsal hear, by what is at hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import httpx2

from offhook.testing.scenarios.deepgram_hearing import DeepgramHearing, Listen, Transcribe
from offhook.testing.scenarios.hearing import Hearing, NoWords
from offhook.testing.scenarios.own_server import OwnServer
from offhook.testing.scenarios.runner import CallHearing
from offhook.testing.scenarios.validation import Sight
from offhook.testing.scenarios.wire_hearing import WireHearing
from offhook.testing.scenarios.word_matching import AgentVocabulary
from offhook.testing.simulator.speech import installed
from offhook.testing.simulator.speech.engines import SpeechToText

if TYPE_CHECKING:
    from offhook.testing.scenarios.local_hearing import LocalHearing  # needs the extra [local]

Choice: TypeAlias = tuple[Sight, Callable[[str], CallHearing]]
"""What can be seen, and who listens to the call with a CallSid."""

_SETTLE_S: Final = 5.0
"""Wall-clock seconds that the server has, after a call, to say how it ended."""


async def until_over(ended: asyncio.Event) -> None:
    """Wait for the server's end of a call, but not for long: it may never have known of it."""
    try:
        async with asyncio.timeout(_SETTLE_S):
            await ended.wait()
    except TimeoutError:
        return


class Inside:
    """Hears from the wires of a server in this process (runner.Listening)."""

    def __init__(self, own: OwnServer, call_sid: str) -> None:
        self._ended = asyncio.Event()
        heard = WireHearing(own.clock, self._ended.set)
        own.watch(call_sid, heard)
        self.wire: WireHearing | None = heard
        self.hearing: Hearing = heard

    async def finish(self) -> None:
        """Wait until the call is over for the server too."""
        await until_over(self._ended)


class Outside:
    """Hears from the caller's audio (runner.Listening)."""

    wire: WireHearing | None = None

    def __init__(self, heard: "DeepgramHearing | LocalHearing") -> None:
        self._heard = heard
        self.hearing: Hearing = heard

    async def finish(self) -> None:
        """Wait for the last words. Raises UserError when some could not be had."""
        await self._heard.finish()


class Nobody:
    """Hears no words (runner.Listening)."""

    wire: WireHearing | None = None

    def __init__(self) -> None:
        self.hearing: Hearing = NoWords()

    async def finish(self) -> None:
        """There is nothing to wait for."""


class Listeners:
    """Who listens: the wires of our own server, else the recogniser where the agent's words are
    known, else Deepgram if there is a key, else nobody.
    """  # noqa: D205

    def __init__(
        self,
        own: OwnServer | None,
        deepgram: Transcribe | None,
        group: asyncio.TaskGroup,
        recognisers: AsyncExitStack,
    ) -> None:
        self._own = own
        self._deepgram = deepgram
        self._group = group
        self._recognisers = recognisers
        self._by_dialogue: dict[AgentVocabulary, Callable[[], SpeechToText]] = {}

    async def choose(self, known: AgentVocabulary | None) -> Choice:
        """Who listens to the calls of a scenario. Raises UserError E-EAR-… for a bad word."""
        own, deepgram, group = self._own, self._deepgram, self._group
        if own is not None:
            how = "taken from the wire, as the server in this process saw it"
            return Sight(how, words=True, inside=True), lambda sid: Inside(own, sid)
        why = "there is no dialogue that tells the agent's words"
        if known is not None:
            missing = installed.missing()
            if missing is None:
                how = "recognised in the caller's audio, by the words of the dialogue"
                ears = await self._ears(known)
                from offhook.testing.scenarios.local_hearing import LocalHearing

                sight = Sight(how, words=True, inside=False)
                return sight, lambda _: Outside(LocalHearing(ears()))
            why = missing
        if deepgram is not None:
            how = "transcribed by Deepgram from the caller's audio"
            sight = Sight(how, words=True, inside=False)
            return sight, lambda _: Outside(DeepgramHearing(deepgram, group))
        how = f"{why}, and no DEEPGRAM_API_KEY"
        return Sight(how, words=False, inside=False), lambda _: Nobody()

    async def _ears(self, known: AgentVocabulary) -> Callable[[], SpeechToText]:
        """Ears for what the agent of a dialogue says: for all of its scenarios the same workers."""
        if known not in self._by_dialogue:
            from offhook.testing.simulator.speech.speech_to_text import recognising

            recogniser = await self._recognisers.enter_async_context(recognising(known.vocabulary))
            self._by_dialogue[known] = recogniser.ears
        return self._by_dialogue[known]


@asynccontextmanager
async def listeners(own: OwnServer | None, deepgram_key: str | None) -> AsyncIterator[Listeners]:
    """Keep what they need until all calls are over."""
    async with (
        AsyncExitStack() as recognisers,
        httpx2.AsyncClient(timeout=None) as http,
        asyncio.TaskGroup() as group,
    ):
        deepgram = None if deepgram_key is None else Listen(deepgram_key, http)
        yield Listeners(own, deepgram, group, recognisers)
