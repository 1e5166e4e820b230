"""What a caller heard, taken from the two wires of a server that runs in this process.

Deepgram says each sentence as text before it sends its audio, and the server passes the audio on to
Twilio, which plays it. So the sentences queue up for the line as their audio does, and it is known
when each was played and which of it a `clear` threw away. How far a cut sentence was heard is
counted in its words, as if all were equally long: an estimate.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from offhook import audio
from offhook.call.ending import Ending
from offhook.clock import Clock
from offhook.deepgram import messages
from offhook.rehearsal.hearing import FunctionCalled, Stretch
from offhook.rehearsal.trial.judge import ServersEnding
from offhook.tap import OnWire
from offhook.twilio import media

_SLACK_S: Final = 0.1
"""How much earlier a sentence may be heard than we think that it is played."""


@dataclass(slots=True, eq=False)
class _Sentence:
    text: str
    received: int = 0
    """Bytes of its audio that came from the agent."""
    queued: int = 0
    """Those of them that were not passed on yet."""
    began: float | None = None
    ended: float = 0.0
    cut_at: float | None = None
    heard_in: Stretch | None = None

    def heard_until(self, now: float) -> str:
        """The words that had been heard at that time."""
        words = self.text.split()
        if self.began is None:
            return ""
        until = now if self.cut_at is None else min(self.cut_at, now)
        length = self.received / audio.BYTES_PER_SECOND
        if self.cut_at is None and now >= self.ended:
            return self.text
        part = (until - self.began) / length if length else 0.0
        return " ".join(words[: max(0, int(part * len(words) + 0.5))])


@dataclass(frozen=True, slots=True)
class TakenFor:
    """What the agent took a turn of the caller's for."""

    at: float
    text: str


class FromTheWire:
    """A tap.Tap on one call, and a Hearing of it.

    `ended` is called when the call is over for the server.
    """

    def __init__(self, clock: Clock, ended: Callable[[], None] = lambda: None) -> None:
        self.ending: ServersEnding | None = None
        self.taken_for: list[TakenFor] = []
        self._now = clock.now
        self._on_end = ended
        self._sentences: list[_Sentence] = []
        self._queue = deque[_Sentence]()
        """Those of whose audio some is still to be passed on, or to come."""
        self._plays_until = float("-inf")
        self._functions: dict[str, FunctionCalled] = {}

    # --- tap.Tap ---

    def on_wire(self, message: OnWire) -> None:
        """A message of either wire."""
        if message.leg == "agent" and message.direction == "in":
            if message.kind == "binary":
                self._receive(len(message.data))
            elif message.kind == "text":
                self._read(message.data)
        elif message.leg == "caller" and message.direction == "out" and message.kind == "text":
            self._pass_on(message.data)

    def on_ended(self, ending: Ending | None) -> None:
        """The server's call is over."""
        if ending is not None:
            self.ending = ServersEnding(ending.how.slug, ending.how.fault)
        self._on_end()

    def _read(self, text: bytes) -> None:
        try:
            message = messages.read(text)
        except messages.BadMessage:
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
                    self._functions[call.id] = FunctionCalled(self._now(), call.name, arguments)
            case messages.FunctionCallCancelled():
                for cancelled in message.functions:
                    self._functions.pop(cancelled.id, None)
            case _:
                pass

    def _receive(self, size: int) -> None:
        if self._queue and self._queue[-1].cut_at is None:
            self._queue[-1].received += size
            self._queue[-1].queued += size

    def _pass_on(self, text: bytes) -> None:
        try:
            message = media.read_ours(text)
        except media.BadMessage:
            return
        if isinstance(message, media.Clear):
            self._cut()
        elif isinstance(message, media.Play):
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
            if sentence.cut_at is None and (sentence.began is None or sentence.ended > now):
                sentence.cut_at = now
                sentence.ended = min(sentence.ended, now)
        self._queue.clear()
        self._plays_until = now

    # --- hearing.Hearing ---

    def over(self, stretch: Stretch) -> None:
        """Nothing has to be transcribed."""

    def words(self, stretch: Stretch) -> str | None:
        """The sentences that began to be played in it; of one that is playing, what was."""
        said = []
        for one in self._sentences:
            begins = one.heard_in is None and one.began is not None and one.ended > stretch.began
            if begins and one.began is not None and one.began - _SLACK_S < stretch.ended:
                one.heard_in = stretch
            if one.heard_in is stretch:
                now = float("inf") if stretch.over else stretch.ended
                said.append(one.heard_until(now))
        return " ".join(filter(None, said))

    def functions(self) -> Sequence[FunctionCalled]:
        """Those that were not called off."""
        return tuple(self._functions.values())


def _arguments(text: str) -> dict[str, Any]:
    """A function's arguments; none, if they are not what JSON calls an object."""
    try:
        arguments = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, ValueError):
        return {}
    return arguments if isinstance(arguments, dict) else {}
