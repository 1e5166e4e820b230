"""One utterance of the stand-in agent on its way out: texts, and audio faster than it plays.

Sentence by sentence, as seen in production (deepgram-voice-agent.md §3.2, §3.3): the text of one,
its audio at once, and the next when the one before it is about to have played.
"""

import functools
import re
from collections import deque
from collections.abc import Callable, Iterable
from itertools import cycle
from random import Random
from typing import Final

from offhook import audio
from offhook.clock import Clock, Timer
from offhook.rehearsal import clips
from offhook.rehearsal.script import Script

MAX_SENTENCES: Final = 100
"""Waiting in one utterance; what is appended beyond that is not said."""

_HUM_MS_PER_CHARACTER: Final = 60
_HUM_MAX_MS: Final = 20_000
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")


def sentences(text: str) -> list[str]:
    """`text` in the pieces in which it is spoken: whole where a clip says it, else by sentence."""
    whole = text.strip()
    if not whole:
        return []
    if clips.find(whole) is not None:
        return [whole]
    return _SENTENCE_END.split(whole, maxsplit=MAX_SENTENCES)


def spoken(sentence: str) -> bytes:
    """The sentence as mu-law audio: its clip, or a quiet hum for as long as the words take."""
    clip = clips.find(sentence)
    if clip is not None:
        return clips.load(clip)
    milliseconds = min(len(sentence) * _HUM_MS_PER_CHARACTER, _HUM_MAX_MS)
    size = milliseconds * audio.BYTES_PER_MS
    return (_noise() * (size // audio.BYTES_PER_SECOND + 1))[:size]


@functools.cache
def _noise() -> bytes:
    """A second of noise at -33 dBFS: mu-law of either sign, in the one segment."""
    random = Random(0)
    return bytes(
        random.choice((0x50, 0xD0)) + random.randrange(16) for _ in range(audio.BYTES_PER_SECOND)
    )


class Utterance:
    """Sends sentences through `say` and `play`, then calls `done`, once, unless it is dropped.

    `plays_from` is when the caller begins to hear it, at the earliest.
    """

    def __init__(
        self,
        script: Script,
        clock: Clock,
        say: Callable[[str], None],
        play: Callable[[bytes], None],
        done: Callable[[], None],
        *,
        plays_from: float,
        with_audio: bool,
    ) -> None:
        self._script = script
        self._clock = clock
        self._say = say
        self._play = play
        self._done = done
        self._with_audio = with_audio
        self._sizes = cycle(script.chunk_bytes)
        self._sentences: deque[str] = deque()
        self._audio = b""
        self._sent = 0
        self._timer: Timer | None = None
        self._held = False
        self._cut_off: float | None = None
        self.plays_until = plays_from
        """When a caller who hears every byte at once has heard it."""
        self.finished = False
        """Nothing more of it will be sent."""

    def start(self, texts: Iterable[str]) -> None:
        """Begin to speak."""
        self.append(texts)
        self._next_sentence()

    def append(self, texts: Iterable[str]) -> None:
        """Say this too, after the rest."""
        for text in texts:
            if len(self._sentences) < MAX_SENTENCES:
                self._sentences.append(text)

    @property
    def is_cut(self) -> bool:
        """Whether nothing more will be said, though audio may still come."""
        return self._cut_off is not None

    def cut(self) -> None:
        """Stop, but for the audio that is under way already (Script.late_audio_ms)."""
        now = self._clock.now()
        self.plays_until = now
        if self.finished:
            return
        self._sentences.clear()
        self._cut_off = now + self._script.late_audio_ms / 1000
        if self._sent >= len(self._audio):
            self._finish()

    def replace(self) -> None:
        """Stop at once, and be done."""
        self.plays_until = min(self.plays_until, self._clock.now())
        if not self.finished:
            self._finish()

    def drop(self) -> None:
        """Stop at once, and never be done."""
        self.finished = True
        self._cancel()

    def hold(self, held: bool) -> None:
        """Send no audio while the client reads too slowly; go on when it has caught up."""
        self._held = held
        if not held and self._timer is None and not self.finished:
            self._send_audio()

    def _next_sentence(self) -> None:
        self._timer = None
        if not self._sentences:
            self._finish()
            return
        sentence = self._sentences.popleft()
        self._audio = spoken(sentence) if self._with_audio else b""
        self._sent = 0
        self.plays_until = (
            max(self.plays_until, self._clock.now()) + len(self._audio) / audio.BYTES_PER_SECOND
        )
        self._say(sentence)
        if not self.finished:
            self._send_audio()

    def _send_audio(self) -> None:
        """Send one chunk and come back when it is time for the next."""
        self._timer = None
        now = self._clock.now()
        if self._cut_off is not None and now >= self._cut_off:
            self._finish()
            return
        if self._held:
            return
        chunk = self._audio[self._sent : self._sent + next(self._sizes)]
        if chunk:
            self._sent += len(chunk)
            self._play(chunk)
            if self.finished:
                return
        if self._sent < len(self._audio):
            pause = len(chunk) / audio.BYTES_PER_SECOND / self._script.speed
            self._timer = self._clock.call_at(now + pause, self._send_audio)
        elif self._sentences:
            release = self.plays_until - self._script.lead_ms / 1000
            self._timer = self._clock.call_at(max(release, now), self._next_sentence)
        else:
            self._finish()

    def _finish(self) -> None:
        self.finished = True
        self._cancel()
        self._done()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
