"""The people who can be rung: what each does when the telephone rings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Literal, TypeAlias

from offhook import audio
from offhook.testing.simulator.speech.clip_voice import spoken
from offhook.testing.simulator.twilio.call_report import CallParty
from offhook.testing.simulator.twilio.stream import LineControls

RINGS_S: Final = 2.0
"""Seconds that it rings before somebody does something, if nothing else is said."""

BEEP_S: Final = 0.5

HELLO_S: Final = 0.8
"""How long a person's first word takes, for those who listen for machines."""


@dataclass(frozen=True, slots=True)
class MachineGreeting:
    """An answering machine: it speaks for `greeting_s`, beeps if it does, and listens."""

    greeting_s: float = 4.0
    beep: bool = True

    @property
    def over_s(self) -> float:
        """Seconds from the answer until it listens."""
        return self.greeting_s + (BEEP_S if self.beep else 0.0)

    def sound(self) -> bytes:
        """Return the greeting and the beep, as mu-law."""
        length = round(self.greeting_s * audio.BYTES_PER_SECOND)
        hum = spoken("x" * (round(self.greeting_s * 20) + 20))
        greeting = (hum * (length // len(hum) + 1))[:length]
        # 1000 Hz: four samples up, four down.
        beep = b"\x90\x90\x90\x90\x10\x10\x10\x10" * (round(BEEP_S * 1000) if self.beep else 0)
        return greeting + beep


class SoundParty:
    """A person who plays one sound, and is silent after it."""

    faults: tuple[str, ...] = ()

    def __init__(self, sound: bytes = b"") -> None:
        self._sound = BytesIO(sound)

    def next_frame(self, line: LineControls, heard: bytes, now: float) -> bytes:
        """Return the next 20 ms of the sound (stream.StreamParty)."""
        return self._sound.read(audio.FRAME_BYTES).ljust(audio.FRAME_BYTES, audio.SILENCE)

    def call_ended(self) -> None:
        """Take note that the call is over, which changes nothing here."""


@dataclass(frozen=True, slots=True)
class SimulatedPerson:
    """Somebody with a telephone.

    `declines` is a hand that presses the red button: busy to whoever calls. `failed` is a number
    that does not exist.
    """

    does: Literal["answers", "busy", "no-answer", "declines", "failed"] = "answers"
    after_s: float | None = None
    """Seconds of ringing before that. None: RINGS_S; or the whole ring time, for no answer."""

    keys: tuple[str, ...] = ()
    """What is pressed at the first <Gather>, the second and so on; "" and after that, nothing."""

    talks_s: float | None = 3.0
    """Hangs up so long after having been joined with somebody; None: waits for them to do it."""

    hang_up_after_s: float | None = None
    """Hangs up so long after the answer, whatever is going on."""

    machine: MachineGreeting | None = None
    """What answers in the person's place."""

    hello_s: float = HELLO_S
    """How long "Hello?" takes; 0 for one who says nothing."""

    caller: Callable[[], CallParty] | None = None
    """Who speaks and listens on this person's media streams; somebody silent, if nobody."""

    def voice(self) -> CallParty:
        """Return who is on the line in one call."""
        if self.caller is not None:
            return self.caller()
        return SoundParty(b"" if self.machine is None else self.machine.sound())


People: TypeAlias = Callable[[str], SimulatedPerson]
"""Whose telephone it is, by number or SIP address."""

NOBODY: Final = SimulatedPerson("failed")


def book(people: Mapping[str, SimulatedPerson]) -> People:
    """Return a telephone book of these people; every other number does not exist."""
    return lambda to: people.get(to, NOBODY)
