"""Search for the agent's own speech in the caller's audio: an echo of the line or of a loudspeaker.

Both sides are reduced to one number for each 20 ms, the level. An echo has the levels of the
agent's speech, weaker and later. So the levels of the caller are compared with those that the
agent had up to a second before, at every delay. Nothing here looks at single samples: a codec, a
loudspeaker and a room change these beyond recognition, and the levels hardly.
"""

import math
from itertools import compress
from operator import mul
from typing import Final, NamedTuple

from offhook.audio import FRAME_BYTES, FRAME_MS

_MAGNITUDES: Final = bytes(~code & 0x7F for code in range(256))
"""Magnitude of each mu-law code, 0 to 127. Mu-law is nearly logarithmic: 16 steps are 6 dB, and
32 of a level, which counts half steps."""

AUDIBLE: Final = 16
"""Level above which a frame holds a sound: about -55 dBFS."""

LAG_FRAMES: Final = 50
"""Longest delay of an echo that is looked for, in frames: one second."""

WINDOW_FRAMES: Final = 150
"""Frames that are compared: the last 3 s in which the agent was audible, or just had been."""

LEAD_FRAMES: Final = 10
"""Frames of the caller from before the agent became audible that are compared, too."""

FEWEST_FRAMES: Final = LEAD_FRAMES + 6
"""Frames below which nothing is compared: the agent has just begun."""

HOLD_MATCH: Final = 0.7
"""Correlation of the levels, at the best delay, from which the caller's sound may be an echo."""

RELEASE_MATCH: Final = 0.6
"""Correlation below which a sound that was held for an echo is not an echo."""

_SPEECH: Final = 70
"""Level of the agent's louder frames, in which the strength of an echo is measured."""

_LATEST_FRAMES: Final = 12
"""Frames at the end (240 ms) in which a second voice is looked for."""

_LOUDER: Final = 14
"""Steps above the expected echo (2.6 dB) from which a frame holds a second voice."""

_LOUDER_FRAMES: Final = 5
"""Louder frames among the latest from which the caller speaks, and not only an echo."""

_DECAY: Final = 16
"""Steps by which the sound of a room may fall in a frame: 60 dB in 0.4 s."""

_KEPT_FRAMES: Final = 512
_EXCLUDED: Final = 255
"""Mark, in place of a caller's level, of a frame in which the caller themselves spoke."""

_AHEAD_FRAMES: Final = 30_000
"""Frames of the agent's speech that may wait to be played: ten minutes, as at Twilio."""


def level(audio: bytes) -> int:
    """Return the level of a frame of mu-law audio, 0 (silence) to 254."""
    return 2 * sum(audio.translate(_MAGNITUDES)) // len(audio) if audio else 0


class EchoMatch(NamedTuple):
    """Comparison of the caller's sound with the agent's speech.

    Attributes:
        likeness: Correlation of the levels at the best delay, -1 to 1.
        lag_ms: That delay.
        has_second_voice: True if the caller's sound is louder than such an echo explains.
    """

    likeness: float
    lag_ms: int
    has_second_voice: bool


class AgentLevels:
    """Levels of the agent's speech, by its position in the audio that was sent since a `clear`."""

    def __init__(self) -> None:
        self._epoch = 0
        self._first = 0
        self._levels = bytearray()

    def add(self, audio: bytes, position: int, epoch: int) -> None:
        """Take speech that begins at byte `position` of what was sent in this epoch."""
        if epoch != self._epoch:
            self._epoch, self._first = epoch, position // FRAME_BYTES
            self._levels.clear()
        # Other audio may have been sent in between; it counts as silence.
        skipped = position // FRAME_BYTES - self._first - len(self._levels)
        if len(self._levels) + skipped + len(audio) // FRAME_BYTES > _AHEAD_FRAMES:
            return
        if skipped > 0:
            self._levels += bytes(skipped)
        self._levels += bytes(
            level(audio[begin : begin + FRAME_BYTES]) for begin in range(0, len(audio), FRAME_BYTES)
        )

    def at(self, position: int, epoch: int) -> int:
        """Return the level at a position; positions before it will not be asked for again."""
        index = position // FRAME_BYTES - self._first
        if epoch != self._epoch or not 0 <= index < len(self._levels):
            return 0
        if index > _KEPT_FRAMES:
            del self._levels[:index]
            self._first += index
            index = 0
        return self._levels[index]


