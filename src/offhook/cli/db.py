"""offhook db: the database of the record."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The database of the record.", add_completion=False, no_args_is_help=True)


@app.callback()
def _db() -> None:
    """Keep `upgrade` a word of its own, though it is the only one."""


@app.command()
def upgrade(
    config: Annotated[
        Path | None, typer.Option(help="Default: offhook.yaml if it is there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring the database to the schema of this version, as offhook serve does at its start."""
    import json

    from offhook.cli.calls.record_access import engine_of, records_of
    from offhook.records import database

    records = records_of(config)
    with engine_of(records) as engine:
        before, after = database.upgrade(engine)
    where = engine.url.render_as_string(hide_password=True)
    if as_json:
        print(json.dumps({"database": where, "before": before, "after": after}, indent=2))
    elif before == after:
        print(f"{where}: schema {after}, nothing to do")
    else:
        print(f"{where}: schema {before or 'none'} → {after}")
