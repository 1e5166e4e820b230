"""Options, arguments and output that several commands share."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

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
        help="URL of the operator's listener of a running server. Default: that of operator.json in"
        " records.folder.",
        envvar="OFFHOOK_URL",
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
