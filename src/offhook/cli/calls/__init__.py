"""offhook calls: asking the record. Without a further word it lists."""

from typing import Any

import typer
from typer.core import TyperGroup

from offhook.cli.calls import control, erase, export, follow, list_, play, resend, show


class _ListsByDefault(TyperGroup):
    """`offhook calls --since 7d` is `offhook calls list --since 7d`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ListsByDefault,
    help="What calls there were: list, show, hear, export, follow and erase them. And act on those"
    " that are live.",
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
