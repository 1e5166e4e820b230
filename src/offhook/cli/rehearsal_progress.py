"""Progress of rehearsals on a terminal: which scenarios run, and what their callers do."""

from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
)
from rich.text import Text

from offhook.cli.progress import Elapsed
from offhook.observability.console_output import inert
from offhook.testing.scenarios.caller import SimulatedCaller
from offhook.testing.scenarios.scenario import ScenarioStep

SHOWN: Final = 2
"""Scenarios that are named at a time."""


class RunningScenarios(ProgressColumn):
    """Column that names the running scenarios and the step that each has come to."""

    max_refresh = 0.25

    def __init__(self) -> None:
        super().__init__()
        self._callers: dict[str, SimulatedCaller | None] = {}

    def begin(self, name: str, caller: SimulatedCaller | None = None) -> None:
        """Note a scenario that has begun, or a caller of it."""
        self._callers[name] = caller

    def end(self, name: str) -> None:
        """Note that a scenario is over."""
        self._callers.pop(name, None)

    def render(self, task: Task) -> Text:
        """Return the text of the column."""
        running = list(self._callers.items())
        lines = [inert(_doing(name, caller)) for name, caller in running[:SHOWN]]
        if len(running) > SHOWN:
            lines.append(f"and {len(running) - SHOWN} more")
        return Text("\n".join(lines), overflow="ellipsis", no_wrap=True)


def shown(console: Console, count: int, column: RunningScenarios) -> Progress:
    """Return the display of so many scenarios, which shows nothing but on a terminal."""
    progress = Progress(
        column,
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        Elapsed(),
        console=console,
        transient=True,
        disable=not console.is_interactive,
    )
    progress.add_task("calling", total=count)
    return progress


def _doing(name: str, caller: SimulatedCaller | None) -> str:
    if caller is None or not 0 <= caller.done < len(caller.steps):
        return name
    place = f"step {caller.done + 1} of {len(caller.steps)}"
    return f"{name}: {place}, {_told(caller.steps[caller.done])}"


def _told(step: ScenarioStep) -> str:
    """Return a step as a scenario's file has it, without its options."""
    ((name, value),) = step.model_dump(exclude_none=True).items()
    return name if isinstance(value, dict) else f"{name}: {value}"
