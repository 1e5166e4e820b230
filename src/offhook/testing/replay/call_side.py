"""One of the two calls that are compared: its speech, its bursts and its end, on one time line."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from offhook import audio
from offhook.testing.simulator.speech.levels import is_speech
from offhook.testing.simulator.twilio.stream import SimulatedStream

PAUSE_MS: Final = 300
"""A shorter silence is part of what is said."""

TURN_PAUSE_MS: Final = 600
"""A shorter silence of the caller is part of his turn."""

ONSET_PAUSE_MS: Final = 100
"""After a shorter silence nobody is taken to begin to speak."""

BLIP_MS: Final = 60
"""Shorter sounds are not counted as speech."""


@dataclass(frozen=True, slots=True)
class SpeechSpan:
    """Speech without a pause, in ms from the stream's start."""

    began: int
    ended: int


@dataclass(frozen=True, slots=True)
class AgentUtterance:
    """What the agent said in one go on one side. `spoken` ms of it are sound, the rest pauses."""

    began: int
    ended: int
    spoken: int
    interrupted: bool
    """Whether a `clear` threw away what was to follow."""
    broken_off: bool
    """Whether that, or the end of the call, did."""
    sounds: tuple[bytes, ...] = field(repr=False)
    """What was played of it, a piece for each time that it was broken off."""


class CallSide:
    """One of the two calls, in ms from its stream's start."""

    def __init__(self, stream: SimulatedStream) -> None:
        self.stream = stream
        self.caller = spans(bytes(stream.spoken), TURN_PAUSE_MS)
        self.agent = spans(bytes(stream.heard), PAUSE_MS)
        self.onsets = [one.began for one in spans(bytes(stream.heard), ONSET_PAUSE_MS)]
        self.cleared = [self._ms(at) for at in stream.cleared_at]
        self.bursts = [
            (self._place(burst.began), self._place(burst.ended), burst.cut_by)
            for burst in stream.bursts
        ]
        self.ended = audio.milliseconds(len(stream.heard))

    def _ms(self, at: float) -> int:
        return round(1000 * (at - self.stream.started_at))

    def _place(self, at: float) -> int:
        return round(audio.BYTES_PER_SECOND * (at - self.stream.started_at))

    def speech(self, parts: Sequence[SpeechSpan]) -> AgentUtterance | None:
        """Return what was said in these spans; None if there are none."""
        if not parts:
            return None
        began, ended = parts[0].began, parts[-1].ended
        first = (began - PAUSE_MS) * audio.BYTES_PER_MS
        last = (ended + PAUSE_MS) * audio.BYTES_PER_MS
        sounds, interrupted, broken_off = [bytearray()], False, False
        for start, end, cut_by in self.bursts:
            if start < last and end > first:
                # Only what was sent: a gap on the way is no part of what was said.
                sounds[-1] += self.stream.heard[max(start, first) : min(end, last)]
                if cut_by is not None:
                    interrupted |= cut_by == "clear"
                    broken_off = True
                    sounds.append(bytearray())
        spoken = sum(one.ended - one.began for one in parts)
        played = tuple(bytes(one) for one in sounds if one)
        return AgentUtterance(began, ended, spoken, interrupted, broken_off, played)


def spans(sound: bytes, pause_ms: int) -> list[SpeechSpan]:
    """Find the stretches of speech in mu-law audio, of which shorter silences are a part."""
    found: list[SpeechSpan] = []
    for place in range(0, len(sound), audio.FRAME_BYTES):
        if not is_speech(sound[place : place + audio.FRAME_BYTES]):
            continue
        began = audio.milliseconds(place)
        if found and began - found[-1].ended < pause_ms:
            began = found.pop().began
        found.append(SpeechSpan(began, audio.milliseconds(place) + audio.FRAME_MS))
    return [one for one in found if one.ended - one.began >= BLIP_MS]
