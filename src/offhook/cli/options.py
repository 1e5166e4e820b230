"""The options that several commands share: which calls are meant, and by which configuration."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from offhook.records.filters import CallFilter

Config: TypeAlias = Annotated[
    Path | None, typer.Option("--config", help="Default: offhook.yaml if it is there.")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Sid: TypeAlias = Annotated[
    str, typer.Argument(help="A CallSid, or at least four characters of its end.", metavar="SID")
]
Url: TypeAlias = Annotated[
    str | None,
    typer.Option(help="The server. Default: on this machine, at server.port.", show_default=False),
]

Since: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Begun at that time or later: ISO 8601, or 90m, 24h, 7d ago.", metavar="TIME"
    ),
]
Until: TypeAlias = Annotated[
    str | None, typer.Option(help="Begun before that time.", metavar="TIME")
]
Agent: TypeAlias = Annotated[str | None, typer.Option(help="Of this agent.", metavar="NAME")]
Number: TypeAlias = Annotated[
    str | None, typer.Option(help="From or to this number, in E.164.", metavar="+…")
]
Direction: TypeAlias = Annotated[
    str | None, typer.Option(help="inbound or outbound.", metavar="WAY")
]
Live: TypeAlias = Annotated[
    bool | None, typer.Option("--live/--over", help="Only live calls, or only those over.")
]
Ending: TypeAlias = Annotated[
    str | None, typer.Option("--slug", help="Ended so, as caller_hung_up.", metavar="SLUG")
]
Fault: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Whose doing the end was: nobody, caller, twilio, agent, offhook, operator.",
        metavar="WHO",
    ),
]
Text: TypeAlias = Annotated[
    str | None, typer.Option(help="In which this was heard, whatever its case.", metavar="TEXT")
]
MinSeconds: TypeAlias = Annotated[
    float | None, typer.Option(help="That lasted so long or longer.", min=0, max=1e9)
]


def meant(
    *,
    since: str | None,
    until: str | None,
    agent: str | None,
    number: str | None,
    direction: str | None,
    live: bool | None,
    slug: str | None,
    fault: str | None,
    text: str | None,
    min_seconds: float | None,
) -> "CallFilter":
    """The options as a filter. Times without a zone are this machine's."""
    from datetime import UTC, datetime

    from offhook.records.filters import CallFilter, moment

    now = datetime.now(UTC)
    return CallFilter(
        since_ms=None if since is None else moment(since, now, None),
        until_ms=None if until is None else moment(until, now, None),
        agent=agent,
        number=number,
        direction=direction,
        live=live,
        slug=slug,
        fault=fault,
        text=text,
        min_ms=None if min_seconds is None else round(min_seconds * 1000),
    )
