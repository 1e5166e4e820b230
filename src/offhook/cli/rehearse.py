"""offhook rehearse: call a voice-agent server as Twilio would, and judge what it does."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_TO = "http://127.0.0.1:5000/twilio/voice"


def rehearse(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Scenario files, and folders of them.", metavar="[PATH]..."),
    ] = None,
    say: Annotated[str | None, typer.Option(help="Ask one thing instead.", metavar="TEXT")] = None,
    clip: Annotated[
        Path | None, typer.Option(help="Ask one thing instead: a WAV file.", metavar="FILE.wav")
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            help="Make a captured call again instead, and compare.", metavar="CAPTURE.jsonl"
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="The server that is called, anywhere: a voice webhook (http, https) or a media"
            f" stream (ws, wss). Default: {DEFAULT_TO}, the server that runs on this machine.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Instead of --to: run the server of this offhook.yaml within the rehearsal, which"
            " then also sees functions and endings.",
            metavar="FILE.yaml",
        ),
    ] = None,
    standin: Annotated[
        Path | None,
        typer.Option(
            help="The dialogue of the agent of that server. Without it, Deepgram's agent answers,"
            " which takes DEEPGRAM_API_KEY.",
            metavar="DIALOGUE.yaml",
        ),
    ] = None,
    var: Annotated[
        list[str] | None,
        typer.Option(help="A variable of the scenarios; may be repeated.", metavar="NAME=VALUE"),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="Scenarios at the same time. Default: four for each core.", min=1),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The call as a WAV file, caller left, agent right (default: rehearsal.wav); of"
            " several calls, a folder for them (default: none are kept)."
        ),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write a JUnit report for CI.", metavar="FILE.xml")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    public_url: Annotated[
        str | None,
        typer.Option(
            help="The https origin that the server has: requests are signed for it and carry its"
            " Host. Default: server.public_url, else the host of --to, as https."
        ),
    ] = None,
    signing_key: Annotated[
        str | None,
        typer.Option(
            help="Sign with the shared key of that id in TWILIO_SIGNING_SECRETS, not with the"
            " Auth Token.",
            metavar="ID",
        ),
    ] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Sign nothing.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of scenarios and exit.")
    ] = False,
) -> None:
    """Call a server as Twilio would, say what the caller heard, and what was not as expected.

    Requests are signed with TWILIO_AUTH_TOKEN or --signing-key, always as https or wss: to a plain
    --to they go as through a proxy that ends TLS, with X-Forwarded-Proto. Exits with 1 if a
    call did not go as it should have, and with 3 if this machine was too busy to tell, three times
    in a row.
    """
    import os

    if schema:
        from offhook.testing.scenarios.schema import as_text

        print(as_text(), end="")
        return
    if [bool(paths), say is not None, clip is not None, replay is not None].count(True) != 1:
        raise typer.BadParameter("Give one of scenarios, --say, --clip and --replay.")
    if to is not None and (config is not None or standin is not None):
        raise typer.BadParameter("--to calls a server that runs; --config and --standin run one.")
    if signing_key is not None and unsigned:
        raise typer.BadParameter("Give one of --signing-key and --unsigned.")
    if (config is not None or standin is not None) and (
        unsigned or signing_key is not None or public_url is not None
    ):
        raise typer.BadParameter(
            "The server that is run here needs no --unsigned, --signing-key, --public-url."
        )

    from offhook.cli.event_loop import run
    from offhook.cli.rehearsal import Rehearsal, Wishes

    wishes = Wishes(
        paths=paths or [],
        say=say,
        clip=clip,
        replay=replay,
        to=to or DEFAULT_TO,
        run_server=config is not None or standin is not None,
        config=config,
        standin=standin,
        variables=_variables(var or []),
        jobs=jobs or 4 * (os.cpu_count() or 1),
        out=out,
        junit=junit,
        as_json=as_json,
        public_url=public_url,
        signing_key=signing_key,
        unsigned=unsigned,
    )
    if code := run(Rehearsal(wishes, os.environ).run()):
        raise typer.Exit(code)


def _variables(given: list[str]) -> dict[str, str]:
    variables = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{one!r} is no variable: write NAME=VALUE.")
        variables[name] = value
    return variables
