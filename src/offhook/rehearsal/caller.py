"""The person who calls: takes the steps of a scenario in time with the call, and measures.

A caller knows only what comes out of the telephone: every 20 ms it hears 20 ms and says 20 ms.
"""

import random
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final

from offhook import audio, wav
from offhook.rehearsal.scenario import BargeIn, Step, WaitForAgent
from offhook.rehearsal.stream import Line

PAUSE_S: Final = 0.4
"""Silence, in seconds, after which the agent is no longer taken to be speaking."""

KEY_MS: Final = 200
"""From one key to the next."""

_FRAME_S: Final = audio.FRAME_MS / 1000
_EPSILON: Final = 1e-6
"""Seconds: far less than a sample, far more than the rounding of a clock's float."""

_SPEECH_FLOOR: Final = 150
"""Mean magnitude, in 16-bit steps, of the quietest frame that is speech: -47 dBFS."""

_MAGNITUDES: Final = tuple(
    (((~sample & 0x0F) << 3) + 132 << (~sample >> 4 & 7)) - 132 for sample in range(256)
)
"""Of each mu-law byte, in 16-bit steps (G.711)."""

_SILENT: Final = b"\xff\x7f"
"""Both zeros of mu-law."""


def is_speech(frame: bytes) -> bool:
    """Whether a frame is louder than the noise of a quiet line."""
    return sum(map(_MAGNITUDES.__getitem__, frame)) >= _SPEECH_FLOOR * len(frame)


@dataclass(slots=True)
class Said:
    """One thing that the caller said. Times are the clock's, in seconds; None: it never came."""

    text: str
    barge_in: bool
    began: float | None = None
    """When the first frame of speech was sent: silence at a recording's start does not count."""
    ended: float | None = None
    """When the last frame of speech was sent."""
    answered: float | None = None
    """When the agent became audible after that."""
    agent_silent: float | None = None
    """When the agent, who was speaking as the caller began, was last audible."""

    @property
    def time_to_answer(self) -> float | None:
        """Seconds from the end of the caller's speech to the agent's first sound."""
        if self.ended is None or self.answered is None:
            return None
        return self.answered - self.ended

    @property
    def time_to_silence(self) -> float | None:
        """Seconds from the caller's first frame of speech until the agent was interrupted.

        0 if a caller barged in between two words that were never followed by another.
        """
        if self.began is None or self.agent_silent is None:
            return None
        return max(0.0, self.agent_silent - self.began)


