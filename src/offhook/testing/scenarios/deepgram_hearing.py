"""Transcription of the agent's speech by Deepgram, for each stretch that a caller hears."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import httpx2
import msgspec

from offhook.errors import UserError
from offhook.testing.scenarios.hearing import PendingWords, Stretch

Transcribe: TypeAlias = Callable[[bytes], Awaitable[str]]
"""Function that transcribes mu-law audio. Raises UserError on failure."""

LISTEN_URL: Final = "https://api.deepgram.com/v1/listen"
_QUERY: Final = {"model": "nova-3", "encoding": "mulaw", "sample_rate": "8000"}
_LISTEN_S: Final = 20.0


class DeepgramHearing(PendingWords):
    """A Hearing of one call, by transcription. `group` owns the pending requests."""

    def __init__(self, transcribe: Transcribe, group: asyncio.TaskGroup) -> None:
        super().__init__()
        self.problem: UserError | None = None
        """Error of the last transcription that failed, if any."""
        self._transcribe = transcribe
        self._group = group

    def over(self, stretch: Stretch) -> None:
        """Begin to transcribe the stretch."""
        self._begin()
        self._group.create_task(self._make_words(stretch), name="transcription")

    async def finish(self) -> None:
        """Wait for all transcriptions. Raises the UserError of a failed one."""
        await super().finish()
        if self.problem is not None:
            raise self.problem

    async def _make_words(self, stretch: Stretch) -> None:
        try:
            self._texts[stretch] = await self._transcribe(bytes(stretch.audio))
        except UserError as problem:
            self.problem = problem
        finally:
            self._end()


class Listen:
    """Client of Deepgram's API for recorded audio: a Transcribe."""

    def __init__(self, key: str, http: httpx2.AsyncClient, url: str = LISTEN_URL) -> None:
        self._headers: Final = {
            "Authorization": f"Token {key}",
            "Content-Type": "application/octet-stream",
        }
        self._http = http
        self._url = url

    async def __call__(self, audio: bytes) -> str:
        """Return the transcript of mu-law audio. Raises UserError E-SCENARIO-04."""
        try:
            async with asyncio.timeout(_LISTEN_S):
                response = await self._http.post(
                    self._url, params=_QUERY, headers=self._headers, content=audio
                )
        except (httpx2.HTTPError, TimeoutError) as error:
            raise _failed(str(error) or f"no answer within {_LISTEN_S:g} s") from None
        if response.status_code != 200:
            raise _failed(f"it answered {response.status_code}")
        try:
            return msgspec.json.decode(response.content, type=_Answer).text
        except (msgspec.DecodeError, msgspec.ValidationError, IndexError):
            raise _failed("its answer is no transcript") from None


class _Alternative(msgspec.Struct):
    transcript: str


class _Channel(msgspec.Struct):
    alternatives: list[_Alternative]


class _Results(msgspec.Struct):
    channels: list[_Channel]


class _Answer(msgspec.Struct):
    results: _Results

    @property
    def text(self) -> str:
        return self.results.channels[0].alternatives[0].transcript


def _failed(why: str) -> UserError:
    return UserError(
        "E-SCENARIO-04",
        f"Deepgram did not transcribe what was heard: {why}.",
        "Check DEEPGRAM_API_KEY, or name the agent's dialogue in the scenario.",
    )
