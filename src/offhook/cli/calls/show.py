"""Command `offhook calls show`: print one call."""

from offhook.cli import options


def show(sid: options.Sid, config: options.Config = None, as_json: options.Json = False) -> None:
    """Print one call: what was said and heard, response times, ending and cost."""
    import msgspec
    from rich.console import Console

    from offhook.cli.calls.call_page import INDENT, page
    from offhook.cli.calls.record_access import opened, records_of
    from offhook.observability.console_output import hanging
    from offhook.records import call_record, queries

    records = records_of(config)
    currency = records.prices.currency
    with opened(records) as connection:
        record = call_record.shown(connection, queries.find_sid(connection, sid))
    if as_json:
        options.print_json(msgspec.to_builtins(call_record.exported(record, currency)))
        return
    console = Console(highlight=False)
    for line in page(record, currency):
        hanging(console, line, INDENT)
