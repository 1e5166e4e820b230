"""Commands `offhook calls …`: the record of calls, and live calls. Without a subcommand: list."""

from typing import Any

import typer
from typer.core import TyperGroup

from offhook.cli.calls import erase, export, follow, list_, play, resend, show


class _CallsGroup(TyperGroup):
    """Command group whose default is `list`: `calls --since 7d` is `calls list --since 7d`.

    The commands that act on live calls are made from declarations that are slow to import, so
    they are imported only when one of them, or the help, is needed.
    """

    _has_all = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        self._load_all()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands:
            self._load_all()
        return super().get_command(ctx, cmd_name)

    def _load_all(self) -> None:
        if not self._has_all:
            from offhook.cli.calls import control

            self._has_all = True
            self.commands.update(control.commands())


app = typer.Typer(
    cls=_CallsGroup,
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
