"""Implementation of `offhook call`: one call or a list, with progress and outcome printed."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from offhook.cli import options
from offhook.cli.placement_client import PlacementClient
from offhook.cli.progress import Elapsed
from offhook.concurrency.event_loop import on_stop_signal
from offhook.observability.console_output import WARNING, inert
from offhook.outbound import contacts as lists
from offhook.outbound.contacts import ContactList
from offhook.outbound.errors import TryLaterError, UncertainError
from offhook.outbound.list_progress import ListProgress
from offhook.outbound.list_run import CallOutcome, ListReport, ListRun, NotCalled

REASONS_MAX: Final = 20
"""Maximum number of refused rows to print. `--json` prints all of them."""

REACHED: Final = "completed"


async def one(
    client: PlacementClient, number: str, variables: Mapping[str, str], key: str, *, as_json: bool
) -> bool:
    """Place a call and follow it to its end. Return whether a person or a machine answered.

    An interrupt ends the command, not the call.
    """
    console = Console(highlight=False, stderr=as_json)
    following = asyncio.current_task()
    assert following is not None, "a coroutine runs in a task"
    async with client.api:
        sid = await _placed(client, number, variables, key, console)
        on_stop_signal(following.cancel)
        outcome = CallOutcome("queued", final=False)
        try:
            while True:
                console.print(Text(f"{sid}  {_words(outcome)}"), soft_wrap=True)
                if outcome.final:
                    break
                outcome = await _news(client, sid, outcome)
        except asyncio.CancelledError:
            following.uncancel()
            console.print(Text(f"The call goes on: offhook calls show {sid}", WARNING))
            return True
    if as_json:
        told = {
            "call_sid": sid,
            "status": outcome.status,
            "slug": outcome.slug,
            "words": outcome.words,
        }
        options.print_json(told)
    return outcome.status == REACHED


async def _placed(
    client: PlacementClient, number: str, variables: Mapping[str, str], key: str, console: Console
) -> str:
    while True:
        try:
            return await client.place(number, variables, None, key)
        except UncertainError as uncertain:
            console.print(Text(f"{uncertain.what} Looking for it.", WARNING), soft_wrap=True)
            await asyncio.sleep(uncertain.after_s)


async def _news(client: PlacementClient, sid: str, before: CallOutcome) -> CallOutcome:
    """Return the state of the call once its status is not that of `before`."""
    outcome = before
    while outcome.status == before.status and not outcome.final:
        outcome = await client.outcome_of(sid, before.status)
    return outcome


def _words(outcome: CallOutcome) -> str:
    words = {"in-progress": "answered", "queued": "placed"}.get(outcome.status, outcome.status)
    return f"{words}: {inert(outcome.words)}" if outcome.final and outcome.words else words


async def everybody(
    path: Path,
    agent: str,
    variables: Mapping[str, str],
    client: PlacementClient,
    *,
    at_once: int,
    as_json: bool,
) -> bool:
    """Call the people of a list. Return whether everybody who may be called was called."""
    found = lists.read(path)
    console = Console(highlight=False, stderr=True)
    for name in found.unused:
        console.print(Text(f"column {inert(name)!r} fills no variable"), soft_wrap=True)
    with ListProgress(path, agent) as progress, _bar(console) as bar:
        row = bar.add_task("", total=len(found.people))

        def show(report: ListReport) -> None:
            bar.update(row, completed=report.done, description=_summary(report))

        run = ListRun(
            found.people,
            progress,
            client,
            at_once=at_once,
            variables=variables,
            changed=show,
        )
        report = await _stoppable(run, client, console)
        show(report)
    if as_json:
        options.print_json(_as_json(found, report))
    _tell(console, found, report)
    if run.problem is not None:
        raise run.problem
    return report.whole


async def _stoppable(run: ListRun, client: PlacementClient, console: Console) -> ListReport:
    """Run the list. One interrupt ends new calls; a second ends the command, not the live calls."""
    running = asyncio.current_task()
    assert running is not None, "a coroutine runs in a task"

    def stop() -> None:
        if run.report.stopped:
            running.cancel()
        else:
            console.print("stopping: nobody else is rung; again to leave the live calls alone")
            run.stop()

    on_stop_signal(stop)
    async with client.api:
        try:
            return await run.run()
        except asyncio.CancelledError:
            running.uncancel()
            return run.report


def _bar(console: Console) -> Bar:
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        Elapsed(),
    )
    return Bar(*columns, console=console, disable=not console.is_interactive)


def _summary(report: ListReport) -> str:
    counted = [f"{count} {slug}" for slug, count in report.outcomes.most_common(3)]
    if report.refused:
        counted.append(f"{len(report.refused)} refused")
    return ", ".join([f"{report.live} live", *counted])


def _tell(console: Console, found: ContactList, report: ListReport) -> None:
    for bad in found.bad[:REASONS_MAX]:
        console.print(Text(f"line {bad.line}: {bad.why}", WARNING), soft_wrap=True)
    _tell_rest(console, len(found.bad))
    for not_rung in [*report.refused, *report.later][:REASONS_MAX]:
        what = f"line {not_rung.person.line}: {inert(not_rung.problem.what)}"
        console.print(Text(what, WARNING), soft_wrap=True)
    _tell_rest(console, len(report.refused) + len(report.later))
    endings = ", ".join(f"{inert(slug)} {count}" for slug, count in report.outcomes.most_common())
    parts = [f"{report.outcomes.total()} rung"]
    if endings:
        parts[0] += f" ({endings})"
    for count, words in (
        (report.before, "rung before"),
        (len(found.bad), "bad rows"),
        (len(report.refused), "refused"),
        (report.total - report.done - len(report.refused), "left"),
    ):
        if count:
            parts.append(f"{count} {words}")
    console.print(Text(", ".join(parts), "bold"), soft_wrap=True)
    if report.total - report.done - len(report.refused):
        console.print("The same command goes on from here.")


def _tell_rest(console: Console, count: int) -> None:
    if count > REASONS_MAX:
        console.print(Text(f"and {count - REASONS_MAX} more: --json has them", WARNING))


def _as_json(found: ContactList, report: ListReport) -> dict[str, Any]:
    def rows(those: list[NotCalled]) -> list[dict[str, Any]]:
        return [
            {
                "line": each.person.line,
                "code": each.problem.code,
                "what": each.problem.what,
                "after_s": each.problem.after_s
                if isinstance(each.problem, TryLaterError)
                else None,
            }
            for each in those
        ]

    return {
        "rows": report.total + len(found.bad),
        "rung": report.outcomes.total(),
        "rung_before": report.before,
        "outcomes": dict(report.outcomes),
        "bad": [{"line": bad.line, "what": bad.why} for bad in found.bad],
        "refused": rows(report.refused),
        "later": rows(report.later),
        "stopped": report.stopped,
        "whole": report.whole,
    }
