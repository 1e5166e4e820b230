"""Sounds that Deepgram takes for the caller: which of them cut the agent, when and why."""

import functools
import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import pytest
from tests.call.playbook import (
    AUDIO_DONE,
    BARGE_IN,
    Playbook,
    Wait,
    agent,
    caller,
    key,
    mark,
    speech,
)

from offhook.audio import FRAME_BYTES
from offhook.call.call_settings import CallSettings
from offhook.call.commands import ClearCaller, Command, Note
from offhook.call.echo_path import AUDIBLE, EchoPath, level
from offhook.call.inputs import Requested
from offhook.call.phases import Phase
from offhook.call.requests import SwitchAgent
from offhook.events.types import Interrupted, InterruptionSuppressed, KeyPressed
from offhook.recordings import wav

GUARDED: Final = CallSettings(silence_s=0, echo_guard=True)
PATIENT: Final = CallSettings(silence_s=0, min_speech_s=0.4)
BOTH: Final = CallSettings(silence_s=0, echo_guard=True, min_speech_s=0.4)
GREETS: Final = CallSettings(silence_s=0, protects_greeting=True)

QUIET: Final = b"\xff" * FRAME_BYTES


def tone(strength: float) -> bytes:
    """Return a frame of that strength, 0 to 1."""
    return _tone(round(strength, 3))


@functools.cache
def _tone(strength: float) -> bytes:
    samples = (round(32000 * strength * math.sin(n * 0.7)) for n in range(FRAME_BYTES))
    return wav.encode(b"".join(each.to_bytes(2, "little", signed=True) for each in samples))


def syllables(seed: int, frames: int) -> list[float]:
    """Return strengths that rise and fall as those of speech do, with pauses."""
    draw = random.Random(seed)
    strengths: list[float] = []
    while len(strengths) < frames:
        peak = draw.uniform(0.1, 0.5)
        length = draw.randint(5, 12)
        strengths += [peak * math.sin(math.pi * (n + 0.5) / length) for n in range(length)]
        strengths += [0.0] * draw.choice((0, 1, 3, 8))
    return strengths[:frames]


Line: TypeAlias = Callable[[int], float]
"""Strength of the caller's audio by the number of the frame."""


def voice(seed: int, begins: int) -> Line:
    """Return a caller who speaks from a frame on."""
    strengths = syllables(seed + 200, 200)
    return lambda frame: strengths[frame - begins]


def louder(one: Line, other: Line) -> Line:
    """Return the louder of two sounds."""
    return lambda frame: max(one(frame), other(frame))


class Spoken:
    """A call in which the agent speaks, and a line that brings back what we choose."""

    def __init__(self, settings: CallSettings, seed: int = 1, frames: int = 400) -> None:
        self.agent = syllables(seed, frames)
        self.playbook = Playbook().under(settings).talking()
        self.cleared_at: list[float] = []
        self.events: list[Any] = []
        self.playbook.listeners.append(self._told)
        self.frame = 0
        self.began = self.playbook.now
        audio = b"".join(map(tone, self.agent))
        self._given(agent("What the agent says."))
        self.playbook.call.speak(audio, self.playbook.now)

    def _told(self, command: Command) -> None:
        if isinstance(command, ClearCaller):
            self.cleared_at.append(self.playbook.now)
        elif isinstance(command, Note):
            self.events.append(command.event)

    def _given(self, message: Any) -> None:
        self.playbook.call.receive(message, self.playbook.now)
        self.playbook.commanded()

    def hear(self, frames: int, sound: Line = lambda frame: 0.0, at_once: int = 1) -> None:
        """Let so many frames of the caller come, each with `sound` of its number.

        With `at_once`, so many come together, all but the last of them late.
        """
        for number in range(frames):
            if number % at_once == 0:
                self.playbook.now += 0.02 * at_once
            self.playbook.call.tick(self.playbook.now)
            self.playbook.call.hear(tone(sound(self.frame)), self.playbook.now)
            self.playbook.commanded()
            self.frame += 1

    def echo(self, lag: int, loss: float) -> Line:
        """Return the echo of the agent, so many frames later and so many times weaker."""
        return lambda frame: self.agent[frame - lag] / loss if frame >= lag else 0.0

    def starts(self) -> None:
        """Deepgram hears speech."""
        self._given(BARGE_IN)

    @property
    def causes(self) -> list[str]:
        """What was held and what cut the agent, in order."""
        kinds = Interrupted | InterruptionSuppressed
        return [event.cause for event in self.events if isinstance(event, kinds)]


# --- off -----------------------------------------------------------------------------------------


def test_without_settings_the_audio_path_has_nothing_more_to_do() -> None:
    call = Playbook().under(CallSettings()).call
    assert call.hear == call.link.hear
    assert call.speak == call.turns.speak
    call = Playbook().under(GREETS).call
    assert call.hear == call.link.hear


