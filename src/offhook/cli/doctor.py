"""Command `offhook doctor`: look at the whole set-up, and name what is wrong with it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from offhook.cli import options

if TYPE_CHECKING:
    from offhook.doctor.check import Check

_COLOURS: Final = {"good": "green", "remark": "magenta", "bad": "red"}


def doctor(
    config: options.Config = None,
    public_url: options.PublicUrl = None,
    deepgram_url: Annotated[
        str | None,
        typer.Option(help="URL of the agent's WebSocket, such as a stand-in. Default: Deepgram."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Look at keys, numbers, the public URL and this machine, and name what is wrong.

    Deepgram is asked with your key: each agent's session is open for a second or so.
    """
    import asyncio
    import os

    from offhook.cli.progress import waiting_between
    from offhook.clock import LoopClock
    from offhook.concurrency.event_loop import run
    from offhook.config import Overrides
    from offhook.doctor.check import summary
    from offhook.doctor.configuration import read_set_up
    from offhook.doctor.examination import examine
    from offhook.doctor.probes import nothing

    overrides = Overrides(public_url=public_url, deepgram_url=deepgram_url)
    read = read_set_up(config, os.environ, overrides)

    async def look() -> "list[Check]":
        clock = LoopClock(asyncio.get_running_loop())
        with waiting_between("looking", nothing if as_json else _show) as show:
            return await examine(read, clock, show)

    checks = run(look())
    counts = summary(checks)
    if as_json:
        options.print_json(counts | {"checks": [_row(check) for check in checks]})
    else:
        print(f"\n{counts['good']} good, {counts['remark']} remarks, {counts['bad']} bad")
    if counts["bad"]:
        raise typer.Exit(1)


def _row(check: "Check") -> dict[str, str]:
    return {
        "name": check.name,
        "status": check.status,
        "reason": check.reason,
        "command": check.command,
    }


def _show(checks: "Sequence[Check]") -> None:
    """Print the checks of one part. A command keeps its line, so that it can be copied."""
    from rich.console import Console
    from rich.text import Text

    from offhook.observability.console_output import hanging, inert

    console = Console(highlight=False)
    for check in checks:
        style = f"bold {_COLOURS[check.status]}"
        name = (inert(check.name), "bold")
        line = Text.assemble((f"{check.status:8}", style), name, f": {inert(check.reason)}")
        hanging(console, line, 8)
        if check.command:
            console.print(Text(f"        → {inert(check.command)}"), soft_wrap=True)
