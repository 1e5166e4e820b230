"""The command line: one file for each command. Heavy modules are imported when a command runs."""

import sys
from typing import Annotated

import typer

from offhook import __version__
from offhook.cli import bench, call, calls, check, db, demo, dnc, rehearse, serve, standin, twiml
from offhook.errors import UserError

app = typer.Typer(
    name="offhook",
    help="Answer a Twilio phone number with a Deepgram voice agent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def _offhook(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


app.command("demo")(demo.demo)
app.command("serve")(serve.serve)
app.command("check")(check.check)
app.command("call")(call.call)
app.add_typer(calls.app, name="calls")
app.add_typer(db.app, name="db")
app.add_typer(dnc.app, name="dnc")
app.command("rehearse")(rehearse.rehearse)
app.command("standin")(standin.standin)
app.command("twiml")(twiml.twiml)
app.command("bench")(bench.bench)


def main() -> None:
    """Run one command. Exit codes: 0 good, 1 the thing failed, 2 wrong use."""
    try:
        app()
    except UserError as problem:
        print(f"{problem.code} {problem.what}\n  → {problem.fix}", file=sys.stderr)
        sys.exit(1)
