"""Commands `offhook calls …`: the record of calls, and live calls. Without a subcommand: list."""

from typing import Any

import typer
from typer.core import TyperGroup

from offhook.cli.calls import control, erase, export, follow, list_, play, resend, show


class _ListsByDefault(TyperGroup):
    """Command group whose default is `list`: `calls --since 7d` is `calls list --since 7d`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ListsByDefault,
    help="Record of calls: list, show, play, export, follow and erase calls; and commands that act"
    " on a live call.",
    add_completion=False,
)
app.command("list")(list_.list_)
app.command("show")(show.show)
app.command("play")(play.play)
app.command("export")(export.export)
app.command("follow")(follow.follow)
app.command("resend")(resend.resend)
app.command("erase")(erase.erase)
for name, command in control.COMMANDS.items():
    app.command(name)(command)