def test_without_settings_every_sound_cuts_the_agent_at_once() -> None:
    spoken = Spoken(CallSettings(silence_s=0))
    spoken.hear(60, spoken.echo(10, 8))
    spoken.starts()
    assert spoken.causes == ["speech"]
    assert spoken.cleared_at == [spoken.playbook.now]


def test_another_agent_of_the_call_has_its_own_settings(call: Playbook) -> None:
    call.under(CallSettings()).talking()
    assert call.call.hear == call.call.link.hear
    (call >> Requested(1, SwitchAgent("billing", BOTH)) >> Wait(6) << ...)
    assert call.call.hear == call.call.interruptions.hear


# --- echo ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [3, 12, 30, 45])
@pytest.mark.parametrize("loss", [2.0, 8.0])
def test_an_echo_does_not_cut_the_agent(lag: int, loss: float) -> None:
    for seed in range(3):
        spoken = Spoken(GUARDED, seed)
        spoken.hear(lag + 16, spoken.echo(lag, loss))
        spoken.starts()
        spoken.hear(150, spoken.echo(lag, loss))
        assert spoken.causes == ["echo"]
        assert spoken.cleared_at == []
        (held,) = (each for each in spoken.events if isinstance(each, InterruptionSuppressed))
        assert held.lag_ms is not None
        assert abs(held.lag_ms - 20 * lag) <= 40


def test_an_echo_is_found_when_frames_come_late_and_many_at_once() -> None:
    for seed in range(3):
        spoken = Spoken(GUARDED, seed)
        spoken.hear(40, spoken.echo(12, 4), at_once=8)
        spoken.starts()
        spoken.hear(152, spoken.echo(12, 4), at_once=8)
        assert spoken.causes == ["echo"]
        assert spoken.cleared_at == []


def test_a_caller_on_a_line_without_echo_cuts_the_agent_at_once() -> None:
    for seed in range(10):
        spoken = Spoken(GUARDED, seed)
        spoken.hear(100)
        spoken.hear(12, voice(seed, 100))
        spoken.starts()
        assert spoken.causes == ["speech"]
        assert spoken.cleared_at == [spoken.playbook.now]


def test_a_caller_who_speaks_over_the_echo_cuts_the_agent() -> None:
    for seed in range(10):
        spoken = Spoken(GUARDED, seed)
        echo = spoken.echo(10, 8)
        spoken.hear(40, echo)
        spoken.starts()
        spoken.hear(60, echo)
        assert spoken.causes == ["echo"]
        began = spoken.playbook.now
        spoken.hear(60, louder(echo, voice(seed, 100)))
        assert spoken.causes == ["echo", "beyond_echo"]
        assert spoken.cleared_at[0] - began <= 0.6


def test_the_guard_does_not_take_the_callers_turn_for_an_echo_that_is_over() -> None:
    """The agent is silent: whatever is heard, there is nothing to cut and nothing to hold."""
    spoken = Spoken(GUARDED, frames=30)
    spoken._given(AUDIO_DONE)
    spoken.hear(200)
    marks = spoken.playbook.call.turns.playback.marks
    while marks:
        spoken._given(mark(f"0:{marks[0]}"))
    spoken.starts()
    assert spoken.causes == []


# --- short sounds --------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 9, 13, 19])
def test_a_short_noise_does_not_cut_the_agent(frames: int) -> None:
    spoken = Spoken(PATIENT)
    spoken.hear(100)
    spoken.hear(min(frames, 9), lambda frame: 0.3)
    spoken.starts()
    spoken.hear(max(0, frames - 9), lambda frame: 0.3)
    spoken.hear(60)
    assert spoken.causes == ["short"]
    assert spoken.cleared_at == []


def test_a_caller_who_goes_on_cuts_the_agent_no_later_than_the_setting() -> None:
    for heard_before in range(1, 30, 3):
        spoken = Spoken(PATIENT)
        spoken.hear(100)
        spoken.hear(heard_before, lambda frame: 0.3)
        spoken.starts()
        started = spoken.playbook.now
        spoken.hear(40, lambda frame: 0.3)
        assert spoken.causes in (["long_speech"], ["speech"])
        assert spoken.cleared_at[0] - started <= 0.4 + 0.02 + 1e-9
        # What Deepgram needed to hear speech is not waited for again.
        assert spoken.cleared_at[0] - started <= max(0.0, 0.4 - heard_before * 0.02) + 0.021


