"""Choice of the Hearing for the callers of a rehearsal, by what is available."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import httpx2

from offhook.config import Config
from offhook.testing.scenarios.deepgram_hearing import DeepgramHearing, Listen, Transcribe
from offhook.testing.scenarios.free_hearing import WAITING_MAX, FreeHearing
from offhook.testing.scenarios.hearing import Hearing, NoWords
from offhook.testing.scenarios.own_server import OwnServer
from offhook.testing.scenarios.validation import Sight
from offhook.testing.scenarios.wire_hearing import WireHearing
from offhook.testing.scenarios.word_matching import AgentVocabulary
from offhook.testing.simulator.speech import installed
from offhook.testing.simulator.speech.answer_delays import AnswerDelays
from offhook.testing.simulator.speech.engines import SpeechToText

if TYPE_CHECKING:
    from offhook.testing.simulator.speech.free_speech import FreeRecogniser

Choice: TypeAlias = tuple[Sight, Callable[[str], Hearing]]
"""Sight of a call, and the function that makes a Hearing for a CallSid."""


def inside(own: OwnServer, call_sid: str) -> WireHearing:
    """Return a Hearing of a call on a server in this process."""
    heard = WireHearing(own.clock)
    own.watch(call_sid, heard)
    return heard


class Listeners:
    """Factory of Hearings.

    The order of preference: the messages of a server in this process; the local recogniser, if the
    agent's words are known; Deepgram, if there is a key; the local recogniser of free speech; no
    words.
    """

    def __init__(
        self,
        own: OwnServer | None,
        deepgram: Transcribe | None,
        group: asyncio.TaskGroup,
        recognisers: AsyncExitStack,
        delays: AnswerDelays | None,
    ) -> None:
        self._own = own
        self._deepgram = deepgram
        self._group = group
        self._recognisers = recognisers
        self._delays = delays
        self._free: FreeRecogniser | None = None
        self._by_dialogue: dict[AgentVocabulary, Callable[[], SpeechToText]] = {}

    @property
    def config(self) -> Config | None:
        """Configuration of the server within the rehearsal, or None."""
        return None if self._own is None else self._own.config

    async def choose(self, known: AgentVocabulary | None) -> Choice:
        """Choose the Hearing of a scenario's calls. Raises UserError E-EAR-… for a bad word."""
        own, deepgram, group = self._own, self._deepgram, self._group
        if own is not None:
            how = "taken from the wire, as the server in this process saw it"
            return Sight(how, words=True, inside=True), lambda sid: inside(own, sid)
        why = "there is no dialogue that tells the agent's words"
        missing_free_speech = installed.missing_free_speech()
        if known is not None:
            missing = installed.missing()
            if missing is None and installed.knows_vocabularies():
                how = "recognised in the caller's audio, by the words of the dialogue"
                speech_to_text = await self._speech_to_text(known)
                from offhook.testing.scenarios.local_hearing import LocalHearing

                sight = Sight(how, words=True, inside=False)
                return sight, lambda _: LocalHearing(speech_to_text())
            why = missing or ""
        if deepgram is not None:
            how = "transcribed by Deepgram from the caller's audio"
            sight = Sight(how, words=True, inside=False)
            return sight, lambda _: DeepgramHearing(deepgram, group)
        if missing_free_speech is None:
            how = "recognised in the caller's audio, as free speech"
            free = await self._free_recogniser()
            sight = Sight(how, words=True, inside=False)
            return sight, lambda _: FreeHearing(free.speech_to_text())
        how = f"There is no DEEPGRAM_API_KEY; {why}; for free speech, {missing_free_speech}"
        return Sight(how, words=False, inside=False), lambda _: NoWords()

    async def _speech_to_text(self, known: AgentVocabulary) -> Callable[[], SpeechToText]:
        """Return a factory of recognisers for a dialogue; its scenarios share the workers."""
        if known not in self._by_dialogue:
            from offhook.testing.simulator.speech.speech_to_text import recognising

            recogniser = await self._recognisers.enter_async_context(
                recognising(known.vocabulary, delays=self._delays)
            )
            self._by_dialogue[known] = recogniser.speech_to_text
        return self._by_dialogue[known]

    async def _free_recogniser(self) -> "FreeRecogniser":
        """Return the recogniser of free speech, which all calls share."""
        if self._free is None:
            from offhook.testing.simulator.speech.free_speech import recognising_freely

            self._free = await self._recognisers.enter_async_context(
                recognising_freely(at_once=True, waiting_max=WAITING_MAX, delays=self._delays)
            )
        return self._free


@asynccontextmanager
async def listeners(
    own: OwnServer | None, deepgram_key: str | None, delays: AnswerDelays | None = None
) -> AsyncIterator[Listeners]:
    """Open what the Hearings of a rehearsal need, and close it after all calls.

    `delays` are told how late the recognisers answer.
    """
    async with (
        AsyncExitStack() as recognisers,
        httpx2.AsyncClient(timeout=None) as http,
        asyncio.TaskGroup() as group,
    ):
        deepgram = None if deepgram_key is None else Listen(deepgram_key, http)
        yield Listeners(own, deepgram, group, recognisers, delays)
