"""Command `offhook init`: write the files of a new agent."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of the agent. Default: this one.", metavar="[DIR]", show_default=False
        ),
    ] = Path(),
    number: Annotated[
        str | None,
        typer.Option(
            help="Number of your Twilio account that the agent answers, in E.164 form. Default:"
            " asked for, if the account has several.",
            metavar="+…",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing, as without a terminal.")] = False,
) -> None:
    """Write the files of a new agent: offhook.yaml, an agent file, tools, .env and a scenario.

    Asks for the keys of Deepgram and Twilio, and checks them. Keys that the environment or .env
    has are not asked for. Nothing is overwritten: in a folder that has an offhook.yaml, only .env,
    .gitignore and the schemas are completed.
    """
    import os
    import sys

    from offhook.cli import options
    from offhook.cli.init_run import InitRun

    if number is not None:
        options.require_e164(number)
    asks = not yes and sys.stdin.isatty() and sys.stdout.isatty()
    InitRun(folder, number, os.environ, asks=asks).run()
