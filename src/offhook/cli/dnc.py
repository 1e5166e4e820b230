"""offhook dnc: numbers that are never to be called."""

from typing import Annotated, TypeAlias

import typer

from offhook.cli import options

app = typer.Typer(
    help="Numbers that no agent calls: list, add and remove them.",
    no_args_is_help=True,
    add_completion=False,
)

Number: TypeAlias = Annotated[str, typer.Argument(help="In E.164.", metavar="+…")]


@app.command("list")
def list_(config: options.Config = None, as_json: options.Json = False) -> None:
    """List them, the latest first."""
    import dataclasses
    import json

    from offhook.cli.calls import formatting
    from offhook.cli.calls.record_access import opened, records_of
    from offhook.observability.console_output import inert
    from offhook.records import dnc

    with opened(records_of(config)) as connection:
        found = dnc.barred(connection)
    if as_json:
        print(json.dumps([dataclasses.asdict(one) for one in found], indent=2, ensure_ascii=False))
        return
    for one in found:
        call = f", call {one.in_call}" if one.in_call else ""
        print(f"{one.number}  since {formatting.local(one.since_ms)}: {inert(one.why)}{call}")
    if not found:
        print("There is none.")


@app.command("add")
def add(
    number: Number,
    why: Annotated[str, typer.Option(help="Why, for whoever reads the list.")] = "",
    config: options.Config = None,
) -> None:
    """Never call a number again. A running server knows at once."""
    from offhook.cli.calls.record_access import engine_of, records_of
    from offhook.records import database, dnc

    number = _checked(number)
    with engine_of(records_of(config)) as engine:
        database.upgrade(engine)
        with engine.begin() as connection:
            one = dnc.DoNotCallEntry(number, database.clock_ms(connection), why or "by hand", None)
            added = dnc.bar(connection, one)
    print(f"{number} is never called." if added else f"{number} was on the list already.")


@app.command("remove")
def remove(number: Number, config: options.Config = None) -> None:
    """Allow a number to be called again. Exits with 1 if it was not on the list."""
    from offhook.cli.calls.record_access import engine_of, records_of
    from offhook.records import database, dnc

    number = _checked(number)
    with engine_of(records_of(config)) as engine:
        database.upgrade(engine)
        with engine.begin() as connection:
            removed = dnc.unbar(connection, number)
    print(f"{number} may be called." if removed else f"{number} was not on the list.")
    if not removed:
        raise typer.Exit(1)


def _checked(number: str) -> str:
    """Return the number in the one form in which it is compared. Raises UserError E-OUT-04."""
    from offhook.errors import UserError
    from offhook.outbound.people import E164, canonical

    if not E164.fullmatch(number):
        raise UserError(
            "E-OUT-04",
            "This is not a phone number in international form.",
            "Write + and 7 to 15 digits, as +12025550142.",
        )
    return canonical(number)
