"""Command `offhook serve`: answer the phone."""

from pathlib import Path
from typing import Annotated

import typer

from offhook.cli import options


def serve(
    config: options.Config = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: server.host.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on. Default: server.port.", max=65535)
    ] = None,
    operator_listen: Annotated[
        str | None,
        typer.Option(
            help="Address for the operator's API, metrics and commands."
            " Default: server.operator_listen.",
            metavar="HOST:PORT",
        ),
    ] = None,
    public_url: options.PublicUrl = None,
    deepgram_url: Annotated[
        str | None,
        typer.Option(help="URL of the agent's WebSocket, such as a stand-in. Default: Deepgram."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM file with the TLS certificate chain.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="PEM file with the private key of --tls-cert.")
    ] = None,
    unsigned: Annotated[
        bool,
        typer.Option(
            "--unsigned",
            help="For development: check no signatures, and answer only this machine.",
        ),
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Print what is said, as it is said.")
    ] = False,
    capture: Annotated[
        Path | None,
        typer.Option(
            help="Folder in which to write the messages of each call, one file a call.",
            metavar="DIR",
        ),
    ] = None,
    in_process: Annotated[
        bool,
        typer.Option(
            "--in-process",
            help="Serve calls and operator in one process, such as for a debugger.",
        ),
    ] = False,
) -> None:
    """Answer calls until stopped. Live calls then finish before the command exits."""
    import os
    import sys

    from offhook.serving.listen import given_by_systemd
    from offhook.serving.options import ServeOptions

    given = ServeOptions(
        config=config,
        host=host,
        port=port,
        operator_listen=operator_listen,
        public_url=public_url,
        deepgram_url=deepgram_url,
        tls_cert=tls_cert,
        tls_key=tls_key,
        unsigned=unsigned,
        show=show,
        capture=capture,
    )
    listening = given_by_systemd(os.environ, os.getpid())
    if in_process or sys.platform == "win32":
        from offhook.serving.in_process import serve_in_process

        code = serve_in_process(given, os.environ, listening)
    else:
        from offhook.serving.service_manager import ServiceManager
        from offhook.serving.supervisor import supervise

        code = supervise(given, ServiceManager(os.environ, os.getpid()), listening)
    raise typer.Exit(code)
