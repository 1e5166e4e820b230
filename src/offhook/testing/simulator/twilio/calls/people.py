"""Simulated people who can be rung, and their behaviour when the telephone rings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Literal, TypeAlias

from offhook import audio
from offhook.testing.simulator.speech.clip_voice import spoken
from offhook.testing.simulator.twilio.call_report import CallParty
from offhook.testing.simulator.twilio.stream import LineControls

RINGS_S: Final = 2.0
"""Seconds of ringing before a person reacts, by default."""

BEEP_S: Final = 0.5

HELLO_S: Final = 0.8
"""Seconds that a person's first word takes, for answering-machine detection."""


@dataclass(frozen=True, slots=True)
class MachineGreeting:
    """Answering machine: it speaks for `greeting_s`, beeps if `beep` is True, and listens."""

    greeting_s: float = 4.0
    beep: bool = True

    @property
    def over_s(self) -> float:
        """Seconds from the answer until the machine listens."""
        return self.greeting_s + (BEEP_S if self.beep else 0.0)

    def sound(self) -> bytes:
        """Return the greeting and the beep as mu-law audio."""
        length = round(self.greeting_s * audio.BYTES_PER_SECOND)
        hum = spoken("x" * (round(self.greeting_s * 20) + 20))
        greeting = (hum * (length // len(hum) + 1))[:length]
        # 1000 Hz: four samples up, four down.
        beep = b"\x90\x90\x90\x90\x10\x10\x10\x10" * (round(BEEP_S * 1000) if self.beep else 0)
        return greeting + beep


class SoundParty:
    """CallParty that plays one sound and is silent after it."""

    faults: tuple[str, ...] = ()

    def __init__(self, sound: bytes = b"") -> None:
        self._sound = BytesIO(sound)

    def next_frame(self, line: LineControls, heard: bytes, now: float) -> bytes:
        """Return the next 20 ms of the sound (stream.StreamParty)."""
        return self._sound.read(audio.FRAME_BYTES).ljust(audio.FRAME_BYTES, audio.SILENCE)

    def call_ended(self) -> None:
        """Do nothing: the end of the call changes nothing here."""


Reaction: TypeAlias = Literal["answers", "busy", "no-answer", "declines", "failed"]
"""Reaction to a call. `declines`: the call is rejected, which the caller sees as busy. `failed`:
the number does not exist."""


@dataclass(frozen=True, slots=True)
class SimulatedPerson:
    """Person with a telephone. `does` is the reaction to a call."""

    does: Reaction = "answers"
    after_s: float | None = None
    """Seconds of ringing before the reaction; None for RINGS_S, or all ringing for no answer."""

    keys: tuple[str, ...] = ()
    """Keys for the first <Gather>, the second and so on; "" presses none, as do later ones."""

    talks_s: float | None = 3.0
    """Seconds after being joined with somebody until this person hangs up; None for never."""

    hang_up_after_s: float | None = None
    """Seconds after the answer until this person hangs up; None for never."""

    machine: MachineGreeting | None = None
    """Answering machine that answers in the person's place; None for the person."""

    hello_s: float = HELLO_S
    """Seconds that "Hello?" takes; 0 for a person who says nothing."""

    caller: Callable[[], CallParty] | None = None
    """Factory of the CallParty on this person's media streams; None for a silent one."""

    def voice(self) -> CallParty:
        """Return the CallParty that is on the line in one call."""
        if self.caller is not None:
            return self.caller()
        return SoundParty(b"" if self.machine is None else self.machine.sound())


People: TypeAlias = Callable[[str], SimulatedPerson]
"""Function that returns the person behind a number or SIP address."""

NOBODY: Final = SimulatedPerson("failed")


def book(people: Mapping[str, SimulatedPerson]) -> People:
    """Return a telephone book of these people; every other number does not exist."""
    return lambda to: people.get(to, NOBODY)
