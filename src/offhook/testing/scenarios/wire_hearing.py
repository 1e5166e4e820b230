"""Words that a caller hears, taken from both connections of a server in this process.

Deepgram sends each sentence as text before its audio, and the server passes the audio on to Twilio,
which plays it. The sentences are queued as their audio is, so the time at which each was played is
known, and so is the part that a `clear` discarded. The words heard of a cut sentence are an
estimate, as if all words were equally long.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from offhook import audio
from offhook.call.ending import Ending
from offhook.capture.tap import OnWire
from offhook.clock import Clock
from offhook.deepgram import messages
from offhook.testing.scenarios.hearing import PAUSE_S, SeenFunctionCall, Stretch
from offhook.testing.scenarios.judge import ServersEnding
from offhook.testing.simulator.speech.levels import SILENT
from offhook.twilio import messages as media

SETTLE_S: Final = 5.0
"""Wall-clock seconds that the server has, after a call, to report its ending."""

_OVERLAP_S: Final = 0.05
"""Seconds that a sentence and a stretch must overlap for the sentence to be heard in it."""


@dataclass(slots=True, eq=False)
class _Sentence:
    text: str
    received: int = 0
    """Bytes of audio received from the agent."""
    spoken: int = 0
    """Bytes of audio received, without silence at the end."""
    queued: int = 0
    """Bytes of audio received that are not passed on to Twilio yet."""
    began: float | None = None
    ended: float = 0.0
    cut_at: float | None = None
    heard_in: list[Stretch] = field(default_factory=list)
    """Stretches in order of time; a sentence with a pause in it is heard in two."""

    @property
    def until(self) -> float:
        """Time at which the last sound of the sentence has played."""
        began = float("-inf") if self.began is None else self.began
        return min(self.ended, began + self.spoken / audio.BYTES_PER_SECOND)

    def is_in(self, stretch: Stretch) -> bool:
        """Return True if the sentence is heard in the stretch."""
        if self.began is None:
            return False
        until = min(self.until, stretch.ended)
        return until - max(self.began, stretch.began) >= _OVERLAP_S

    def add(self, stretch: Stretch) -> None:
        """Add the stretch to `heard_in`, if the sentence is heard in it."""
        if self.is_in(stretch) and stretch not in self.heard_in:
            self.heard_in.append(stretch)
            self.heard_in.sort(key=lambda one: one.began)

    def words_in(self, stretch: Stretch, now: float) -> str:
        """Return the words of the sentence that were heard in the stretch so far."""
        words = self.text.split()
        index = self.heard_in.index(stretch)
        first = self._place(self.heard_in[index - 1].ended, len(words)) if index else 0
        # Another stretch may follow with the rest, until the sentence is nearly over.
        rest = self.until - stretch.ended < PAUSE_S or now >= self.until
        if self.cut_at is None and stretch.over and stretch is self.heard_in[-1] and rest:
            return " ".join(words[first:])
        return " ".join(words[first : self._place(stretch.ended, len(words))])

    def _place(self, at: float, words: int) -> int:
        """Return the number of words, of `words` in all, that had been played at `at`."""
        length = self.spoken / audio.BYTES_PER_SECOND
        if self.began is None or not length:
            return 0
        part = (min(at, self.ended) - self.began) / length
        return min(words, max(0, int(part * words + 0.5)))


class _OfOurs(msgspec.Struct):
    """Fields needed of the server's messages to the agent."""

    type: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class TakenFor:
    """A turn of the caller as the agent recognised it."""

    at: float
    text: str


