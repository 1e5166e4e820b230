"""Command `offhook reload`: use the agent files as they are now."""

import typer

from offhook.cli import options


def reload(
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Have the running server read its agent files again; live calls keep their agents.

    All files are checked first. After a mistake in one of them nothing has changed.
    """
    import json
    import os
    import sys

    from offhook.cli.api_client import ApiAnswer, ApiClient, operator_url, token_of
    from offhook.concurrency.event_loop import run
    from offhook.config import load_app
    from offhook.observability.console_output import inert

    loaded = load_app(config, os.environ)
    client = ApiClient(operator_url(loaded, url), token_of(loaded))

    async def ask() -> ApiAnswer:
        async with client:
            return await client.reload()

    answer = run(ask())
    body = answer.body
    if as_json:
        print(json.dumps({"done": answer.status == 200} | body))
    elif answer.status == 200:
        print(f"New calls get: {inert(', '.join(body['agents']))}")
        if body["restart"]:
            print(f"  Only a restart applies: {inert(', '.join(body['restart']))}")
    else:
        # The findings of several files stand on lines of their own.
        what = "\n".join(map(inert, str(body["what"]).split("\n")))
        print(f"{inert(body['code'])} {what}\n  → {inert(body['fix'])}", file=sys.stderr)
    if answer.status != 200:
        raise typer.Exit(1)
