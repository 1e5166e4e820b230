"""Commands that act on a live call of a running server: docs/control.md."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from offhook.cli import options

_Text: TypeAlias = Annotated[str, typer.Argument(metavar="TEXT")]
_File: TypeAlias = Annotated[
    Path, typer.Argument(help="The block, as YAML or JSON.", metavar="FILE", exists=True)
]


def hang_up(
    sid: options.Sid,
    farewell: Annotated[
        str | None, typer.Option(help="Said in full first.", metavar="TEXT")
    ] = None,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """End a call: at once, or when a farewell was heard."""
    body = {} if farewell is None else {"farewell": farewell}
    _act(sid, "hang-up", body, url, config, as_json)


def say(
    sid: options.Sid,
    text: _Text,
    behavior: Annotated[
        str,
        typer.Option(
            help="While somebody speaks: default is refused, queue waits for the agent's end,"
            " interrupt takes its place."
        ),
    ] = "default",
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Have the agent say something."""
    _act(sid, "say", {"text": text, "behavior": behavior}, url, config, as_json)


def tell(
    sid: options.Sid,
    text: _Text,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Tell the agent something that it answers to, as if the caller had said it."""
    _act(sid, "tell", {"text": text}, url, config, as_json)


def prompt(
    sid: options.Sid,
    text: _Text,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Add something to the agent's prompt."""
    _act(sid, "prompt", {"prompt": text}, url, config, as_json)


def think(
    sid: options.Sid,
    file: _File,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Replace what the agent thinks with: a think block of Settings."""
    _act(sid, "think", {"think": _block(file)}, url, config, as_json)


def speak(
    sid: options.Sid,
    file: _File,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Replace the agent's voice: a speak block of Settings."""
    _act(sid, "speak", {"speak": _block(file)}, url, config, as_json)


def listen(
    sid: options.Sid,
    file: _File,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Change how the agent listens: a listen block of Settings."""
    _act(sid, "listen", {"listen": _block(file)}, url, config, as_json)


def transfer(
    sid: options.Sid,
    destination: Annotated[
        str, typer.Argument(help="A name in the agent file.", metavar="DESTINATION")
    ],
    summary: Annotated[
        str | None, typer.Option(help="Told to a person who is called first.", metavar="TEXT")
    ] = None,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Put the caller through."""
    body = {"destination": destination} | ({} if summary is None else {"summary": summary})
    _act(sid, "transfer", body, url, config, as_json)


def digits(
    sid: options.Sid,
    keys: Annotated[
        str, typer.Argument(help="0 to 9, * and #; w waits half a second, W one.", metavar="KEYS")
    ],
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Press keys in a call."""
    _act(sid, "digits", {"digits": keys}, url, config, as_json)


def mute(
    sid: options.Sid,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Let the caller hear nothing of the agent."""
    _act(sid, "mute", {"on": True}, url, config, as_json)


def unmute(
    sid: options.Sid,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Let the caller hear the agent again."""
    _act(sid, "mute", {"on": False}, url, config, as_json)


def pause(
    sid: options.Sid,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Record silence from now on, on both sides."""
    _act(sid, "recording", {"state": "paused"}, url, config, as_json)


def resume(
    sid: options.Sid,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Record what is said again."""
    _act(sid, "recording", {"state": "recording"}, url, config, as_json)


COMMANDS: Final[Mapping[str, Callable[..., None]]] = {
    "hang-up": hang_up,
    "say": say,
    "tell": tell,
    "prompt": prompt,
    "think": think,
    "speak": speak,
    "listen": listen,
    "transfer": transfer,
    "digits": digits,
    "mute": mute,
    "unmute": unmute,
    "pause": pause,
    "resume": resume,
}


def _block(file: Path) -> Any:
    from offhook import yamlfile

    return yamlfile.read(file).value


def _act(
    sid: str,
    act: str,
    body: Mapping[str, Any],
    url: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Ask the server, and print what happened. Exits with 1 when it was not done, 2 for bad use."""
    import json
    import os
    import sys

    from offhook import config as configuration
    from offhook.cli.api_client import ApiAnswer, ApiClient, server_url, token_of
    from offhook.cli.event_loop import run
    from offhook.observability.console_output import inert

    loaded = configuration.load(config, os.environ)
    client = ApiClient(url or server_url(loaded), token_of(loaded))

    async def ask() -> tuple[str, ApiAnswer]:
        async with client:
            found = await client.find_call_sid(sid)
            return found, await client.act(found, act, body)

    call_sid, answer = run(ask())
    if as_json:
        print(json.dumps({"sid": call_sid, "done": answer.status == 200} | answer.body))
    elif answer.status == 200:
        print(inert(str(answer.body["what"])))
    else:
        code, what, fix = (inert(str(answer.body[key])) for key in ("code", "what", "fix"))
        print(f"{code} {what}\n  → {fix}", file=sys.stderr)
    if answer.status != 200:
        raise typer.Exit(2 if answer.status == 422 else 1)
