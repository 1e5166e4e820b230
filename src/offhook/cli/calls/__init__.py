"""Commands `offhook calls …`: the record of calls, and live calls. Without a subcommand: list."""

from typing import Any, ClassVar

from offhook.cli.lazy_group import LazyGroup, new_app


class _CallsGroup(LazyGroup):
    """Command group whose default is `list`: `calls --since 7d` is `calls list --since 7d`.

    The commands that act on live calls are made from declarations that are slow to import, so
    they are imported only when one of them, or the help, is needed.
    """

    places: ClassVar = {
        "list": "offhook.cli.calls.list_:list_",
        "show": "offhook.cli.calls.show:show",
        "play": "offhook.cli.calls.play:play",
        "export": "offhook.cli.calls.export:export",
        "follow": "offhook.cli.calls.follow:follow",
        "resend": "offhook.cli.calls.resend:resend",
        "erase": "offhook.cli.calls.erase:erase",
    }

    _has_all = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        is_help = bool(args) and args[0] in ctx.help_option_names
        is_named = bool(args) and not args[0].startswith("-")
        # A shell that completes asks with what is typed so far, which may be no command yet.
        if not (is_named or is_help or ctx.resilient_parsing):
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


app = new_app(cls=_CallsGroup)


@app.callback()
def calls() -> None:
    """List, show, play, export, follow and erase calls; and act on live calls."""
