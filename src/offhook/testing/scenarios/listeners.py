"""Whoever makes words of what the callers of a rehearsal hear, by what is at hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeAlias

import httpx2

from offhook.testing.scenarios.deepgram_hearing import DeepgramHearing, Listen, Transcribe
from offhook.testing.scenarios.hearing import Hearing, NoWords
from offhook.testing.scenarios.own_server import OwnServer
from offhook.testing.scenarios.validation import Sight
from offhook.testing.scenarios.wire_hearing import WireHearing
from offhook.testing.scenarios.word_matching import AgentVocabulary
from offhook.testing.simulator.speech import installed
from offhook.testing.simulator.speech.engines import SpeechToText

Choice: TypeAlias = tuple[Sight, Callable[[str], Hearing]]
"""What can be seen, and who listens to the call with a CallSid."""


def inside(own: OwnServer, call_sid: str) -> WireHearing:
    """Return what hears a call from the wires of a server in this process."""
    heard = WireHearing(own.clock)
    own.watch(call_sid, heard)
    return heard


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
            return Sight(how, words=True, inside=True), lambda sid: inside(own, sid)
        why = "there is no dialogue that tells the agent's words"
        if known is not None:
            missing = installed.missing()
            if missing is None:
                how = "recognised in the caller's audio, by the words of the dialogue"
                ears = await self._ears(known)
                from offhook.testing.scenarios.local_hearing import LocalHearing

                sight = Sight(how, words=True, inside=False)
                return sight, lambda _: LocalHearing(ears())
            why = missing
        if deepgram is not None:
            how = "transcribed by Deepgram from the caller's audio"
            sight = Sight(how, words=True, inside=False)
            return sight, lambda _: DeepgramHearing(deepgram, group)
        how = f"{why}, and no DEEPGRAM_API_KEY"
        return Sight(how, words=False, inside=False), lambda _: NoWords()

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
