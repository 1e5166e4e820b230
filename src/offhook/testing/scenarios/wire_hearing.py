"""What a caller heard, taken from the two wires of a server that runs in this process.

Deepgram says each sentence as text before it sends its audio, and the server passes the audio on to
Twilio, which plays it. So the sentences queue up for the line as their audio does, and it is known
when each was played and which of it a `clear` threw away. How far a cut sentence was heard is
counted in its words, as if all were equally long: an estimate.
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
"""Wall-clock seconds that the server has, after a call, to say how it ended."""

_OVERLAP_S: Final = 0.05
"""What a sentence and a stretch have in common, at least, if the one is heard in the other."""


@dataclass(slots=True, eq=False)
class _Sentence:
    text: str
    received: int = 0
    """Bytes of its audio that came from the agent."""
    spoken: int = 0
    """Those up to the last that is no silence."""
    queued: int = 0
    """Those of them that were not passed on yet."""
    began: float | None = None
    ended: float = 0.0
    cut_at: float | None = None
    heard_in: list[Stretch] = field(default_factory=list)
    """In order: a sentence with a pause in it is heard in two."""

    @property
    def until(self) -> float:
        """When its last sound has played."""
        began = float("-inf") if self.began is None else self.began
        return min(self.ended, began + self.spoken / audio.BYTES_PER_SECOND)

    def is_in(self, stretch: Stretch) -> bool:
        """Whether it is heard in that stretch."""
        if self.began is None:
            return False
        until = min(self.until, stretch.ended)
        return until - max(self.began, stretch.began) >= _OVERLAP_S

    def add(self, stretch: Stretch) -> None:
        """Note that it is heard there, if it is."""
        if self.is_in(stretch) and stretch not in self.heard_in:
            self.heard_in.append(stretch)
            self.heard_in.sort(key=lambda one: one.began)

    def words_in(self, stretch: Stretch, now: float) -> str:
        """Its words that were heard in that stretch, as far as it has gone."""
        words = self.text.split()
        index = self.heard_in.index(stretch)
        first = self._place(self.heard_in[index - 1].ended, len(words)) if index else 0
        # What follows a stretch may be another, until the sentence is nearly over.
        rest = self.until - stretch.ended < PAUSE_S or now >= self.until
        if self.cut_at is None and stretch.over and stretch is self.heard_in[-1] and rest:
            return " ".join(words[first:])
        return " ".join(words[first : self._place(stretch.ended, len(words))])

    def _place(self, at: float, words: int) -> int:
        """How many of its words had been played at that time."""
        length = self.spoken / audio.BYTES_PER_SECOND
        if self.began is None or not length:
            return 0
        part = (min(at, self.ended) - self.began) / length
        return min(words, max(0, int(part * words + 0.5)))


class _OfOurs(msgspec.Struct):
    """As much as matters of what the server says to the agent."""

    type: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class TakenFor:
    """What the agent took a turn of the caller's for."""

    at: float
    text: str


class WireHearing:
    """A tap.Tap on one call, and a Hearing of it."""

    def __init__(self, clock: Clock) -> None:
        self.ending: ServersEnding | None = None
        self.taken_for: list[TakenFor] = []
        self._now = clock.now
        self.ended: Final = asyncio.Event()
        """Set when the call is over for the server."""
        self._sentences: list[_Sentence] = []
        self._queue = deque[_Sentence]()
        """Those of whose audio some is still to be passed on, or to come."""
        self._plays_until = float("-inf")
        self._functions: dict[str, SeenFunctionCall] = {}

    # --- tap.Tap ---

    def on_wire(self, message: OnWire) -> None:
        """Take a message of either wire."""
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
        """Note that the server's call is over."""
        if ending is not None:
            self.ending = ServersEnding(ending.how.slug, ending.how.fault)
        self.ended.set()

    def _read(self, text: bytes) -> None:
        try:
            message = messages.read(text)
        except messages.MalformedAgentMessageError:
            return
        match message:
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

    def _answer(self, text: bytes) -> None:
        """Read what we say to the agent: of interest are answers to its functions."""
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
        """Find out what was heard in it."""
        for sentence in self._sentences:
            sentence.add(stretch)

    def words(self, stretch: Stretch) -> str | None:
        """Return the sentences that were played in a stretch; of one that is playing, what was."""
        now = self._now()
        self.over(stretch)  # of one that is not, so far
        said = [one.words_in(stretch, now) for one in self._sentences if stretch in one.heard_in]
        return " ".join(filter(None, said))

    def functions(self) -> Sequence[SeenFunctionCall]:
        """All of them."""
        return tuple(self._functions.values())

    async def finish(self) -> None:
        """Wait until the call is over for the server too."""
        await until_over(self.ended)


async def until_over(ended: asyncio.Event) -> None:
    """Wait for the server's end of a call, but not for long: it may never have known of it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            await ended.wait()


def _arguments(text: str) -> dict[str, Any]:
    """Parse a function's arguments; none, if they are not what JSON calls an object."""
    try:
        arguments = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, ValueError):
        return {}
    return arguments if isinstance(arguments, dict) else {}
