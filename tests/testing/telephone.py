"""A telephone for tests of callers: 20 ms in, 20 ms out."""

from collections.abc import Sequence
from typing import Any

import pytest

from offhook import audio
from offhook.testing.scenarios.caller import Said, SimulatedCaller
from offhook.testing.scenarios.hearing import SeenFunctionCall, Stretch
from offhook.testing.scenarios.scenario import ScenarioStep

LOUD = b"\x10"
QUIET = audio.silence(audio.FRAME_MS)
CLIPS = {
    # 300 ms of speech, with 100 ms of silence before and 200 ms after it.
    "question": audio.silence(100) + LOUD * 2400 + audio.silence(200),
    "odd": LOUD * 161,
    "nothing": audio.silence(60),
}


def near(expected: Any) -> Any:
    return pytest.approx(expected, rel=0, abs=1e-6)


class Words:
    """A Hearing: the n-th stretch has the n-th text, while it is audible too."""

    caller: SimulatedCaller

    def __init__(self, *texts: str | None, functions: Sequence[SeenFunctionCall] = ()) -> None:
        self.heard: list[Stretch] = []
        self._texts = texts
        self._functions = functions

    def over(self, stretch: Stretch) -> None:
        self.heard.append(stretch)

    def words(self, stretch: Stretch) -> str | None:
        index = self.caller.stretches.index(stretch)
        return self._texts[index] if index < len(self._texts) else ""

    def functions(self) -> Sequence[SeenFunctionCall]:
        return self._functions

    async def finish(self) -> None:
        pass


class Telephone:
    """Plays the agent's audio to a caller, 20 ms at a time from 0 s on; keeps what it says."""

    def __init__(self, *steps: ScenarioStep, hearing: Words | None = None, **options: Any) -> None:
        self.words = hearing or Words()
        self.caller = SimulatedCaller(steps, CLIPS.__getitem__, hearing=self.words, **options)
        self.words.caller = self.caller
        self.spoken = b""
        self.keys: list[tuple[float, str]] = []
        self.hung_up: list[float] = []
        self.now = 0.0
        self._heard = QUIET
        self._frames = 0

    def press(self, key: str) -> None:
        self.keys.append((self.now, key))

    def hang_up(self) -> None:
        self.hung_up.append(self.now)

    def run(self, agent: Sequence[tuple[float, float]], until: float) -> list[Said]:
        """Let time pass while the agent speaks in those stretches (seconds)."""
        length = round(until * audio.BYTES_PER_SECOND)
        line = bytearray(audio.SILENCE * length)
        for began, ended in agent:
            a, b = round(began * audio.BYTES_PER_SECOND), round(ended * audio.BYTES_PER_SECOND)
            line[a:b] = LOUD * (b - a)
        while self._frames * audio.FRAME_BYTES < length:
            frame = self.caller.next_frame(self, self._heard, self.now)
            assert len(frame) == audio.FRAME_BYTES
            self.spoken += frame
            begin = self._frames * audio.FRAME_BYTES
            self._heard = bytes(line[begin : begin + audio.FRAME_BYTES])
            self._frames += 1
            self.now = self._frames * audio.FRAME_MS / 1000
        return self.caller.said
