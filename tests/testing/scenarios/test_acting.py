"""The example whose agent acts does what its scenarios expect, and its goodbye is heard whole."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.failures import TOO_BUSY
from tests.testing.scenarios.front_desk import told
from typer.testing import CliRunner

from offhook.audio import FRAME_BYTES
from offhook.cli import app
from offhook.clock import LoopClock
from offhook.errors import UserError
from offhook.recordings import wav
from offhook.testing.scenarios import files, preparing, runner
from offhook.testing.scenarios import listeners as listening
from offhook.testing.scenarios.results import ScenarioResult
from offhook.testing.simulator.speech import clips

SCENARIOS = Path("examples/acting/scenarios")
STORY = SCENARIOS / "books-and-hangs-up.yaml"


async def run(paths: Iterable[Path], attempts: int = runner.ATTEMPTS) -> list[ScenarioResult]:
    loaded = files.load_all(files.find(paths), {})
    rendered = await preparing.rendering(loaded)
    clock = LoopClock(asyncio.get_running_loop())
    async with listening.listeners(None, None) as listeners:
        dialogues = files.Dialogues(None)
        cases = await preparing.prepare(loaded, dialogues, listeners, rendered, None, {})
        return await runner.run(cases, clock, jobs=20, attempts=attempts)


def times_heard(clip: str, heard: bytes) -> int:
    """Return how often a whole clip is heard. A late machine leaves gaps between its frames."""
    sound = clips.load(clip)
    frames = [sound[at : at + FRAME_BYTES] for at in range(0, len(sound), FRAME_BYTES)]
    place, times = 0, 0
    while True:
        for frame in frames:
            found = heard.find(frame, place)
            if found < 0:
                return times
            place = found + len(frame)
        times += 1


@pytest.mark.long
@pytest.mark.limit(900)  # what fails while this machine is late runs again, alone
async def test_every_scenario_passes_and_the_whole_goodbye_is_in_the_recording(
    tmp_path: Path,
) -> None:
    results = await run([SCENARIOS])
    assert told(results) == ""
    (story,) = [result for result in results if Path(result.loaded.file) == STORY]
    report = story.calls["caller"].report
    report.write_wav(tmp_path / "call.wav")
    _, heard = wav.read_stereo(tmp_path / "call.wav")
    assert times_heard("agent-goodbye", heard) == 1
    assert times_heard("agent-table-booked", heard) == 1
    (left,) = [result for result in results if "voicemail" in result.loaded.file]
    voicemail = left.calls["caller"].report
    assert [verb.text for verb in voicemail.verbs if verb.name == "Say"] == [
        "Hello Ada, this is Corner Table. Your table is ready on Friday at seven."
    ]
    (message,) = [span for span in voicemail.line if span.sound == "say"]
    assert message.began - voicemail.answered_at >= 3.4  # greeting and tone are over


WRONG = {
    "books-and-hangs-up.yaml": ("farewell: Thank you for calling.", "farewell:", "Thank you"),
    "kitchen-is-busy.yaml": ("{does: busy, after_s: 1}", "{after_s: 1}", "was not heard"),
    "kitchen-takes-the-call.yaml": ('["+12025550123"]', "[]", "rung was +12025550123, not nobody"),
    "manager-does-not-answer.yaml": ("dead_air_ms: 6000", "dead_air_ms: 3000", "nobody was heard"),
    "rings-a-voicemail.yaml": ("machine: {greeting_s: 3}", "", "not message_left"),
    "rings-a-machine.yaml": ("agent: survey", "agent: reminder", "not machine_answered"),
    "keys.yaml": ("called: send_digits", "not_called: send_digits", "send_digits was called"),
}
"""What is right, what is put in its place, and what is told of it, by scenario."""


@pytest.mark.long
async def test_what_goes_wrong_is_told(tmp_path: Path) -> None:
    for name, (right, wrong, _) in WRONG.items():
        text = (SCENARIOS / name).read_text()
        assert right in text, name
        config = (SCENARIOS / "../offhook.yaml").resolve()
        text = text.replace(right, wrong).replace("../offhook.yaml", str(config))
        (tmp_path / name).write_text(text)
    judged = [result for result in await run([tmp_path], attempts=1) if result.late is None]
    if not judged:
        pytest.skip(f"{TOO_BUSY} to judge")
    for result in judged:
        words = WRONG[Path(result.loaded.file).name][2]
        assert words in "; ".join(failure.what for failure in result.all_failures)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("../offhook.yaml", "none.yaml"), "a-scenario.yaml:3:9 "),
        (("telephones: {}\n", ""), "Without telephones the server has no account"),
        (
            ("telephones: {}\n", "vars: {}\n", "hung_up_by: rest", "rung: []"),
            "Who is rung is known where a scenario has telephones.",
        ),
        (("config: ../offhook.yaml\n", ""), "Write both: config, script."),
        (("steps:", "placed: {agent: reminder}\nsteps:"), "There is no telephone +12025550142"),
    ],
)
def test_what_cannot_be_is_told_before_any_call(
    tmp_path: Path, change: tuple[str, ...], told: str
) -> None:
    (tmp_path / "scenarios").mkdir()
    for file in SCENARIOS.parent.glob("*.*"):
        (tmp_path / file.name).write_text(file.read_text())
    path = tmp_path / "scenarios" / "a-scenario.yaml"
    text = STORY.read_text()
    for right, wrong in zip(change[::2], change[1::2], strict=True):
        assert right in text
        text = text.replace(right, wrong)
    path.write_text(text)
    with pytest.raises(UserError) as problem:
        CliRunner().invoke(app, ["rehearse", str(path)], catch_exceptions=False)
    assert told in str(problem.value)
