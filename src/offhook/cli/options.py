"""Options, arguments and output that several commands share."""

import functools
import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from offhook.records.filters import FILTER_FIELDS, CallFilter, FilterField

Config: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Configuration file. Default: ./offhook.yaml if it exists, else the settings of"
        " Deepgram's tutorial.",
        metavar="FILE",
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Sid: TypeAlias = Annotated[
    str, typer.Argument(help="CallSid, or at least the last four characters of it.", metavar="SID")
]
Url: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="URL of the running server. Default: this machine, at server.port.",
        show_default=False,
    ),
]
Variables: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--var", help="Value of a variable. Repeatable.", metavar="NAME=VALUE"),
]
PublicUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="https origin at which Twilio reaches Offhook, such as https://voice.example.com."
        " Default: server.public_url.",
        show_default=False,
    ),
]


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each of FILTER_FIELDS, in place of its parameter `asked`.

    The command receives the options as one CallFilter. Times without a zone are this machine's.
    """

    @functools.wraps(command)
    def run(**given: Any) -> None:
        values = {field.name: given.pop(field.name) for field in FILTER_FIELDS}
        if values["min_ms"] is not None:
            values["min_ms"] = round(values["min_ms"] * 1000)
        command(asked=CallFilter.of(values, datetime.now(UTC), None), **given)

    signature = inspect.signature(command)
    own = [parameter for name, parameter in signature.parameters.items() if name != "asked"]
    parameters = [*map(_parameter, FILTER_FIELDS), *own]
    # Typer reads both the signature and the annotations.
    vars(run)["__signature__"] = signature.replace(parameters=parameters)
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _parameter(field: FilterField) -> inspect.Parameter:
    """Return the option of a filter. A number of milliseconds is given in seconds."""
    names = [] if field.option is None else [field.option]
    kind: type = float if field.kind is int else field.kind
    low, high = (0, 1e9) if kind is float else (None, None)
    option = typer.Option(*names, help=field.help, metavar=field.metavar, min=low, max=high)
    at = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(
        field.name, at, default=None, annotation=Annotated[kind | None, option]
    )


def variables_of(given: list[str] | None) -> dict[str, str]:
    """Return the values of repeated NAME=VALUE options."""
    found = {}
    for each in given or []:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{each!r} is not NAME=VALUE.", param_hint="--var")
        found[name] = value
    return found


def require_e164(number: str) -> None:
    """Raise UserError E-OUT-04 for a text that is not a phone number in E.164 form."""
    from offhook.errors import UserError
    from offhook.text.phone_numbers import E164

    if not E164.fullmatch(number):
        raise UserError(
            "E-OUT-04",
            "This is not a phone number in international form.",
            "Write + and 7 to 15 digits, as +12025550142.",
        )


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False))
