"""Command `offhook call`: place one call, or the calls of a list, through a running server."""

from pathlib import Path
from typing import Annotated

import typer

from offhook.cli import options


def call(
    number: Annotated[
        str | None, typer.Argument(help="Number to call, in E.164 form.", metavar="[+…]")
    ] = None,
    agent: Annotated[str, typer.Option(help="Name of the agent that speaks.", metavar="NAME")] = "",
    var: options.Variables = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from", help="CSV file of people to call: number, consent, …", metavar="FILE"
        ),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of simultaneous calls. Default: outbound.concurrent.",
            min=1,
            max=1000,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Idempotency key: with the same key the number is called only once."),
    ] = None,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Call a number, or every person of a list, and print the outcome.

    The calls are placed by a running `offhook serve`. A list can be stopped (Ctrl-C) or killed at
    any time; the same command then continues, and calls nobody twice.
    """
    import os
    import secrets

    from offhook import config as configuration
    from offhook import variables
    from offhook.cli import place_calls
    from offhook.cli.api_client import ApiClient, operator_url, token_of
    from offhook.cli.placement_client import PLACING_S, PlacementClient
    from offhook.concurrency.event_loop import run

    if not agent:
        raise typer.BadParameter("Name the agent that speaks.", param_hint="--agent")
    if (number is None) == (from_ is None):
        raise typer.BadParameter("Give either a number or a list (--from).")
    if from_ is not None and key is not None:
        raise typer.BadParameter("Each person of a list has a key already.", param_hint="--key")
    given = options.variables_of(var)
    if not all(variables.NAME.fullmatch(name) for name in given):
        raise typer.BadParameter("Write NAME=VALUE.", param_hint="--var")
    loaded = configuration.load_app(config, os.environ)
    api = ApiClient(operator_url(loaded, url), token_of(loaded), answer_s=PLACING_S)
    client = PlacementClient(api, agent, within_hours=from_ is not None)
    if number is not None:
        options.require_e164(number)
        key = key or secrets.token_hex(16)
        good = run(place_calls.one(client, number, given, key, as_json=as_json))
    else:
        assert from_ is not None, "one of the two was given"
        at_once = at_once or loaded.outbound.concurrent
        good = run(
            place_calls.everybody(from_, agent, given, client, at_once=at_once, as_json=as_json)
        )
    raise typer.Exit(0 if good else 1)