def test_a_caller_who_coughs_and_then_speaks_cuts_the_agent() -> None:
    spoken = Spoken(PATIENT)
    spoken.hear(100)
    spoken.hear(9, lambda frame: 0.3)
    spoken.starts()
    spoken.hear(30)
    assert spoken.causes == ["short"]
    began = spoken.playbook.now
    spoken.hear(40, lambda frame: 0.3)
    assert spoken.causes == ["short", "long_speech"]
    assert spoken.cleared_at[0] - began <= 0.4 + 0.12


def test_a_short_word_cuts_what_is_left_when_deepgram_has_its_text() -> None:
    spoken = Spoken(PATIENT)
    spoken.hear(100)
    spoken.hear(9, lambda frame: 0.3)
    spoken.starts()
    spoken.hear(30)
    spoken._given(caller("Stop."))
    assert spoken.causes == ["short", "turn"]
    assert len(spoken.cleared_at) == 1


def test_audio_goes_to_the_agent_untouched_while_a_sound_is_held(call: Playbook) -> None:
    call.under(BOTH).talking()
    call.call.receive(agent("One two three."), call.now)
    call.call.speak(b"\x20" * 80_000, call.now)
    call.call.receive(BARGE_IN, call.now)
    call.commanded()
    frames = [bytes([n]) * FRAME_BYTES for n in range(100)]
    heard = []
    for frame in frames:
        call.now += 0.02
        heard.append(call.call.hear(frame, call.now))
    assert heard == frames


@pytest.mark.parametrize(("min_speech_s", "after"), [(0.4, Phase.CLOSING), (0.0, Phase.BARGE_IN)])
def test_a_sound_that_is_held_does_not_take_back_a_goodbye(
    call: Playbook, min_speech_s: float, after: Phase
) -> None:
    call.under(CallSettings(silence_s=10, min_speech_s=min_speech_s)).talking()
    (call >> Wait(5) << ... >> Wait(5) << ...)
    call << Phase.CLOSING
    (call >> agent(CallSettings().phrases.silent_goodbye) >> speech(1000) << ...)
    (call >> BARGE_IN << ...)
    call << after


# --- a protected greeting ------------------------------------------------------------------------


def test_nothing_said_during_a_protected_greeting_clears_it(call: Playbook) -> None:
    call.under(GREETS).talking()
    call.call.receive(agent("Welcome to the bank."), call.now)
    call.call.speak(b"\x20" * 16_000, call.now)
    call.commanded()
    (call >> BARGE_IN << InterruptionSuppressed("greeting", None, None))
    (call >> Wait(0.5) >> AUDIO_DONE << ...)
    (call >> caller("Hello?") << ...)
    call << Phase.TALKING
    assert call.call.turns.playback.epoch == 0


def test_a_key_counts_during_a_protected_greeting(call: Playbook) -> None:
    call.under(GREETS).talking()
    call.call.receive(agent("Welcome to the bank."), call.now)
    call.call.speak(b"\x20" * 16_000, call.now)
    call.commanded()
    (call >> key("5") << KeyPressed("5") >> key("#") << KeyPressed("#") << ...)


def test_only_the_greeting_is_protected(call: Playbook) -> None:
    call.under(GREETS).talking()
    call.call.receive(caller("Hello?"), call.now)  # This agent has no greeting.
    call.call.receive(agent("What can I do?"), call.now)
    call.call.speak(b"\x20" * 16_000, call.now)
    call.commanded()
    (call >> BARGE_IN << ClearCaller() << Interrupted(0, "speech") << ...)
    call << Phase.BARGE_IN


# --- the comparison itself -----------------------------------------------------------------------


def compared(ours: Iterable[int], theirs: Sequence[int]) -> EchoPath:
    path = EchoPath()
    for mine, other in zip(ours, theirs, strict=True):
        path.add(mine, other, is_turn=False)
    return path


def test_levels_follow_loudness_in_steps_of_a_logarithm() -> None:
    assert level(QUIET) == level(b"\x7f" * FRAME_BYTES) == level(b"") == 0
    loud, half = level(tone(0.5)), level(tone(0.25))
    assert 28 <= loud - half <= 36
    assert level(tone(0.002)) < AUDIBLE < level(tone(0.01))


def test_two_sides_are_compared_only_when_enough_is_known() -> None:
    assert EchoPath().match() is None
    assert compared([0] * 5, [100] * 5).match() is None


def test_memory_of_both_sides_is_bounded() -> None:
    path = EchoPath()
    for n in range(10_000):
        path.add(n % 200, 100, is_turn=False)
    assert len(path._agent) == len(path._caller) <= 1024


def test_a_caller_alone_is_no_echo_however_long_both_speak() -> None:
    draw = random.Random(4)
    for _ in range(20):
        ours, theirs = ([draw.randrange(200) for _ in range(200)] for _ in range(2))
        match = compared(ours, theirs).match()
        assert match is not None
        assert match.likeness < 0.6
