"""Scenario files: what they may say, and what is said about their mistakes."""

from pathlib import Path

import pytest

from offhook.errors import Problem
from offhook.rehearsal import clips, scenario
from offhook.rehearsal.scenario import BargeIn, HangUp, Step, WaitForAgent


def write(folder: Path, text: str) -> Path:
    path = folder / "caller.yaml"
    path.write_text(text)
    return path


def test_every_step_long_and_short(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
from: "+12025550199"
noise_dbfs: -60
steps:
  - wait_for_agent
  - wait_for_agent: {quiet_ms: 900, timeout: 5}
  - say: what are your OPENING hours
  - barge_in: {after_ms: 1200, say: caller-stop}
  - press: "12#"
  - wait: 0.5
  - hang_up:
""",
    )
    read = scenario.read(path)
    assert (read.from_, read.to, read.noise_dbfs) == ("+12025550199", "+12025550100", -60)
    assert read.steps == (
        Step(wait_for_agent=WaitForAgent()),
        Step(wait_for_agent=WaitForAgent(quiet_ms=900, timeout=5)),
        Step(say="what are your OPENING hours"),
        Step(barge_in=BargeIn(after_ms=1200, say="caller-stop")),
        Step(press="12#"),
        Step(wait=0.5),
        Step(hang_up=HangUp()),
    )


@pytest.mark.parametrize(
    ("steps", "line", "says", "fix"),
    [
        ("- sey: Hello?", 2, '"sey"', 'Did you mean "say"?'),
        ("- wait: 1\n  - hangup", 3, '"hangup"', 'Did you mean "hang_up"?'),
        ("- {say: Hello?, wait: 1}", 2, "one thing", "say, barge_in"),
        ("- wait: -1", 2, '"wait"', "Correct"),
        ("- press: 0123", 2, "number to YAML", "quotes"),
        ("- press: 12x", 2, '"press"', "Correct"),
        ("- barge_in: {say: Hello?}", 2, '"after_ms" is missing', "after_ms"),
        ("- wait_for_agent: {quite_ms: 1}", 2, '"quite_ms"', 'Did you mean "quiet_ms"?'),
        ("- 7", 2, "one thing", "say, barge_in"),
        ("- wait: 1\nto: +12025550100", 3, "number to YAML", "quotes"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, steps: str, line: int, says: str, fix: str
) -> None:
    path = write(tmp_path, f"steps:\n  {steps}\n")
    with pytest.raises(Problem) as problem:
        scenario.read(path)
    assert f"{path}:{line}:" in problem.value.what
    assert says in problem.value.what
    assert fix in problem.value.fix


def test_what_nobody_recorded_cannot_be_said(tmp_path: Path) -> None:
    path = write(tmp_path, "steps:\n  - wait: 1\n  - say: Can you sing?\n")
    with pytest.raises(Problem) as problem:
        scenario.read(path)
    assert problem.value.code == "E-REH-01"
    assert problem.value.what.startswith(f"{path}:3:")
    assert "Can you sing?" in problem.value.what
    assert "What are your opening hours?" in problem.value.fix


def test_an_agents_recording_is_not_a_callers() -> None:
    with pytest.raises(Problem):
        scenario.recorded("agent-greeting")
    assert scenario.recorded("Stop!") == clips.load("caller-stop")


def test_the_examples_can_be_read() -> None:
    files = sorted(Path("examples/rehearse").glob("*.yaml"))
    assert files
    for file in files:
        scenario.read(file)
