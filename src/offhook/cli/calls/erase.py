"""Command `offhook calls erase`: delete calls and print what was deleted."""

from collections.abc import Mapping
from pathlib import Path
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
    rehearsals: Annotated[
        bool,
        typer.Option(
            "--rehearsals",
            help="Instead of calls: recordings that demo and rehearse have left in this folder.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted, and delete nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Delete calls: their rows, recordings and journal entries.

    A call is deleted when all given options match it. Live calls are never deleted. Before anything
    is deleted it is counted, and you are asked.
    """
    from offhook.records import filters as questions

    if number is None and not call and older_than is None and not rehearsals:
        raise typer.BadParameter("Give --number, --call, --older-than or --rehearsals.")
    if rehearsals and (number is not None or call):
        raise typer.BadParameter("--rehearsals takes --older-than and no other choice.")
    questions.CallFilter(number=number)  # a malformed number would silently match no call
    age_ms = None if older_than is None else questions.age_ms(older_than)
    if rehearsals:
        _erase_rehearsals(age_ms, dry_run=dry_run, yes=yes, as_json=as_json)
    else:
        _erase_calls(number, call, age_ms, config, dry_run=dry_run, yes=yes, as_json=as_json)


def _erase_calls(
    number: str | None,
    call: list[str] | None,
    age_ms: int | None,
    config: Path | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    from offhook.cli.calls.record_access import engine_of, records_of
    from offhook.cli.progress import waiting
    from offhook.errors import UserError
    from offhook.recordings.files import LocalFiles
    from offhook.records import database, erasing, queries

    records = records_of(config)
    journal = records.journals
    hooked = records.webhook.url is not None
    erasure = None
    with engine_of(records) as engine:
        with waiting("reading the journals"):
            erasing.settle(engine, journal, records.prices, after_call=hooked)
        with waiting("counting"), engine.connect() as connection:
            chosen = erasing.select_calls(
                connection,
                number=number,
                call_sids=[queries.find_sid(connection, sid) for sid in call] if call else None,
                before_ms=None if age_ms is None else database.clock_ms(connection) - age_ms,
            )
            found = erasing.counts(connection, chosen.over)
        if not dry_run:
            _confirm(found, yes=yes, as_json=as_json)
            files = LocalFiles(records.recordings)
            with waiting("erasing"):
                erasure = erasing.erase(engine, files, journal, chosen.over)
            found = erasure.removed
    stuck = erasure.stuck if erasure else {}
    _tell(found, chosen.live, stuck, dry_run=dry_run, as_json=as_json)
    if erasure is not None:
        erasing.require_all_gone(erasure)
    if chosen.live:
        raise UserError(
            "E-ERA-02",
            f"{len(chosen.live)} calls are live and were left alone, such as {chosen.live[0]}.",
            "Erase again when they are over.",
        )


def _erase_rehearsals(age_ms: int | None, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    from offhook.clock import wall_clock
    from offhook.errors import UserError
    from offhook.recordings import rehearsals

    before_s = None if age_ms is None else wall_clock().timestamp() - age_ms / 1000
    paths = rehearsals.left(Path(), before_s)
    found = {"rehearsals": len(paths)}
    stuck: dict[str, str] = {}
    if not dry_run:
        _confirm(found, yes=yes, as_json=as_json)
        stuck = rehearsals.erase(paths)
        found["rehearsals"] -= len(stuck)
    _tell(found, [], stuck, dry_run=dry_run, as_json=as_json)
    if stuck:
        name, why = next(iter(stuck.items()))
        raise UserError(
            "E-ERA-05",
            f"{len(stuck)} recordings of rehearsals could not be deleted, such as {name}: {why}.",
            f"Delete it as a user who may: rm {name}",
        )


def is_person_there() -> bool:
    """Return whether a person can be asked."""
    import sys

    return sys.stdin.isatty()


def _confirm(found: Mapping[str, int], *, yes: bool, as_json: bool) -> None:
    """Ask whether to go on. Raises UserError E-ERA-06 where there is nobody to ask."""
    from offhook.errors import UserError

    if yes or not any(found.values()):
        return
    if as_json or not is_person_there():
        raise UserError(
            "E-ERA-06",
            "Nothing was erased: erasing is for good, and there is nobody here to ask.",
            "See with --dry-run what would be erased, and then erase with --yes.",
        )
    print("To be removed for good:")
    _list(found)
    if not typer.confirm("Remove them?"):
        print("Nothing was erased.")
        raise typer.Exit(1)


def _tell(
    found: Mapping[str, int],
    live: list[str],
    stuck: Mapping[str, str],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    import json

    if as_json:
        removed = {} if dry_run else dict(found)
        print(json.dumps({"removed": removed, "found": dict(found), "live": live, "stuck": stuck}))
        return
    print("Would be removed:" if dry_run else "Removed:")
    _list(found)


def _list(found: Mapping[str, int]) -> None:
    for kind, count in sorted(found.items()) or [("calls", 0)]:
        print(f"  {count:>8} {kind.replace('_', ' ')}")
