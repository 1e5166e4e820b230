"""Command `offhook calls list`: calls and their totals."""

from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from offhook.cli import options
from offhook.cli.calls.filter_options import filtered

if TYPE_CHECKING:
    from offhook.records.filters import CallFilter
    from offhook.records.models import CallSummary, GroupTotals, Totals


SID_END: Final = 8
"""Characters of a CallSid's end that are shown; `calls show` takes them."""


@filtered
def list_(
    asked: "CallFilter",
    by: Annotated[
        str | None,
        typer.Option(
            help="Print totals for each agent or day instead of calls.", metavar="agent|day"
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(help="Maximum number of calls to print.", min=1, max=500)
    ] = 25,
    after: Annotated[
        str | None, typer.Option(help="Continue after a page: its next_cursor.", metavar="CURSOR")
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """List calls, newest first, and the totals of all matching calls."""
    import msgspec

    from offhook.cli.calls.record_access import opened, records_of
    from offhook.records import queries
    from offhook.records.models import CallPage

    if by not in (None, "agent", "day"):
        raise typer.BadParameter("agent or day", param_hint="--by")
    records = records_of(config)
    currency = records.prices.currency
    with opened(records) as connection:
        totals = queries.totals(connection, asked)
        sums = None if by is None else queries.sums(connection, asked, _grouping(by))
        found: list[CallSummary] = []
        cursor = after
        while sums is None:
            # A page of a text search may end before it is full.
            page: CallPage = queries.find(connection, asked, limit - len(found), cursor)
            found += page.calls
            cursor = page.next_cursor
            if cursor is None or len(found) == limit:
                break
    if as_json:
        answer: dict[str, object] = {"currency": currency, "totals": totals}
        if sums is None:
            answer |= {"calls": found, "next_cursor": cursor}
        else:
            answer["sums"] = sums
        options.print_json(msgspec.to_builtins(answer))
        return
    _print(found, sums, totals, currency, more=cursor is not None and sums is None)


def _grouping(by: str) -> Literal["agent", "day"]:
    return "agent" if by == "agent" else "day"


def _print(
    calls: "list[CallSummary]",
    sums: "list[GroupTotals] | None",
    totals: "Totals",
    currency: str,
    *,
    more: bool,
) -> None:
    from rich.console import Console
    from rich.text import Text

    from offhook.cli.calls import formatting
    from offhook.observability.console_output import inert

    console = Console(highlight=False)
    if sums is not None:
        for one in sums:
            line = f"{inert(one.key)}: {formatting.sum_of(one.totals, currency)}"
            console.print(Text(line), soft_wrap=True)
    elif calls:
        console.print(_table(calls, currency))
        if more:
            console.print("There are more: --limit, or --since and --until.", style="dim")
    console.print(Text(formatting.sum_of(totals, currency), "bold"), soft_wrap=True)
    endings = ", ".join(f"{inert(slug)} {n}" for slug, n in totals.endings.items())
    if endings:
        console.print(Text(f"Ended: {endings}", "dim"), soft_wrap=True)


def _table(calls: "list[CallSummary]", currency: str) -> object:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from offhook.cli.calls import formatting
    from offhook.observability.console_output import inert

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    # What `calls show` takes is whole on the narrowest terminal.
    table.add_column("SID", no_wrap=True, min_width=SID_END)
    for title, right in (
        ("began", False),
        ("length", True),
        ("agent", False),
        ("from", False),
        ("to", False),
        ("turns", True),
        ("ended", False),
        ("cost", True),
    ):
        table.add_column(title, justify="right" if right else "left", no_wrap=title != "ended")
    for call in calls:
        trouble = f" +{call.troubles} troubles" if call.troubles else ""
        style = "green" if call.live else "" if call.fault == "nobody" else "yellow"
        ended = Text(f"{inert(call.slug or 'live')}{trouble}", style)
        cells: tuple[str | Text, ...] = (
            inert(call.sid[-SID_END:]),
            formatting.local(call.started_ms),
            formatting.length(call.duration_ms),
            inert(call.agent),
            formatting.party(call.from_number),
            formatting.party(call.to_number),
            str(call.turns),
            ended,
            formatting.money(call.cost_micros, currency),
        )
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))
    return table
