"""Commands `offhook db …`: the database of the record of calls."""

from offhook.cli import options
from offhook.cli.lazy_group import new_app

app = new_app(no_args_is_help=True)


@app.callback()
def db() -> None:
    """Database of the record of calls."""


@app.command()
def upgrade(config: options.Config = None, as_json: options.Json = False) -> None:
    """Upgrade the database to the schema of this version, as `offhook serve` does."""
    from offhook.cli.calls.record_access import engine_of, records_of
    from offhook.cli.progress import waiting
    from offhook.records import database

    records = records_of(config)
    with engine_of(records) as engine, waiting("upgrading the database") as tell:
        before, after = database.upgrade(engine, tell)
    where = engine.url.render_as_string(hide_password=True)
    if as_json:
        options.print_json({"database": where, "before": before, "after": after})
    elif before == after:
        print(f"{where}: schema {after}, nothing to do")
    else:
        print(f"{where}: schema {before or 'none'} → {after}")