class EchoPath:
    """Levels of both sides, frame by frame, while the agent is audible and a second longer."""

    def __init__(self) -> None:
        self._caller = bytearray()
        self._agent = bytearray()
        self._since_audible = LAG_FRAMES + 1
        self._lead = bytearray()

    def add(self, caller: int, agent: int, *, is_turn: bool) -> None:
        """Take the levels of 20 ms; `is_turn`: the caller themselves is known to speak."""
        self._since_audible = 0 if agent > AUDIBLE else self._since_audible + 1
        heard = _EXCLUDED if is_turn else min(caller, _EXCLUDED - 1)
        if self._since_audible > LAG_FRAMES:
            self._lead.append(heard)
            del self._lead[:-LEAD_FRAMES]
            return  # What is heard now cannot be an echo.
        if self._lead:
            self._agent += bytes(len(self._lead))
            self._caller += self._lead
            self._lead.clear()
        self._agent.append(agent)
        self._caller.append(heard)
        if len(self._agent) > 2 * _KEPT_FRAMES:
            del self._agent[:_KEPT_FRAMES], self._caller[:_KEPT_FRAMES]

    def exclude(self, frames: int) -> None:
        """Leave out the latest frames from now on: in them the caller has begun to speak."""
        frames = min(frames, len(self._caller))
        if frames:
            self._caller[-frames:] = bytes([_EXCLUDED]) * frames

    def match(self) -> EchoMatch | None:
        """Compare what is known; None: too little."""
        first = max(0, len(self._caller) - WINDOW_FRAMES - LAG_FRAMES)
        window = self._caller[first:]
        mask = [each != _EXCLUDED for each in window]
        caller = list(compress(window, mask))[-WINDOW_FRAMES:]
        mask = _last(mask, WINDOW_FRAMES)
        if len(caller) < FEWEST_FRAMES:
            return None
        # The agent was silent before what is known.
        agent = bytes(max(0, LAG_FRAMES - first)) + self._agent[max(0, first - LAG_FRAMES) :]
        size = len(window)

        def earlier(lag: int) -> list[int]:
            begin = LAG_FRAMES - lag
            return list(compress(agent[begin : begin + size], mask))

        coarse = max(
            range(0, LAG_FRAMES + 1, 2), key=lambda lag: _correlation(caller, earlier(lag))
        )
        near = range(max(0, coarse - 1), min(LAG_FRAMES, coarse + 1) + 1)
        likeness, lag = max((_correlation(caller, earlier(lag)), lag) for lag in near)
        return EchoMatch(
            likeness, lag * FRAME_MS, _has_second_voice(caller, earlier(lag), min(caller))
        )


def _last(mask: list[bool], most: int) -> list[bool]:
    """Return the mask with its last `most` true entries alone."""
    excess = sum(mask) - most
    for index, each in enumerate(mask):
        if excess <= 0:
            break
        if each:
            mask[index] = False
            excess -= 1
    return mask


def _correlation(ours: list[int], theirs: list[int]) -> float:
    """Return Pearson's correlation of two lists of one length; 0 where one does not vary."""
    size = len(ours)
    sum_ours, sum_theirs = sum(ours), sum(theirs)
    spread = (size * sum(map(mul, ours, ours)) - sum_ours * sum_ours) * (
        size * sum(map(mul, theirs, theirs)) - sum_theirs * sum_theirs
    )
    if spread <= 0:
        return 0.0
    together: int = size * sum(map(mul, ours, theirs)) - sum_ours * sum_theirs
    return together / math.sqrt(spread)


def _has_second_voice(caller: list[int], agent: list[int], noise: int) -> bool:
    """Return whether the latest frames are louder than the echo that the earlier ones show."""
    pairs = list(zip(caller, agent, strict=True))
    earlier = [ours - theirs for ours, theirs in pairs[:-_LATEST_FRAMES] if theirs > _SPEECH]
    if len(earlier) < 10:
        earlier = [ours - theirs for ours, theirs in pairs if theirs > _SPEECH]
    if not earlier:
        return True  # There was nothing to be echoed.
    earlier.sort()
    strength = earlier[len(earlier) * 3 // 5]
    expected = louder = 0
    latest = len(pairs) - _LATEST_FRAMES
    for index, (ours, theirs) in enumerate(pairs):
        near = max(theirs, agent[index - 1] if index else 0, *agent[index + 1 : index + 2])
        expected = max(near + strength, expected - _DECAY, noise)
        if index >= latest and ours > max(expected + _LOUDER, AUDIBLE):
            louder += 1
    return louder >= _LOUDER_FRAMES
