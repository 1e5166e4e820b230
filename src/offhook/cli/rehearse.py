"""Command `offhook rehearse`: call a voice-agent server as Twilio does, and judge the calls."""

from pathlib import Path
from typing import Annotated

import typer

from offhook.cli import options


def rehearse(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Scenario files, or folders of scenario files.", metavar="[PATH]..."),
    ] = None,
    say: Annotated[
        str | None, typer.Option(help="Instead of a scenario: say this sentence.", metavar="TEXT")
    ] = None,
    clip: Annotated[
        Path | None,
        typer.Option(help="Instead of a scenario: say this WAV file.", metavar="FILE.wav"),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a scenario: repeat this captured call, and compare both calls.",
            metavar="CAPTURE.jsonl",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="URL to call: a voice webhook (http, https) or a media stream (ws, wss)."
            " Default: the webhook of the server on this machine, at server.port of offhook.yaml.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Instead of --to: run a server with this offhook.yaml. Scenarios can then also"
            " check functions and endings.",
            metavar="FILE.yaml",
        ),
    ] = None,
    standin: Annotated[
        Path | None,
        typer.Option(
            help="Dialogue of the stand-in agent for that server. Default: Deepgram's agent, which"
            " needs DEEPGRAM_API_KEY.",
            metavar="DIALOGUE.yaml",
        ),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="Fault that happens in each scenario, END:KIND=VALUE@WHEN, such as"
            " agent:close=1011@8 or agent:error=SERVER_GOING_AWAY@audio+300. Repeatable.",
            metavar="SPEC",
        ),
    ] = None,
    var: options.Variables = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of simultaneous scenarios. Default: four for each core.", min=1
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="WAV file to write, caller left, agent right. Default: rehearsal.wav. With several"
            " calls: a folder of WAV files. Default: none is written.",
            metavar="PATH",
        ),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write a JUnit report to this file.", metavar="FILE.xml")
    ] = None,
    as_json: options.Json = False,
    public_url: Annotated[
        str | None,
        typer.Option(
            help="https origin of the server: requests are signed for it and have its Host."
            " Default: server.public_url, else the host of --to, as https."
        ),
    ] = None,
    signing_key: Annotated[
        str | None,
        typer.Option(
            help="Sign with the shared key of this id in TWILIO_SIGNING_SECRETS instead of the Auth"
            " Token.",
            metavar="ID",
        ),
    ] = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Send requests without signatures.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of scenario files, and exit.")
    ] = False,
) -> None:
    """Call a server as Twilio does, and print what was heard and which expectations failed.

    Requests are signed with TWILIO_AUTH_TOKEN or --signing-key, always as https or wss. If --to is
    http or ws, they also have X-Forwarded-Proto, as behind a proxy that ends TLS. Exit code 1 if a
    call failed an expectation; 3 if this machine was too busy to judge, three times in a row.
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

    if fault and to is not None:
        raise typer.BadParameter(
            f"The server at {to} runs elsewhere. Faults happen between a server that the rehearsal"
            " runs itself, and its two ends. Run it here: offhook rehearse --config offhook.yaml"
            f" --fault {fault[0]}",
            param_hint="--fault",
        )
    if fault and replay is not None:
        raise typer.BadParameter("A replay is of the call as it was, without further faults.")

    from offhook.cli.rehearsal import Rehearsal, RehearsalOptions
    from offhook.concurrency.event_loop import run

    given = RehearsalOptions(
        paths=paths or [],
        say=say,
        clip=clip,
        replay=replay,
        to=to,
        run_server=config is not None or standin is not None,
        config=config,
        standin=standin,
        faults=fault or [],
        variables=options.variables_of(var),
        jobs=jobs or 4 * (os.cpu_count() or 1),
        out=out,
        junit=junit,
        as_json=as_json,
        public_url=public_url,
        signing_key=signing_key,
        unsigned=unsigned,
    )
    if code := run(Rehearsal(given, os.environ).run()):
        raise typer.Exit(code)
