"""What a terminal shows of rehearsals, and of other work, that take a while."""

import io
import re
import sys

import pytest
from rich.console import Console

from offhook.cli.progress import waiting_between
from offhook.cli.rehearsal_progress import RunningScenarios, shown
from offhook.testing.scenarios.caller import SimulatedCaller
from offhook.testing.scenarios.scenario import ScenarioStep


def test_the_step_that_each_caller_has_come_to_is_named() -> None:
    steps = [
        ScenarioStep.model_validate("wait_for_agent"),
        ScenarioStep(say="Hello.\x1b[2J"),
        ScenarioStep.model_validate("hang_up"),
    ]
    caller = SimulatedCaller(steps, lambda text: b"")
    running = RunningScenarios()
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    progress = shown(console, 3, running)
    with progress:
        (task,) = progress.tasks
        running.begin("first")
        assert running.render(task).plain == "first"
        running.begin("first", caller)
        assert running.render(task).plain == "first: step 1 of 3, wait_for_agent"
        caller.done = 1
        assert running.render(task).plain == "first: step 2 of 3, say: Hello. [2J"
        caller.done = 3
        running.begin("second")
        running.begin("third")
        assert running.render(task).plain == "first\nsecond\nand 1 more"
        running.end("first")
        running.end("second")
        assert running.render(task).plain == "third"


def test_the_line_of_progress_is_away_while_something_is_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = io.StringIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, terminal)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with waiting_between("looking", lambda text: print(f"<{text}>")) as show:
        show("first")
        show("second")
    lines = re.sub(r"\x1b\[\??[\d;]*[a-zA-Z]", "", terminal.getvalue()).splitlines()
    assert [line for line in lines if "<" in line] == ["<first>", "<second>"]
    assert sum("looking" in line for line in lines) >= 3


def test_elsewhere_than_on_a_terminal_nothing_is_shown() -> None:
    out = io.StringIO()
    with shown(Console(file=out), 1, RunningScenarios()):
        pass
    assert out.getvalue() == ""
