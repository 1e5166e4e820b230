"""Command `offhook calls erase`: delete calls and print what was deleted."""

from typing import Annotated

import typer

from offhook.cli import options


def erase(
    number: Annotated[
        str | None,
        typer.Option(help="Calls from or to this number, in E.164 form.", metavar="+…"),
    ] = None,
    call: Annotated[
        list[str] | None, typer.Option(help="This call. Repeatable.", metavar="SID")
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            help="Calls that began longer ago than this: 90m, 12h, 90d or 2w.", metavar="AGE"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted, and delete nothing.")
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Delete calls: their rows, recordings and journal entries.

    A call is deleted when all given options match it. Live calls are never deleted.
    """
    import json

    from offhook.cli.calls.record_access import engine_of, records_of
    from offhook.errors import UserError
    from offhook.recordings.files import LocalFiles
    from offhook.records import database, erasing, queries
    from offhook.records import filters as questions

    if number is None and not call and older_than is None:
        raise typer.BadParameter("Give --number, --call or --older-than.")
    questions.CallFilter(number=number)  # a malformed number would silently match no call
    age_ms = None if older_than is None else questions.age_ms(older_than)
    records = records_of(config)
    journal = records.journals
    hooked = records.webhook.url is not None
    erasure = None
    with engine_of(records) as engine:
        erasing.settle(engine, journal, records.prices, after_call=hooked)
        with engine.connect() as connection:
            chosen = erasing.select_calls(
                connection,
                number=number,
                call_sids=[queries.find_sid(connection, sid) for sid in call] if call else None,
                before_ms=None if age_ms is None else database.clock_ms(connection) - age_ms,
            )
            found = erasing.counts(connection, chosen.over)
        if not dry_run:
            files = LocalFiles(records.recordings)
            erasure = erasing.erase(engine, files, journal, chosen.over)
            found = erasure.removed
    if as_json:
        told = {
            "removed": dict(found) if erasure else {},
            "found": dict(found),
            "live": chosen.live,
            "stuck": erasure.stuck if erasure else {},
        }
        print(json.dumps(told))
    else:
        print("Would be removed:" if dry_run else "Removed:")
        for kind, count in sorted(found.items()) or [("calls", 0)]:
            print(f"  {count:>8} {kind.replace('_', ' ')}")
    if erasure is not None:
        erasing.require_all_gone(erasure)
    if chosen.live:
        raise UserError(
            "E-ERA-02",
            f"{len(chosen.live)} calls are live and were left alone, such as {chosen.live[0]}.",
            "Erase again when they are over.",
        )
