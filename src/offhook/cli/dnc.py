"""Commands `offhook dnc …`: the do-not-call list."""

from typing import Annotated, TypeAlias

import typer

from offhook.cli import options
from offhook.cli.lazy_group import new_app

app = new_app(no_args_is_help=True)

Number: TypeAlias = Annotated[str, typer.Argument(help="Phone number in E.164 form.", metavar="+…")]


@app.callback()
def dnc() -> None:
    """Do-not-call list: list, add and remove numbers."""


@app.command("list")
def list_(config: options.Config = None, as_json: options.Json = False) -> None:
    """List the numbers, newest first."""
    import dataclasses

    from offhook.cli.calls import formatting
    from offhook.cli.calls.record_access import opened, records_of
    from offhook.observability.console_output import inert
    from offhook.records import dnc

    with opened(records_of(config)) as connection:
        found = dnc.barred(connection)
    if as_json:
        options.print_json([dataclasses.asdict(one) for one in found])
        return
    for one in found:
        call = f", call {one.in_call}" if one.in_call else ""
        print(f"{one.number}  since {formatting.local(one.since_ms)}: {inert(one.why)}{call}")
    if not found:
        print("No numbers.")


@app.command("add")
def add(
    number: Number,
    why: Annotated[
        str, typer.Option(help="Reason, shown by `list`. Default: by hand.", metavar="TEXT")
    ] = "",
    config: options.Config = None,
) -> None:
    """Add a number, which is not called any more. A running server obeys at once."""
    from offhook.cli.calls.record_access import ledger_of, records_of, upgraded
    from offhook.outbound.contacts import canonical
    from offhook.records import database, dnc

    options.require_e164(number)
    number = canonical(number)
    with ledger_of(records_of(config)) as ledger:
        ledger.bar(number)  # before the database: if that is away, it is barred here at least
    with upgraded(config) as connection:
        one = dnc.DoNotCallEntry(number, database.clock_ms(connection), why or "by hand", None)
        added = dnc.bar(connection, one)
    print(f"{number} is never called." if added else f"{number} was on the list already.")


@app.command("remove")
def remove(number: Number, config: options.Config = None) -> None:
    """Remove a number, which may then be called again. Exit code 1 if it was not on the list."""
    from offhook.cli.calls.record_access import ledger_of, records_of, upgraded
    from offhook.outbound.contacts import canonical
    from offhook.records import dnc

    options.require_e164(number)
    number = canonical(number)
    with upgraded(config) as connection:
        removed = dnc.unbar(connection, number)
    with ledger_of(records_of(config)) as ledger:
        removed = ledger.unbar(number) or removed
    print(f"{number} may be called." if removed else f"{number} was not on the list.")
    if not removed:
        raise typer.Exit(1)
