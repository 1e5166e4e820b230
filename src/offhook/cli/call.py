"""offhook call: have a running server's agent call somebody, or everybody of a list."""

from pathlib import Path
from typing import Annotated

import typer

from offhook.cli import options


def call(
    number: Annotated[
        str | None, typer.Argument(help="Whom to call, in E.164.", metavar="[+…]")
    ] = None,
    agent: Annotated[str, typer.Option(help="The name of the agent that talks.")] = "",
    var: Annotated[
        list[str] | None,
        typer.Option(help="Fills {{NAME}}; may be given often.", metavar="NAME=VALUE"),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="A list: CSV with number, consent, …", metavar="FILE"),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(help="Calls at once. Default: outbound.concurrent.", min=1, max=1000),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="With the same key it is the same call, and nobody is rung again."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="The server. Default: on this machine, at server.port.", show_default=False
        ),
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Call somebody, or everybody of a list, and tell what became of it.

    A server of `offhook serve` does it. A list can be stopped (Ctrl-C) and killed at any moment;
    the same command goes on, and rings nobody twice.
    """
    import os
    import secrets

    from offhook import config as configuration
    from offhook.cli import place_calls
    from offhook.cli.api_client import server_url, token_of
    from offhook.cli.call_placer import Client
    from offhook.cli.event_loop import run
    from offhook.errors import UserError
    from offhook.outbound.people import E164

    if not agent:
        raise typer.BadParameter("whose call is it?", param_hint="--agent")
    if (number is None) == (from_ is None):
        raise typer.BadParameter("a number, or a list with --from: one of the two")
    if from_ is not None and key is not None:
        raise typer.BadParameter("each person of a list has a key already", param_hint="--key")
    variables = _variables(var or [])
    loaded = configuration.load(config, os.environ)
    client = Client(
        url or server_url(loaded), token_of(loaded), agent, within_hours=from_ is not None
    )
    if from_ is not None:
        places = at_once or loaded.outbound.concurrent
        good = run(
            place_calls.everybody(from_, agent, variables, client, at_once=places, as_json=as_json)
        )
        raise typer.Exit(0 if good else 1)
    assert number is not None, "it was asked for"
    if not E164.fullmatch(number):
        raise UserError(
            "E-OUT-04",
            "This is not a phone number in international form.",
            "Write + and 7 to 15 digits, as +12025550142.",
        )
    key = key or secrets.token_hex(16)
    good = run(place_calls.one(client, number, variables, key, as_json=as_json))
    raise typer.Exit(0 if good else 1)


def _variables(given: list[str]) -> dict[str, str]:
    from offhook import variables

    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not variables.NAME.fullmatch(name):
            raise typer.BadParameter("write NAME=VALUE", param_hint="--var")
        found[name] = value
    return found
