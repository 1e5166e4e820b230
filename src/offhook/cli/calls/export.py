"""Command `offhook calls export`: write calls to a file, or recordings to a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from offhook.cli import options
from offhook.cli.calls.filter_options import filtered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from offhook.config import RecordsSettings
    from offhook.records.filters import CallFilter
    from offhook.records.models import CallSummary

FORMATS = ("jsonl", "csv", "audio")


@filtered
def export(
    asked: "CallFilter",
    format_: Annotated[
        str, typer.Option("--format", help="Format: jsonl, csv or audio.", metavar="FORMAT")
    ] = "jsonl",
    output: Annotated[
        Path | None,
        typer.Option(
            help="File to write; for audio, the folder. Default: standard output.", metavar="PATH"
        ),
    ] = None,
    config: options.Config = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print a summary of the export as JSON. Requires --output."),
    ] = False,
) -> None:
    """Export calls, newest first: complete records (jsonl), a table (csv) or recordings (audio)."""
    import json
    import sys

    from offhook.cli.calls.record_access import every, opened, records_of
    from offhook.cli.progress import counted
    from offhook.records import queries

    if format_ not in FORMATS:
        raise typer.BadParameter(" or ".join(FORMATS), param_hint="--format")
    if output is None and (as_json or format_ == "audio"):
        raise typer.BadParameter("Give --output.", param_hint="--output")
    records = records_of(config)
    missing: list[str] = []
    with opened(records) as connection:
        calls = every(connection, asked)
        if output is not None:
            calls = counted(calls, queries.totals(connection, asked).calls, "exporting")
        if format_ == "audio" and output is not None:
            exported, missing = _copy(calls, records, output)
        else:
            currency = records.prices.currency
            if format_ == "csv":
                exported = _write(_csv(calls, currency), output) - 1  # without the header
            else:
                exported = _write(_jsonl(connection, calls, currency), output)
    if as_json:
        print(json.dumps({"exported": exported, "output": str(output), "missing": missing}))
    elif output is not None:
        what = "recordings" if format_ == "audio" else "calls"
        print(f"{exported} {what} in {output}", file=sys.stderr)
        for sid in missing:
            print(f"  the recording of {sid} is not there", file=sys.stderr)
    if missing:
        raise typer.Exit(1)


def _jsonl(
    connection: "Connection", calls: "Iterator[CallSummary]", currency: str
) -> "Iterator[str]":
    import msgspec

    from offhook.records import call_record

    for call in calls:
        record = call_record.show(connection, call.sid)
        if record is not None:
            yield msgspec.json.encode(call_record.exported(record, currency)).decode() + "\n"


def _csv(calls: "Iterator[CallSummary]", currency: str) -> "Iterator[str]":
    """Yield a header, and a row for each call: the fields of `records.models.CallSummary`."""
    import csv
    import dataclasses
    import io

    from offhook.records.models import CallSummary

    names = [field.name for field in dataclasses.fields(CallSummary)]
    line = io.StringIO(newline="")
    writer = csv.writer(line)
    writer.writerow([*names, "currency"])
    yield line.getvalue()
    for call in calls:
        line.seek(0)
        line.truncate()
        writer.writerow([*(_cell(getattr(call, name)) for name in names), currency])
        yield line.getvalue()


def _cell(value: object) -> object:
    """Return the value so that no spreadsheet takes it for a formula: callers choose some texts."""
    if isinstance(value, str) and value[:1] in ("=", "@", "-", "\t", "\r"):
        return f"'{value}"
    return value


def _write(pieces: "Iterator[str]", output: Path | None) -> int:
    """Write the pieces. Return how many there were. Raises UserError E-ASK-08."""
    import os
    import sys

    from offhook.errors import UserError

    count = 0
    try:
        if output is None:
            for piece in pieces:
                sys.stdout.write(piece)
                count += 1
            sys.stdout.flush()
            return count
        # Only this user may read what was said.
        fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8", newline="") as file:
            for piece in pieces:
                file.write(piece)
                count += 1
    except BrokenPipeError:
        # The reader is done. Python must not write the rest when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise UserError(
            "E-ASK-08",
            f"{output or 'Standard output'} cannot be written: {error.strerror}.",
            "Give another --output.",
        ) from None
    return count


def _copy(
    calls: "Iterator[CallSummary]", records: "RecordsSettings", folder: Path
) -> tuple[int, list[str]]:
    """Copy recordings under their CallSids. Return how many, and the CallSids without a file."""
    import shutil

    from offhook.cli.calls.record_access import recording
    from offhook.errors import UserError

    copied, missing = 0, []
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for call in calls:
            if call.recording is None:
                continue
            source = recording(records, call.recording)
            if source is None:
                missing.append(call.sid)
                continue
            target = folder / f"{_plain(call.sid)}.wav"
            target.touch(mode=0o600)
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
            copied += 1
    except OSError as error:
        raise UserError(
            "E-ASK-08",
            f"{folder} cannot be written: {error.strerror}.",
            "Give another --output.",
        ) from None
    return copied, missing


def _plain(sid: str) -> str:
    """Return the CallSid, which others choose, as a file name without path separators."""
    return "".join(letter if letter.isalnum() else "_" for letter in sid)
