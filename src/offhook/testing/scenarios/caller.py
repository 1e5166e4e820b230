"""Simulated caller: takes the steps of a scenario during the call, and measures times.

A caller knows only the audio of the telephone: it receives a frame and sends one every 20 ms.
"""

import random
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final, TypeAlias

from offhook import audio
from offhook.recordings import wav
from offhook.testing.faults.fault import Fault
from offhook.testing.scenarios.expectation import ExpectTurn, contains
from offhook.testing.scenarios.hearing import MARGIN_MS, PAUSE_S, Hearing, NoWords, Stretch
from offhook.testing.scenarios.scenario import BargeIn, ScenarioStep, WaitForAgent
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech.levels import SILENT, is_speech
from offhook.testing.simulator.twilio.call_report import LegReport
from offhook.testing.simulator.twilio.line_echo import EchoSettings, LineEcho
from offhook.testing.simulator.twilio.stream import LineControls

KEY_MS: Final = 200
"""Milliseconds from one key to the next."""

STRIKE_S: Final = 20.0
"""Seconds that a fault waits for the connection that it is to happen to."""

_FRAME_S: Final = audio.FRAME_MS / 1000
_EPSILON: Final = 1e-6
"""Tolerance in seconds: far less than a sample, far more than a float's rounding."""


@dataclass(slots=True)
class Said:
    """Speech of the caller in one step. Times are in seconds of the clock, or None."""

    text: str
    barge_in: bool
    began: float | None = None
    """Time at which the first frame of speech was sent, after silence at the recording's start."""
    ended: float | None = None
    """Time at which the last frame of speech was sent."""
    answered: float | None = None
    """Time at which the agent became audible after `ended`."""
    agent_silent: float | None = None
    """Time at which the interrupted agent was last audible; None if it was not speaking."""

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


@dataclass(frozen=True, slots=True)
class Pressed:
    """A key, and the time at which the caller pressed it."""

    at: float
    key: str


@dataclass(frozen=True, slots=True)
class Silent:
    """Interval in which the scenario has the caller say nothing."""

    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class FailedStep:
    """A step that timed out: its number, counted from 1, the reason and the time."""

    number: int
    what: str
    at: float

    def __str__(self) -> str:
        return f"step {self.number}: {self.what}"


@dataclass(slots=True)
class Exchange:
    """A turn of the caller, and the agent's answer. The first exchange starts with the call."""

    began: float
    """Time at which the caller's turn ended; the agent's speech after it is the answer."""
    said: Said | None
    """Speech of the caller, if the turn has any."""
    interrupted: Stretch | None
    """Speech of the agent that the caller's turn interrupted: not part of the answer."""
    ended: float | None = None
    """Time at which the caller's next turn began."""


Satisfied: TypeAlias = Callable[[ExpectTurn, "SimulatedCaller", Exchange], bool]
"""Predicate: True if the exchange meets the expectation by now."""


