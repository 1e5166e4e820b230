"""offhook calls follow: what happens in calls, as it happens."""

import typer

from offhook.cli import options


def follow(
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Print one line for each event of the calls of a running server, until Ctrl-C."""
    import os

    from offhook import config as configuration
    from offhook.cli.api_client import server_url, token_of
    from offhook.cli.calls.event_stream import Following
    from offhook.cli.calls.telling import Teller

    loaded = configuration.load(config, os.environ)
    try:
        Following(url or server_url(loaded), token_of(loaded)).run(Teller(as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit from None
