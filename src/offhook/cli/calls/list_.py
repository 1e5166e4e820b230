"""Command `offhook calls list`: calls and their totals."""

from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from offhook.cli import options
from offhook.cli.calls.filter_options import filtered

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from offhook.records.filters import CallFilter
    from offhook.records.models import CallSummary, GroupTotals, Totals


SID_END: Final = 8
"""Characters of a CallSid's end that are shown; `calls show` takes them."""

WIDE_COLUMNS: Final = 120
"""Width of a terminal on which a call has all columns, in characters."""


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
    """List calls, newest first, and the totals of all matching calls.

    Times are of this machine's time zone. On fewer than 120 columns there are no turns, no cost and
    no number of yours.
    """
    import msgspec

    from offhook.cli.calls.record_access import opened, records_of
    from offhook.cli.progress import waiting
    from offhook.records import queries
    from offhook.records.models import CallPage

    if by not in (None, "agent", "day"):
        raise typer.BadParameter("agent or day", param_hint="--by")
    records = records_of(config)
    currency = records.prices.currency
    with opened(records) as connection, waiting("looking for calls"):
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
    from offhook.observability.console_output import hanging, inert

    console = Console(highlight=False)
    if sums is not None:
        for one in sums:
            line = f"{inert(one.key)}: {formatting.sum_of(one.totals, currency)}"
            hanging(console, Text(line), 2)
    elif calls:
        console.print(_table(calls, currency, is_wide=console.width >= WIDE_COLUMNS))
        if more:
            console.print("There are more: --limit, or --since and --until.")
    hanging(console, Text(formatting.sum_of(totals, currency), "bold"), 2)
    endings = ", ".join(f"{inert(slug)} {n}" for slug, n in totals.endings.items())
    if endings:
        hanging(console, Text(f"Ended: {endings}"), 2)


_NARROW: Final = ("SID", "began", "length", "agent", "with", "ended")
_WIDE: Final = ("SID", "began", "length", "agent", "from", "to", "turns", "ended", "cost")
_RIGHT: Final = frozenset({"length", "turns", "cost"})


def _table(calls: "list[CallSummary]", currency: str, *, is_wide: bool) -> "Table":
    """Return the table of calls, with a line for each day. Long cells take several lines."""
    from itertools import groupby

    from rich.table import Table

    from offhook.cli.calls import formatting

    names = _WIDE if is_wide else _NARROW
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        is_broken = name in ("agent", "ended")
        table.add_column(
            name,
            justify="right" if name in _RIGHT else "left",
            no_wrap=not is_broken,
            overflow="fold",
            # What `calls show` takes is whole on the narrowest terminal.
            min_width=SID_END if name == "SID" else len(name),
        )
    for day, of_day in groupby(calls, lambda call: formatting.local_day(call.started_ms)):
        table.add_row(day)
        for call in of_day:
            cells = _cells(call, currency)
            table.add_row(*(cells[name] for name in names))
    return table


def _cells(call: "CallSummary", currency: str) -> "dict[str, Text]":
    """Return the cells of a call by their columns' names."""
    from rich.text import Text

    from offhook.cli.calls import formatting
    from offhook.observability.console_output import WARNING, inert

    trouble = f" +{call.troubles} troubles" if call.troubles else ""
    style = "green" if call.live else "" if call.fault == "nobody" else WARNING
    caller, called = formatting.party(call.from_number), formatting.party(call.to_number)
    other = f"to {called}" if call.direction == "outbound" else f"from {caller}"
    return {
        "SID": Text(inert(call.sid[-SID_END:])),
        "began": Text(formatting.local_time(call.started_ms)),
        "length": Text(formatting.length(call.duration_ms)),
        "agent": Text(inert(call.agent)),
        "from": Text(caller),
        "to": Text(called),
        "with": Text(other),
        "turns": Text(str(call.turns)),
        "ended": Text(f"{inert(call.slug or 'live')}{trouble}", style),
        "cost": Text(formatting.money(call.cost_micros, currency)),
    }
