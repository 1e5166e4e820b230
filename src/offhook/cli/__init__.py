"""The command line: one file for each command. Heavy modules are imported when a command runs."""

import sys
from typing import Annotated, ClassVar

import typer

from offhook import __version__
from offhook.cli.lazy_group import LazyGroup, new_app
from offhook.errors import UserError


class _Commands(LazyGroup):
    places: ClassVar = {
        "demo": "offhook.cli.demo:demo",
        "init": "offhook.cli.init:init",
        "dev": "offhook.cli.dev:dev",
        "serve": "offhook.cli.serve:serve",
        "check": "offhook.cli.check:check",
        "doctor": "offhook.cli.doctor:doctor",
        "explain": "offhook.cli.explain:explain",
        "reload": "offhook.cli.reload:reload",
        "call": "offhook.cli.call:call",
        "calls": "offhook.cli.calls:calls",
        "db": "offhook.cli.db:db",
        "dnc": "offhook.cli.dnc:dnc",
        "users": "offhook.cli.users:users",
        "rehearse": "offhook.cli.rehearse:rehearse",
        "standin": "offhook.cli.standin:standin",
        "numbers": "offhook.cli.numbers:numbers",
        "twiml": "offhook.cli.twiml:twiml",
        "bench": "offhook.cli.bench:bench",
    }


app = new_app(name="offhook", cls=_Commands, no_args_is_help=True, add_completion=True)


@app.callback(invoke_without_command=True)
def _offhook(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Answer a Twilio phone number with a Deepgram voice agent."""
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run one command. Exit codes: 0 good, 1 the thing failed, 2 wrong use."""
    try:
        app()
    except UserError as problem:
        print(problem.for_terminal(), file=sys.stderr)
        sys.exit(1)