class SimulatedCaller:
    """The caller of one call (stream.StreamParty), on all its streams.

    `voice` returns the audio of a text, or of a clip by its name. `hearing` makes words of the
    agent's speech. The caller goes on from a step `expect` when `satisfied` returns True, or after
    the timeout; the judge reports unmet expectations. `strike` commits a fault, and returns False
    if the connection is not there yet.
    """

    def __init__(
        self,
        steps: Sequence[ScenarioStep],
        voice: Callable[[str], bytes],
        *,
        noise_dbfs: float | None = None,
        echo: EchoSettings | None = None,
        hearing: Hearing | None = None,
        satisfied: Satisfied = lambda *heard: True,
        strike: Callable[[Fault], bool] = lambda fault: False,
    ) -> None:
        self.said: list[Said] = []
        self.pressed: list[Pressed] = []
        self.silent: list[Silent] = []
        self.stretches: list[Stretch] = []
        """Stretches of the agent's speech."""
        self.exchanges: list[Exchange] = []
        self.expected: dict[int, Exchange] = {}
        """Exchanges to judge, by the index of the step that has the expectation."""
        self.steps: Final = steps
        self.done = 0
        """Number of steps that are over."""
        self.failed: list[FailedStep] = []
        self.hearing: Hearing = hearing or NoWords()
        self._satisfied = satisfied
        self._strike = strike
        self._sounds = {step.sound: voice(step.sound) for step in steps if step.sound is not None}
        self._silence = _line_noise(noise_dbfs)
        self._echo = None if echo is None else LineEcho(echo)
        self._frames = self._take(steps)
        self._before = deque[bytes](maxlen=MARGIN_MS // audio.FRAME_MS)
        """Last MARGIN_MS of the line's sound before a stretch."""
        self._line: LineControls
        self._now = 0.0
        # State of the agent: the time at which it was last audible, the start of its present turn,
        # whether it has spoken since the caller's last turn, and whether it is being interrupted.
        self._heard_until = float("-inf")
        self._agent_began: float | None = None
        self._agent_spoke = False
        self._interrupting = False

    def next_frame(self, line: LineControls, heard: bytes, now: float) -> bytes:
        """Take 20 ms of the agent's audio, return 20 ms of the caller's (stream.StreamParty).

        Keys are pressed, and the call is hung up, when a step says so.
        """
        self._line = line
        self._now = now
        if not self.exchanges:
            self.exchanges.append(Exchange(now, None, None))
        loud = is_speech(heard)
        if loud:
            self._hear(heard)
        self._keep(heard, loud)
        frame = next(self._frames)
        return frame if self._echo is None else self._echo.mix(frame, heard)

    def call_ended(self) -> None:
        """End the current stretch: the call is over."""
        stretch = self._speaking()
        if stretch is not None:
            self._end(stretch)

    @property
    def times_to_answer(self) -> list[float]:
        """Seconds from the end of each speech of the caller to the agent's first sound after it."""
        times = (said.time_to_answer for said in self.said)
        return [time for time in times if time is not None]

    @property
    def interruptions(self) -> list[float]:
        """Seconds from the caller's first speech to the agent's silence, for each barge-in."""
        times = (said.time_to_silence for said in self.said if said.barge_in)
        return [time for time in times if time is not None]

    @property
    def faults(self) -> list[str]:
        """Texts for the steps that timed out."""
        return [str(failed) for failed in self.failed]

    # --- hearing ---

    def _hear(self, heard: bytes) -> None:
        begin = self._now - _FRAME_S
        since = begin + (len(heard) - len(heard.lstrip(SILENT))) / audio.BYTES_PER_SECOND
        until = begin + len(heard.rstrip(SILENT)) / audio.BYTES_PER_SECOND
        new_turn = since - self._heard_until >= PAUSE_S
        if new_turn or self._agent_began is None:
            self._agent_began = since
        self._agent_spoke = True
        self._heard_until = until
        stretch = self._speaking()
        if stretch is None:
            self.stretches.append(Stretch(since, until, audio=bytearray().join(self._before)))
            self._before.clear()
        else:
            stretch.ended = until
        if new_turn:
            self._interrupting = False
        if not self.said:
            return
        said = self.said[-1]
        if self._interrupting:
            said.agent_silent = until
        elif said.ended is not None and said.answered is None:
            said.answered = max(since, said.ended)

    def _speaking(self) -> Stretch | None:
        """Return the stretch that is not over, or None."""
        return self.stretches[-1] if self.stretches and not self.stretches[-1].over else None

    def _keep(self, heard: bytes, loud: bool) -> None:
        stretch = self._speaking()
        if stretch is None:
            self._before.append(heard)
            return
        stretch.audio += heard
        if not loud and self._now - stretch.ended >= PAUSE_S:
            self._end(stretch)

    def _end(self, stretch: Stretch) -> None:
        stretch.over = True
        stretch.trim()
        self.hearing.over(stretch)

    # --- doing ---

    def _take(self, steps: Sequence[ScenarioStep]) -> Iterator[bytes]:
        """Yield the frames that the caller sends, each computed when it is due."""
        for number, step in enumerate(steps, 1):
            if step.barge_in is not None:
                yield from self._barge_in(number, step.barge_in)
            elif step.sound is not None:
                yield from self._say(step.sound, barge_in=False)
            elif step.wait_for_agent is not None:
                yield from self._wait_for_agent(number, step.wait_for_agent)
            elif step.expect is not None:
                yield from self._expect(number, step.expect)
            elif step.press is not None:
                yield from self._press(step.press)
            elif step.wait is not None:
                yield from self._stay_silent(step.wait)
            elif step.stay_silent is not None:
                self._begin_exchange(None)
                yield from self._stay_silent(step.stay_silent)
            elif step.fault is not None:
                yield from self._suffer(number, step.fault)
            else:
                self.done = number
                self._line.hang_up()
                break
            self.done = number
        yield from self._silence

    def _say(self, text: str, *, barge_in: bool) -> Iterator[bytes]:
        clip = self._sounds[text]
        clip += audio.SILENCE * (-len(clip) % audio.FRAME_BYTES)
        frames = [clip[i : i + audio.FRAME_BYTES] for i in range(0, len(clip), audio.FRAME_BYTES)]
        speech = [index for index, frame in enumerate(frames) if is_speech(frame)]
        said = Said(text, barge_in)
        self._interrupting = False
        interrupted: Stretch | None = None
        self.said.append(said)
        for index, frame in enumerate(frames):
            if speech and index == speech[0]:
                said.began = self._now + _FRAME_S
                self._interrupting = self._now - self._heard_until < PAUSE_S
                if self._interrupting:
                    interrupted = self.stretches[-1]
                    interrupted.interrupted = True
                    if barge_in:
                        said.agent_silent = self._heard_until
            yield frame
            if speech and index == speech[-1]:
                said.ended = self._now
                self._begin_exchange(said, interrupted)
        if not speech:
            self._begin_exchange(None)

    def _barge_in(self, number: int, step: BargeIn) -> Iterator[bytes]:
        sound = step.say or step.clip
        assert sound is not None  # one of the two is set
        limit = self._now + step.timeout
        if self._now - self._heard_until >= PAUSE_S:
            self._agent_began = None
        while not self._is_time_for(step):
            if self._now >= limit and (self._agent_began is None or step.after is not None):
                did_not = "begin to speak" if self._agent_began is None else f'say "{step.after}"'
                self._fail(number, f"the agent did not {did_not} within {step.timeout:g} s")
                return
            yield next(self._silence)
        yield from self._say(sound, barge_in=True)

    def _is_time_for(self, step: BargeIn) -> bool:
        if self._agent_began is None:
            return False
        if step.after is None:
            assert step.after_ms is not None  # one of the two is set
            return self._now - self._agent_began >= step.after_ms / 1000 - _EPSILON
        heard = [self.hearing.words(one) or "" for one in self.answer(self.exchanges[-1])]
        return contains(words(" ".join(heard)), words(step.after))

    def answer(self, exchange: Exchange) -> list[Stretch]:
        """Return the agent's speech in an exchange, until the caller's next turn began."""
        return [
            one
            for one in self.stretches
            if one.ended > exchange.began
            and one is not exchange.interrupted
            and (exchange.ended is None or one.began < exchange.ended)
        ]

    def _expect(self, number: int, expected: ExpectTurn) -> Iterator[bytes]:
        exchange = self.exchanges[-1]
        self.expected[number - 1] = exchange
        limit = self._now + max(expected.timeout, (expected.within_ms or 0) / 1000)
        while True:
            spoke = bool(self.answer(exchange))
            quiet = self._now - self._heard_until >= expected.quiet_ms / 1000 - _EPSILON
            if spoke and quiet and self._satisfied(expected, self, exchange):
                break
            if self._now >= limit and (quiet or self._now >= limit + expected.timeout):
                break  # timed out; the judge reports it
            yield next(self._silence)
        self._forget_agent()

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
        self._begin_exchange(None)
        for key in keys:
            self.pressed.append(Pressed(self._now, key))
            self._line.press(key)
            yield from self._wait(KEY_MS / 1000)

    def _stay_silent(self, seconds: float) -> Iterator[bytes]:
        began = self._now
        yield from self._wait(seconds)
        self.silent.append(Silent(began, self._now))

    def _suffer(self, number: int, fault: Fault) -> Iterator[bytes]:
        limit = self._now + STRIKE_S
        while not self._strike(fault):
            if self._now >= limit:
                self._fail(number, f"there was no connection to commit {fault} on")
                return
            yield next(self._silence)

    def _wait(self, seconds: float) -> Iterator[bytes]:
        until = self._now + seconds - _EPSILON
        while self._now < until:
            yield next(self._silence)

    def _begin_exchange(self, said: Said | None, interrupted: Stretch | None = None) -> None:
        """Begin the exchange after a turn of the caller."""
        self.exchanges[-1].ended = self._now if said is None else said.began
        self.exchanges.append(Exchange(self._now, said, interrupted))
        self._forget_agent()

    def _forget_agent(self) -> None:
        """Reset the agent's state: speech before this moment is not an answer."""
        self._agent_spoke = False
        self._agent_began = None

    def _fail(self, number: int, what: str) -> None:
        self.failed.append(FailedStep(number, what, self._now))


CallReport: TypeAlias = LegReport[SimulatedCaller]
"""Report of a call whose caller takes the steps of a scenario."""


def _line_noise(level_dbfs: float | None) -> Iterator[bytes]:
    """Yield the frames of a line on which the caller does not speak, without end."""
    noise = audio.silence(audio.FRAME_MS)
    if level_dbfs is not None:
        generator = random.Random(level_dbfs)  # the same noise in every rehearsal
        deviation = 32768 * 10 ** (level_dbfs / 20)
        samples = (round(generator.gauss(0, deviation)) for _ in range(audio.BYTES_PER_SECOND))
        noise = wav.encode(array("h", samples).tobytes())
    size = audio.FRAME_BYTES
    return cycle(noise[start : start + size] for start in range(0, len(noise), size))
