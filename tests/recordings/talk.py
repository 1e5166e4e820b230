"""A call as long as one likes, of questions, answers and interruptions, on a clock that jumps."""

import random
from pathlib import Path

from tests.calls.test_session import Rehearsal
from tests.whole_server import ASK, GREET, HOURS

from offhook.config import LimitSettings
from offhook.recordings import reading
from offhook.recordings.files import LocalFiles
from offhook.recordings.recorder import Recordings
from offhook.recordings.wav import read_stereo
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.script import Script, ScriptTurn

LONG = "We are open from Monday to Friday, from nine in the morning until six in the evening."
TALKATIVE = Script(
    fallback=ScriptTurn(hear=HOURS, say=[LONG, LONG]),
    interrupted=ScriptTurn(hear="Stop.", say=[LONG]),
    silence_ms=300,
    reply_ms=50,
)
ENDLESS = LimitSettings(max_minutes=1440, silence_seconds=0)


def steps(seconds: float, seed: int = 5) -> list[ScenarioStep]:
    """More than enough of them for so long a call."""
    chance = random.Random(seed)
    made = [GREET]
    for _ in range(int(seconds / 4) + 1):
        after_ms = chance.randrange(200, 4000)
        cut = ScenarioStep.model_validate({"barge_in": {"after_ms": after_ms, "say": "Stop."}})
        made += [ASK, cut, GREET]
    return made


def talk(folder: Path, seconds: float, seed: int = 5) -> tuple[Rehearsal, bytes, bytes]:
    """Such a call, recorded: the call, and both sides of its recording."""
    files = LocalFiles(folder)
    files.prepare()
    with Recordings(files) as recordings:
        rehearsal = Rehearsal(
            *steps(seconds, seed), script=TALKATIVE, limits=ENDLESS, recordings=recordings
        )
        rehearsal.clock.run(seconds)
        rehearsal.stream.hang_up()
        rehearsal.clock.run(1)
    (name,) = reading.names(files)
    return rehearsal, *read_stereo(folder / name)
