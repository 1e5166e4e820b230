"""Sending of one utterance of the stand-in agent: texts, and audio faster than it plays.

An utterance is sent sentence by sentence, as Deepgram does in production (deepgram.md §3.2, §3.3):
the text of a sentence, then its audio, and the next sentence shortly before the previous one has
played.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable
from itertools import cycle
from typing import Final

from offhook import audio
from offhook.clock import Clock, Timer
from offhook.testing.simulator.deepgram.script import Conduct
from offhook.testing.simulator.speech import clips
from offhook.testing.simulator.speech.engines import SpeechHandle, TextToSpeech

MAX_SENTENCES: Final = 100
"""Sentences that may wait in one utterance; further ones are not said."""

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")


def sentences(text: str) -> list[str]:
    """Split `text` into sentences, or return it whole if a recorded clip says all of it."""
    whole = text.strip()
    if not whole:
        return []
    if clips.find(whole) is not None:
        return [whole]
    return _SENTENCE_END.split(whole, maxsplit=MAX_SENTENCES)


class StandInUtterance:
    """Utterance that is sent through `say` and `play`.

    `done` is called once at its end, unless it is dropped. `plays_from` is the earliest time at
    which the caller begins to hear it. Until `close`, more text may be appended and the utterance
    does not end.
    """

    def __init__(
        self,
        conduct: Conduct,
        clock: Clock,
        voice: TextToSpeech | None,
        say: Callable[[str], None],
        play: Callable[[bytes], None],
        done: Callable[[], None],
        *,
        plays_from: float,
    ) -> None:
        """Set the callbacks. Without a `voice`, only text is sent."""
        self._conduct = conduct
        self._clock = clock
        self._voice = voice
        self._say = say
        self._play = play
        self._done = done
        self._sizes = cycle(conduct.chunk_bytes)
        self._sentences: deque[str] = deque()
        self._speaking: SpeechHandle | None = None
        self._making = False
        """True while the voice synthesises the current sentence."""
        self._audio = bytearray()
        """Audio of the current sentence that has been synthesised but not sent."""
        self._played: deque[_Played] = deque(maxlen=MAX_SENTENCES)
        self._timer: Timer | None = None
        self._held = False
        self._closed = False
        self._cut_off: float | None = None
        self.plays_until = plays_from
        """Time at which a caller who hears every byte without delay has heard all audio."""
        self.finished = False
        """True once nothing more of the utterance will be sent."""
        self.cut_short = False
        """True if the utterance finished before all of it was sent."""

    def append(self, texts: Iterable[str]) -> None:
        """Append sentences. Sentences beyond MAX_SENTENCES are not said."""
        for text in texts:
            if len(self._sentences) < MAX_SENTENCES:
                self._sentences.append(text)
        if self._is_idle():
            self._next_sentence()

    def close(self) -> None:
        """Mark the utterance as complete, so that it ends when all of it is sent."""
        self._closed = True
        if self._is_idle():
            self._finish()

    @property
    def is_cut(self) -> bool:
        """True once the utterance was cut, though late audio may still be sent."""
        return self._cut_off is not None

    def heard(self) -> str:
        """Return the whole words that a caller who hears every byte without delay has heard."""
        now = self._clock.now()
        texts = []
        for played in self._played:
            if played.until <= now:
                texts.append(played.text)
            elif played.begins < now:
                words = played.text.split()
                share = (now - played.begins) / (played.until - played.begins)
                texts.append(" ".join(words[: int(share * len(words))]))
        return " ".join(filter(None, texts))

    def cut(self) -> None:
        """Stop the utterance; audio is still sent for Conduct.late_audio_ms."""
        now = self._clock.now()
        self.plays_until = now
        if self.finished:
            return
        self._sentences.clear()
        self._hush()
        self._cut_off = now + self._conduct.late_audio_ms / 1000
        if not self._audio:
            self._finish()

    def replace(self) -> None:
        """Stop the utterance at once, and call `done`."""
        self.plays_until = min(self.plays_until, self._clock.now())
        if not self.finished:
            self._finish()

    def drop(self) -> None:
        """Stop the utterance at once, without calling `done`."""
        self.finished = True
        self._cancel()

    def hold(self, held: bool) -> None:
        """Send no audio while `held`, because the client reads too slowly."""
        self._held = held
        if not held and self._timer is None and not self.finished:
            self._send_audio()

    def _is_idle(self) -> bool:
        """Return True if no sentence is being synthesised or sent."""
        at_work = self._making or self._audio or self._timer is not None or self.finished
        return not at_work and not self._held

    def _next_sentence(self) -> None:
        self._timer = None
        if not self._sentences:
            if self._closed:
                self._finish()
            return
        sentence = self._sentences.popleft()
        self._played.append(_Played(sentence, self.plays_until, self.plays_until))
        self._making = self._voice is not None
        self._say(sentence)
        if self.finished:
            return
        if self._voice is None:
            self._after_sentence()
            return
        speaking = self._voice.speak(sentence, self._made, self._all_made)
        if self._making:
            self._speaking = speaking
        if not self._goes_on():
            # Audio that was sent within `speak` ended the utterance.
            speaking.cancel()

    def _goes_on(self) -> bool:
        return not self.finished and self._cut_off is None

    def _made(self, sound: bytes) -> None:
        """Take a piece of audio of the current sentence from the voice."""
        if not self._goes_on():
            return
        played = self._played[-1]
        begins = max(self.plays_until, self._clock.now())
        if played.begins == played.until:
            played.begins = begins
        played.until = self.plays_until = begins + len(sound) / audio.BYTES_PER_SECOND
        self._audio += sound
        if self._timer is None:
            self._send_audio()

    def _all_made(self) -> None:
        self._making = False
        self._speaking = None
        if not self._audio and self._timer is None and not self.finished and not self._held:
            self._after_sentence()

    def _send_audio(self) -> None:
        """Send one chunk, and set the timer for the next."""
        self._timer = None
        now = self._clock.now()
        if self._cut_off is not None and now >= self._cut_off:
            self._finish()
            return
        if self._held:
            return
        size = min(next(self._sizes), len(self._audio))
        chunk = bytes(self._audio[:size])
        if chunk:
            del self._audio[:size]
            self._play(chunk)
            if self.finished:
                return
        if self._audio or (chunk and self._making):
            pause = len(chunk) / audio.BYTES_PER_SECOND / self._conduct.speed
            self._timer = self._clock.call_at(now + pause, self._send_audio)
        elif not self._making:
            self._after_sentence()

    def _after_sentence(self) -> None:
        """Continue after all of the current sentence has been sent."""
        if self.is_cut:
            self._finish()
        elif self._sentences:
            release = self.plays_until - self._conduct.lead_ms / 1000
            self._timer = self._clock.call_at(max(release, self._clock.now()), self._next_sentence)
        elif self._closed:
            self._finish()

    def _finish(self) -> None:
        self.finished = True
        self.cut_short = self.is_cut or bool(self._sentences or self._audio or self._making)
        self._cancel()
        self._done()

    def _cancel(self) -> None:
        self._hush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hush(self) -> None:
        """Stop the synthesis of the current sentence."""
        self._making = False
        if self._speaking is not None:
            self._speaking.cancel()
            self._speaking = None


class _Played:
    """Sentence with the times at which a caller begins and ceases to hear its audio so far."""

    def __init__(self, text: str, begins: float, until: float) -> None:
        self.text = text
        self.begins = begins
        self.until = until
