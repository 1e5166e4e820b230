"""Options, arguments and output that several commands share."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

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


def _filter(kind: type, text: str, *names: str, **more: Any) -> Any:
    """Return the annotation of an option that may be left out."""
    return Annotated[kind | None, typer.Option(*names, help=text, **more)]


FILTERS: Final[dict[str, Any]] = {
    "since": _filter(
        str,
        "Calls that began at this time or later: ISO 8601 in this machine's time zone, or an age"
        " such as 90m, 24h or 7d.",
        metavar="TIME",
    ),
    "until": _filter(str, "Calls that began before this time, as in --since.", metavar="TIME"),
    "agent": _filter(str, "Calls that this agent answered.", metavar="NAME"),
    "number": _filter(str, "Calls from or to this number, in E.164 form.", metavar="+…"),
    "direction": _filter(str, "Calls of this direction: inbound or outbound.", metavar="WAY"),
    "live": _filter(bool, "Only live calls, or only ended calls.", "--live/--over"),
    "slug": _filter(str, "Calls with this ending, such as caller_hung_up.", metavar="SLUG"),
    "fault": _filter(
        str,
        "Calls ended by this party: nobody (a normal end), caller, twilio, agent, offhook or"
        " operator.",
        metavar="WHO",
    ),
    "text": _filter(str, "Calls in which this text was heard, in any case.", metavar="TEXT"),
    "min_seconds": _filter(
        float, "Calls that lasted at least this long, in seconds.", min=0, max=1e9
    ),
}
"""Filters of calls, by the names of their options."""


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each filter, in place of its parameter `asked`.

    The command receives the options as one `records.filters.CallFilter`.
    """

    @functools.wraps(command)
    def run(**given: Any) -> None:
        asked = _asked(**{name: given.pop(name) for name in FILTERS})
        command(asked=asked, **given)

    signature = inspect.signature(command)
    own = [parameter for name, parameter in signature.parameters.items() if name != "asked"]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    added = [
        inspect.Parameter(name, kind, default=None, annotation=option)
        for name, option in FILTERS.items()
    ]
    # Typer reads both the signature and the annotations.
    vars(run)["__signature__"] = signature.replace(parameters=[*added, *own])
    run.__annotations__ = {each.name: each.annotation for each in (*added, *own)}
    return run


def _asked(since: str | None, until: str | None, min_seconds: float | None, **equal: Any) -> object:
    """Return the options as a CallFilter. Times without a zone are in this machine's zone."""
    from datetime import UTC, datetime

    from offhook.records.filters import CallFilter, moment

    now = datetime.now(UTC)
    return CallFilter(
        since_ms=None if since is None else moment(since, now, None),
        until_ms=None if until is None else moment(until, now, None),
        min_ms=None if min_seconds is None else round(min_seconds * 1000),
        **equal,
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
    from offhook.outbound.people import E164

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
