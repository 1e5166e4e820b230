"""Command `offhook calls resend`: deliver the record of a call again."""

from offhook.cli import options


def resend(sid: options.Sid, config: options.Config = None, as_json: options.Json = False) -> None:
    """Have the running server deliver the record of a call to the after-call webhook again."""
    import json

    from offhook.cli.calls.record_access import records_of, upgraded
    from offhook.errors import UserError
    from offhook.records import database, jobs, queries
    from offhook.text import urls

    records = records_of(config)
    if records.webhook.url is None:
        raise UserError(
            "E-HOOK-04",
            "No after-call webhook is configured, so there is nowhere to send it.",
            "Set records.webhook.url in offhook.yaml.",
        )
    with upgraded(config) as connection:
        found = queries.find_sid(connection, sid)
        jobs.resend(connection, found, database.clock_ms(connection))
    if as_json:
        print(json.dumps({"sid": found, "resent": True}))
    else:
        target = urls.origin(records.webhook.url)
        print(f"{found} will be delivered to {target} by the running server.")
