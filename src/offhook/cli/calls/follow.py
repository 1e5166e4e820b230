"""Command `offhook calls follow`: print the events of calls as they happen."""

import typer

from offhook.cli import options


def follow(
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Print one line for each event in the calls of a running server, until Ctrl-C."""
    import os

    from offhook import config as configuration
    from offhook.cli.api_client import ApiClient, operator_url, token_of
    from offhook.cli.calls.event_printer import EventPrinter
    from offhook.cli.calls.event_stream import EventStream
    from offhook.concurrency.event_loop import run

    loaded = configuration.load_app(config, os.environ)
    api = ApiClient(operator_url(loaded, url), token_of(loaded))
    try:
        run(EventStream(api).follow(EventPrinter(as_json=as_json)))
    except KeyboardInterrupt:
        raise typer.Exit from None
