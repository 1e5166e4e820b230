"""Results on the console: the conversation, and the failures, with times."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from offhook.observability.console_output import WARNING, inert
from offhook.testing.scenarios.results import CallResult, ScenarioResult

_STYLES: Final = {"caller": "cyan", "agent": "green", "call": ""}


def show(console: Console, result: ScenarioResult) -> None:
    """Print one scenario's conversation, then its failures."""
    verdict = ("passed", "bold green") if result.passed else ("FAILED", "bold red")
    if not result.is_judged:
        verdict = ("NOT JUDGED", f"bold {WARNING}")
    head = Text.assemble(verdict, "  ", inert(result.name), (f"  {result.seconds:.1f} s", "dim"))
    console.print(head, soft_wrap=True)
    for name, call in result.calls.items():
        if len(result.calls) > 1:
            console.print(Text(f"  {name}", "bold"))
        _show_call(console, call)
    if not result.is_judged:
        console.print(Text(f"  ! {too_late(result)}", WARNING), soft_wrap=True)
    for failure in result.all_failures:
        line = Text("  ✗ ", "red")
        if failure.place is not None:
            line.append(f"{failure.place} ")
        line.append(inert(failure.told), "red")
        console.print(line, soft_wrap=True)
    console.print()


def too_late(result: ScenarioResult) -> str:
    """Return the message for a scenario that could not be judged."""
    return (
        f"this machine was too busy to judge: it was {result.late} ({result.attempts} attempts)."
        " Stop other programs, or rehearse fewer scenarios at the same time: --jobs 1"
    )


def sum_up(console: Console, results: Sequence[ScenarioResult]) -> None:
    """Print the summary: the number of passed scenarios, and the names of the others."""
    failed = [result for result in results if not result.passed and result.is_judged]
    unjudged = [result for result in results if not result.is_judged]
    for how in dict.fromkeys(result.how for result in results):
        console.print(Text(f"Words that were heard: {how}."), soft_wrap=True)
    passed = sum(result.passed for result in results)
    line = Text(f"{passed} passed", "green" if passed else "")
    if failed:
        line.append(f", {len(failed)} failed: ", "red")
        line.append(", ".join(inert(result.name) for result in failed), "red")
    if unjudged:
        line.append(f", {len(unjudged)} not judged: ", WARNING)
        line.append(", ".join(inert(result.name) for result in unjudged), WARNING)
    console.print(line, soft_wrap=True)


def show_voices(console: Console, synthesised: Mapping[str, str]) -> None:
    """Print which engines synthesised the callers' lines, and how many lines each."""
    for engine, count in Counter(synthesised.values()).items():
        lines = "One line" if count == 1 else f"{count} lines"
        console.print(Text(f"{lines} of callers said by {engine}."), soft_wrap=True)


def _show_call(console: Console, call: CallResult) -> None:
    for one in call.lines():
        line = Text().append(f"  {one.at:6.1f} s  ", "dim")
        line.append(f"{one.who:7} ", _STYLES[one.who])
        line.append(inert(one.text))
        if one.remark:
            line.append(f"  ({one.remark})")
        console.print(line, soft_wrap=True)
    for verb in call.report.verbs:
        if verb.name == "Record":
            text = f"  noted, not done: <{verb.name}> {verb.attributes}"
            console.print(Text(inert(text)), soft_wrap=True)


def show_recordings(console: Console, paths: Sequence[Path]) -> None:
    """Print the paths of the calls' recordings."""
    for path in paths:
        # A path that is broken into lines can be neither copied nor clicked.
        text = f"The call, caller left and agent right: {path}"
        console.print(Text(text), soft_wrap=True)
