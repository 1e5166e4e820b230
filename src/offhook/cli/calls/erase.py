"""offhook calls erase: remove calls for good, and say what was removed."""

from typing import Annotated

import typer

from offhook.cli.calls import filters


def erase(
    number: Annotated[
        str | None, typer.Option(help="Calls with this caller, or this number that we called.")
    ] = None,
    call: Annotated[
        list[str] | None, typer.Option(help="One call; may be given several times.", metavar="SID")
    ] = None,
    older_than: Annotated[
        int | None, typer.Option(help="Calls that began so many days ago.", min=0, metavar="DAYS")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    config: filters.Config = None,
    as_json: filters.Json = False,
) -> None:
    """Remove calls: their rows, recordings, and what waits of them in the journal.

    A call must meet all that is given.
    """
    import json

    from offhook.cli.calls.reading import engine_of, records_of
    from offhook.recordings.files import LocalFiles
    from offhook.records import database, erasing, queries

    if number is None and not call and older_than is None:
        raise typer.BadParameter("Give --number, --call or --older-than.")
    records = records_of(config)
    journal = records.folder / "journal"
    hooked = records.webhook.url is not None
    with engine_of(records) as engine:
        erasing.settle(engine, journal, records.prices, after_call=hooked)
        with engine.connect() as connection:
            chosen = erasing.select_calls(
                connection,
                number=number,
                call_sids=[queries.find_sid(connection, sid) for sid in call] if call else None,
                before_ms=None
                if older_than is None
                else database.clock_ms(connection) - older_than * 86_400_000,
            )
            found = erasing.counts(connection, chosen)
        if not dry_run:
            found = erasing.erase(engine, LocalFiles(records.recordings), journal, chosen)
    if as_json:
        print(json.dumps({"removed": {} if dry_run else dict(found), "found": dict(found)}))
        return
    print("Would be removed:" if dry_run else "Removed:")
    for kind, count in sorted(found.items()) or [("calls", 0)]:
        print(f"  {count:>8} {kind.replace('_', ' ')}")