class WireHearing:
    """A tap.Tap on one call that is also its Hearing."""

    def __init__(self, clock: Clock) -> None:
        self.ending: ServersEnding | None = None
        self.taken_for: list[TakenFor] = []
        self._now = clock.now
        self.ended: Final = asyncio.Event()
        """Event that is set when the call is over for the server."""
        self._sentences: list[_Sentence] = []
        self._queue = deque[_Sentence]()
        """Sentences with audio still to be received or passed on."""
        self._plays_until = float("-inf")
        self._functions: dict[str, SeenFunctionCall] = {}
        self.request_ids: Final = set[str]()
        """Request ids of the call's agent sessions."""

    # --- tap.Tap ---

    def on_wire(self, message: OnWire) -> None:
        """Take a message of either connection."""
        if message.leg == "agent" and message.direction == "in":
            if message.kind == "binary":
                self._receive(message.data)
            elif message.kind == "text":
                self._read(message.data)
        elif message.leg == "agent" and message.kind == "text":
            self._answer(message.data)
        elif message.leg == "caller" and message.direction == "out" and message.kind == "text":
            self._pass_on(message.data)

    def on_ended(self, ending: Ending | None) -> None:
        """Keep the call's ending, and set `ended`."""
        if ending is not None:
            self.ending = ServersEnding(ending.how.slug, ending.how.fault)
        self.ended.set()

    def _read(self, text: bytes) -> None:
        try:
            message = messages.read(text)
        except messages.MalformedAgentMessageError:
            return
        match message:
            case messages.Welcome():
                self.request_ids.add(message.request_id)
                self._forget_unplayed()
            case messages.ConversationText(role="assistant"):
                sentence = _Sentence(message.content)
                self._sentences.append(sentence)
                self._queue.append(sentence)
            case messages.ConversationText():
                self.taken_for.append(TakenFor(self._now(), message.content))
            case messages.FunctionCallRequest():
                for call in message.functions:
                    arguments = _arguments(call.arguments)
                    self._functions[call.id] = SeenFunctionCall(self._now(), call.name, arguments)
            case messages.FunctionCallCancelled():
                for cancelled in message.functions:
                    if cancelled.id in self._functions:
                        called = self._functions[cancelled.id]
                        self._functions[cancelled.id] = replace(called, called_off=True)
            case _:
                pass

    def _forget_unplayed(self) -> None:
        """Forget sentences that the server held back, as their session was lost before the stream.

        All other audio is passed on as it comes.
        """
        for sentence in [one for one in self._queue if one.received and one.began is None]:
            self._queue.remove(sentence)
            sentence.cut_at = self._now()

    def _answer(self, text: bytes) -> None:
        """Take a message to the agent, and mark the function call that it answers."""
        try:
            message = msgspec.json.decode(text, type=_OfOurs)
        except msgspec.DecodeError:
            return
        if message.type == "FunctionCallResponse" and message.id in self._functions:
            self._functions[message.id] = replace(self._functions[message.id], answered=True)

    def _receive(self, data: bytes) -> None:
        if self._queue and self._queue[-1].cut_at is None:
            sentence = self._queue[-1]
            sound = len(data.rstrip(SILENT))
            if sound:
                sentence.spoken = sentence.received + sound
            sentence.received += len(data)
            sentence.queued += len(data)

    def _pass_on(self, text: bytes) -> None:
        try:
            message = media.read_ours(text)
        except media.MalformedTwilioMessageError:
            return
        if isinstance(message, media.Clear):
            self._cut()
        elif isinstance(message, media.PlayMessage):
            self._play(len(message.media.payload))

    def _play(self, size: int) -> None:
        begins = max(self._now(), self._plays_until)
        while size > 0 and self._queue:
            sentence = self._queue[0]
            if sentence.queued == 0:
                if len(self._queue) == 1:
                    break
                self._queue.popleft()
                continue
            if sentence.began is None:
                sentence.began = begins
            part = min(size, sentence.queued)
            sentence.queued -= part
            size -= part
            begins += part / audio.BYTES_PER_SECOND
            sentence.ended = begins
        self._plays_until = begins + size / audio.BYTES_PER_SECOND

    def _cut(self) -> None:
        now = self._now()
        for sentence in self._sentences:
            if sentence.cut_at is None and (sentence.began is None or sentence.until > now):
                sentence.cut_at = now
                sentence.ended = min(sentence.ended, now)
        self._queue.clear()
        self._plays_until = now

    # --- hearing.Hearing ---

    def over(self, stretch: Stretch) -> None:
        """Assign the sentences that were heard in the stretch."""
        for sentence in self._sentences:
            sentence.add(stretch)

    def words(self, stretch: Stretch) -> str | None:
        """Return the words that were played in a stretch so far."""
        now = self._now()
        self.over(stretch)  # also assigns sentences to a stretch that is not over
        said = [one.words_in(stretch, now) for one in self._sentences if stretch in one.heard_in]
        return " ".join(filter(None, said))

    def functions(self) -> Sequence[SeenFunctionCall]:
        """Return all function calls of the agent, also cancelled ones."""
        return tuple(self._functions.values())

    async def finish(self) -> None:
        """Wait until the call is over for the server too, at most SETTLE_S seconds."""
        await until_over(self.ended)


async def until_over(ended: asyncio.Event) -> None:
    """Wait at most SETTLE_S seconds for `ended`: the server may not know of the call."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            await ended.wait()


def _arguments(text: str) -> dict[str, Any]:
    """Return a function's arguments; an empty dict if they are not a JSON object."""
    try:
        arguments = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, ValueError):
        return {}
    return arguments if isinstance(arguments, dict) else {}
