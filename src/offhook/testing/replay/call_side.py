"""A call to be compared: its speech, its bursts and its end, on one time line."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from offhook import audio
from offhook.testing.simulator.speech.levels import is_speech
from offhook.testing.simulator.twilio.stream import SimulatedStream

PAUSE_MS: Final = 300
"""Silence in ms that separates two utterances of the agent."""

TURN_PAUSE_MS: Final = 600
"""Silence in ms that separates two turns of the caller."""

ONSET_PAUSE_MS: Final = 100
"""Silence in ms before a sound that counts as an onset of speech."""

BLIP_MS: Final = 60
"""Length in ms below which a sound does not count as speech."""


@dataclass(frozen=True, slots=True)
class SpeechSpan:
    """Speech without a pause, in ms from the stream's start."""

    began: int
    ended: int


@dataclass(frozen=True, slots=True)
class AgentUtterance:
    """An utterance of the agent in one call. `spoken` ms of it are sound, the rest pauses."""

    began: int
    ended: int
    spoken: int
    interrupted: bool
    """True if a `clear` discarded the rest of the utterance."""
    broken_off: bool
    """True if a `clear` or the end of the call discarded the rest of the utterance."""
    sounds: tuple[bytes, ...] = field(repr=False)
    """Mu-law audio that was played, split at each place where playback was cut off."""


class CallSide:
    """A call to be compared, with times in ms from its stream's start."""

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
        """Return the agent's utterance in these spans, or None without spans."""
        if not parts:
            return None
        began, ended = parts[0].began, parts[-1].ended
        first = (began - PAUSE_MS) * audio.BYTES_PER_MS
        last = (ended + PAUSE_MS) * audio.BYTES_PER_MS
        sounds, interrupted, broken_off = [bytearray()], False, False
        for start, end, cut_by in self.bursts:
            if start < last and end > first:
                # Only audio that was sent: a gap in transmission is not part of the utterance.
                sounds[-1] += self.stream.heard[max(start, first) : min(end, last)]
                if cut_by is not None:
                    interrupted |= cut_by == "clear"
                    broken_off = True
                    sounds.append(bytearray())
        spoken = sum(one.ended - one.began for one in parts)
        played = tuple(bytes(one) for one in sounds if one)
        return AgentUtterance(began, ended, spoken, interrupted, broken_off, played)


def spans(sound: bytes, pause_ms: int) -> list[SpeechSpan]:
    """Return the spans of speech in mu-law audio, joined across silences under `pause_ms`."""
    found: list[SpeechSpan] = []
    for place in range(0, len(sound), audio.FRAME_BYTES):
        if not is_speech(sound[place : place + audio.FRAME_BYTES]):
            continue
        began = audio.milliseconds(place)
        if found and began - found[-1].ended < pause_ms:
            began = found.pop().began
        found.append(SpeechSpan(began, audio.milliseconds(place) + audio.FRAME_MS))
    return [one for one in found if one.ended - one.began >= BLIP_MS]