class Caller:
    """A stream's Party, on all streams of one call. `voice` finds the recording of a text."""

    def __init__(
        self,
        steps: Sequence[Step],
        voice: Callable[[str], bytes],
        *,
        noise_dbfs: float | None = None,
    ) -> None:
        self.said: list[Said] = []
        self.failed: list[str] = []
        """Steps that waited in vain, in words."""
        self._clips = {step.text: voice(step.text) for step in steps if step.text is not None}
        self._silence = _line_noise(noise_dbfs)
        self._frames = self._take(steps)
        self._line: Line
        self._now = 0.0
        # Of the agent: when it was last audible, when its present turn became so, whether it has
        # spoken since the caller's last turn, and whether it is still the caller who interrupts.
        self._heard_until = float("-inf")
        self._agent_began: float | None = None
        self._agent_spoke = False
        self._interrupting = False

    def next_frame(self, line: Line, heard: bytes, now: float) -> bytes:
        """Hear 20 ms, say 20 ms; press a key or hang up if it is time (stream.Party)."""
        self._line = line
        self._now = now
        if is_speech(heard):
            self._hear(heard)
        return next(self._frames)

    # --- hearing ---

    def _hear(self, heard: bytes) -> None:
        begin = self._now - _FRAME_S
        since = begin + (len(heard) - len(heard.lstrip(_SILENT))) / audio.BYTES_PER_SECOND
        until = begin + len(heard.rstrip(_SILENT)) / audio.BYTES_PER_SECOND
        new_turn = since - self._heard_until >= PAUSE_S
        if new_turn or self._agent_began is None:
            self._agent_began = since
        self._agent_spoke = True
        self._heard_until = until
        if new_turn:
            self._interrupting = False
        if not self.said:
            return
        said = self.said[-1]
        if self._interrupting:
            said.agent_silent = until
        elif said.ended is not None and said.answered is None:
            said.answered = max(since, said.ended)

    # --- doing ---

    def _take(self, steps: Sequence[Step]) -> Iterator[bytes]:
        """The frames that the caller sends, each made at its time."""
        for number, step in enumerate(steps, 1):
            if step.say is not None:
                yield from self._say(step.say, barge_in=False)
            elif step.barge_in is not None:
                yield from self._barge_in(number, step.barge_in)
            elif step.wait_for_agent is not None:
                yield from self._wait_for_agent(number, step.wait_for_agent)
            elif step.press is not None:
                yield from self._press(step.press)
            elif step.wait is not None:
                yield from self._wait(step.wait)
            else:
                self._line.hang_up()
                break
        yield from self._silence

    def _say(self, text: str, *, barge_in: bool) -> Iterator[bytes]:
        clip = self._clips[text]
        clip += audio.SILENCE * (-len(clip) % audio.FRAME_BYTES)
        frames = [clip[i : i + audio.FRAME_BYTES] for i in range(0, len(clip), audio.FRAME_BYTES)]
        speech = [index for index, frame in enumerate(frames) if is_speech(frame)]
        said = Said(text, barge_in)
        self._interrupting = False
        self.said.append(said)
        for index, frame in enumerate(frames):
            if speech and index == speech[0]:
                said.began = self._now + _FRAME_S
                self._interrupting = self._now - self._heard_until < PAUSE_S
                if self._interrupting and barge_in:
                    said.agent_silent = self._heard_until
            yield frame
            if speech and index == speech[-1]:
                said.ended = self._now
                self._forget_agent()

    def _barge_in(self, number: int, step: BargeIn) -> Iterator[bytes]:
        limit = self._now + step.timeout
        if self._now - self._heard_until >= PAUSE_S:
            self._agent_began = None
        while (
            self._agent_began is None
            or self._now - self._agent_began < step.after_ms / 1000 - _EPSILON
        ):
            if self._agent_began is None and self._now >= limit:
                self._fail(number, f"the agent did not begin to speak within {step.timeout:g} s")
                return
            yield next(self._silence)
        yield from self._say(step.say, barge_in=True)

    def _wait_for_agent(self, number: int, step: WaitForAgent) -> Iterator[bytes]:
        limit = self._now + step.timeout
        while (
            not self._agent_spoke or self._now - self._heard_until < step.quiet_ms / 1000 - _EPSILON
        ):
            if self._now >= limit:
                did_not = "finish" if self._agent_spoke else "speak"
                self._fail(number, f"the agent did not {did_not} within {step.timeout:g} s")
                return
            yield next(self._silence)
        self._forget_agent()

    def _press(self, keys: str) -> Iterator[bytes]:
        self._forget_agent()
        for key in keys:
            self._line.press(key)
            yield from self._wait(KEY_MS / 1000)

    def _wait(self, seconds: float) -> Iterator[bytes]:
        until = self._now + seconds - _EPSILON
        while self._now < until:
            yield next(self._silence)

    def _forget_agent(self) -> None:
        """From here on it is the agent's turn: what it said before is no answer."""
        self._agent_spoke = False
        self._agent_began = None

    def _fail(self, number: int, what: str) -> None:
        self.failed.append(f"step {number}: {what}")


def _line_noise(level_dbfs: float | None) -> Iterator[bytes]:
    """What a line sounds like on which nobody speaks, frame by frame, without end."""
    noise = audio.silence(audio.FRAME_MS)
    if level_dbfs is not None:
        generator = random.Random(level_dbfs)  # the same noise in every rehearsal
        deviation = 32768 * 10 ** (level_dbfs / 20)
        samples = (round(generator.gauss(0, deviation)) for _ in range(audio.BYTES_PER_SECOND))
        noise = wav.encode(array("h", samples).tobytes())
    size = audio.FRAME_BYTES
    return cycle(noise[start : start + size] for start in range(0, len(noise), size))
