"""Command `offhook serve`: answer the phone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from offhook.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offhook.config import Config


def serve(
    config: options.Config = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: server.host.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on. Default: server.port.", max=65535)
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
) -> None:
    """Answer calls until stopped. Live calls then finish before the command exits."""
    import contextlib
    import json
    import logging
    import os
    import sys
    from typing import IO, cast

    from rich.console import Console
    from rich.text import Text

    from offhook.capture.writer import Captures
    from offhook.cli.api_client import OPERATOR_FILE
    from offhook.concurrency.event_loop import on_stop_signal, run
    from offhook.config import Overrides, load
    from offhook.errors import UserError
    from offhook.observability.call_log import CallLog
    from offhook.observability.console_output import Conversation
    from offhook.observability.log_format import log_to
    from offhook.observability.metrics import catalogue
    from offhook.observability.stderr import Printer
    from offhook.serving.listen import listen
    from offhook.serving.record_keeping import RecordKeeping
    from offhook.serving.server import Server

    overrides = Overrides(
        host=host,
        port=port,
        public_url=public_url,
        deepgram_url=deepgram_url,
        tls_cert=tls_cert,
        tls_key=tls_key,
        unsigned=unsigned or None,
    )
    loaded = load(config, os.environ, overrides=overrides)
    loaded.require_deepgram_key()
    loaded.require_rest_of_agents()
    if not loaded.server.unsigned:
        loaded.require_signing_secrets()
    sock = listen(loaded.server.host, loaded.server.port)
    keeping = RecordKeeping(loaded)
    secrets = (*loaded.secrets, keeping.api_token.get_secret_value())
    captures = None if capture is None else Captures(capture, secrets)

    async def answer(printer: Printer) -> None:
        terminal = printer.isatty()
        console = Console(file=cast("IO[str]", printer), force_terminal=terminal)
        server = Server(
            loaded,
            sock,
            [CallLog(texts=loaded.logs.texts)],
            captures,
            watchers=[Conversation(console)] if show else [],
            record=keeping.record,
            api=keeping.api,
            ledger=keeping.ledger,
            dial_count=keeping.dial_count,
            operator=keeping.operator,
            threads=[*keeping.threads, *([captures.thread] if captures is not None else [])],
        )
        server.metrics.ask(catalogue.LOG_WAITING, lambda: printer.waiting)
        server.metrics.ask(catalogue.LOG_LOST, lambda: printer.lost)
        keeping.measure(keeping.api.metrics)
        scheme = "https" if loaded.server.tls_cert else "http"
        address = {"url": f"{scheme}://127.0.0.1:{server.port}", "pid": os.getpid()}
        (loaded.records.folder / OPERATOR_FILE).write_text(json.dumps(address))
        on_stop_signal(server.stop)
        for line in _banner(loaded, server.port, capture):
            if terminal:
                console.print(line, soft_wrap=True)
            else:
                logging.getLogger("offhook").info("%s", Text.from_markup(line).plain.strip())
        await server.run()

    with (
        log_to(sys.stderr.fileno(), loaded.logs, secrets) as printer,
        keeping,
        captures or contextlib.nullcontext(),
    ):
        try:
            run(answer(printer))
        except UserError:
            raise
        except Exception:
            # Python would print the exception's text, which may be what a caller said.
            logging.getLogger("offhook.server").exception("the server is ended by a fault")
            raise typer.Exit(1) from None


def _banner(config: "Config", port: int, capture: Path | None) -> "Iterator[str]":
    """Yield the lines that a started server prints."""
    from rich.markup import escape

    from offhook import __version__
    from offhook.api import token
    from offhook.text import urls

    server, records = config.server, config.records
    public = server.public_url or "https://YOUR-HOST"
    address = f"{'https' if server.tls_cert else 'http'}://{server.host}:{port}"
    yield f"[bold]Offhook {__version__}[/] answers at {address}"
    yield f"  voice webhook    {public}/twilio/voice"
    yield f"  TwiML Bin        offhook twiml --public-url {public}"
    if server.unsigned:
        yield "  [yellow]unsigned: requests from this machine alone are answered[/]"
    yield f"  records          {escape(str(records.folder))}"
    where = "OFFHOOK_API_TOKEN"
    if server.api_token is None:
        where = escape(str(records.folder / token.FILE))
    yield f"  API              {address}/docs, its token: {where}"
    if records.webhook.url is not None:
        yield f"  after-call hook  {escape(urls.origin(records.webhook.url))}"
    if capture is not None:
        yield f"  [yellow]every call is captured[/] into {escape(str(capture))}"
    yield "  Ctrl-C lets live calls finish; twice ends them."
