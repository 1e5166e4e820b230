"""Commands that act on a live call of a running server, made from the declared operations."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import typer
import typer.main
from pydantic.fields import FieldInfo

from offhook.calls.operations import OPERATIONS, Block, Command, Metavar, Operation
from offhook.cli import options
from offhook.cli.lazy_group import new_app

_COMMON: Final[Mapping[str, tuple[Any, Any]]] = {
    "url": (options.Url, None),
    "config": (options.Config, None),
    "as_json": (options.Json, False),
}
"""Parameters of every command, with their defaults."""


def commands() -> dict[str, Any]:
    """Return a command for each one that an operation declares."""
    app = new_app()
    for operation in OPERATIONS:
        for command in operation.commands:
            app.command(command.name, help=command.help)(_callback(operation, command))
    return dict(typer.main.get_group(app).commands)


def _callback(operation: Operation, command: Command) -> Callable[..., None]:
    """Return what typer runs: its signature is the operation's arguments."""
    fields = {
        name: field
        for name, field in operation.arguments.model_fields.items()
        if name not in command.given
    }

    def run(sid: str, url: str | None, config: Path | None, as_json: bool, **given: Any) -> None:
        body = dict(command.given)
        for name, value in given.items():
            if value is not None:
                body[name] = _block(value) if isinstance(value, Path) else value
        _act(sid, operation.name, body, url, config, as_json)

    parameters = {"sid": (options.Sid, inspect.Parameter.empty)}
    parameters |= {name: _parameter(field) for name, field in fields.items()}
    parameters |= _COMMON
    run.__annotations__ = {name: hint for name, (hint, _) in parameters.items()}
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
            )
            for name, (hint, default) in parameters.items()
        ]
    )
    return run


def _parameter(field: FieldInfo) -> tuple[Any, Any]:
    """Return annotation and default of a command's parameter for an argument.

    What must be given is an argument of the command, a block of Settings the file that holds it.
    """
    if field.annotation == Block or Block in get_args(field.annotation):
        file = typer.Argument(help="The block, as YAML or JSON.", metavar="FILE", exists=True)
        return Annotated[Path, file], inspect.Parameter.empty
    names = [each.name for each in field.metadata if isinstance(each, Metavar)]
    help_ = " ".join((field.description or "").split()) or None
    if field.is_required():
        argument = typer.Argument(help=help_, metavar=names[0] if names else "TEXT")
        return Annotated[str, argument], inspect.Parameter.empty
    is_choice = get_origin(field.annotation) is Literal
    option = typer.Option(help=help_, metavar=None if is_choice else "TEXT")
    return Annotated[str if is_choice else str | None, option], field.default


def _block(file: Path) -> Any:
    from offhook import yamlfile

    return yamlfile.read(file).value


def _act(
    sid: str,
    operation: str,
    body: Mapping[str, Any],
    url: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Ask the server, and print what happened. Exits with 1 when it was not done, 2 for bad use."""
    import json
    import os
    import sys

    from offhook import config as configuration
    from offhook.cli.api_client import ApiAnswer, ApiClient, operator_url, token_of
    from offhook.concurrency.event_loop import run
    from offhook.observability.console_output import inert

    loaded = configuration.load_app(config, os.environ)
    client = ApiClient(operator_url(loaded, url), token_of(loaded))

    async def ask() -> tuple[str, ApiAnswer]:
        async with client:
            found = await client.find_call_sid(sid)
            return found, await client.act(found, operation, body)

    call_sid, answer = run(ask())
    if as_json:
        print(json.dumps({"sid": call_sid, "done": answer.status == 200} | answer.body))
    elif answer.status == 200:
        print(inert(str(answer.body["what"])))
    else:
        code, what, fix = (inert(str(answer.body[key])) for key in ("code", "what", "fix"))
        print(f"{code} {what}\n  → {fix}", file=sys.stderr)
    if answer.status != 200:
        raise typer.Exit(2 if answer.status == 422 else 1)
