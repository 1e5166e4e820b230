"""offhook serve: answer the phone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from offhook.observability.metrics.meter import Metrics
    from offhook.records.delivery import WebhookDelivery


def serve(
    config: Annotated[
        Path | None, typer.Option(help="Default: offhook.yaml if it is there, else the seed's.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", max=65535)] = None,
    public_url: Annotated[
        str | None, typer.Option(help="https origin under which Twilio reaches this machine.")
    ] = None,
    deepgram_url: Annotated[
        str | None, typer.Option(help="The agent's socket, such as a stand-in's.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key, PEM.")] = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Development: no signatures, this machine only.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Print what is said, as it is said.")
    ] = False,
    capture: Annotated[
        Path | None,
        typer.Option(help="Write both wires of each call into a file there.", metavar="DIR"),
    ] = None,
) -> None:
    """Answer calls until told to stop; then let the live ones finish."""
    import contextlib
    import logging
    import os
    import sys
    from typing import IO, cast

    from rich.console import Console
    from rich.markup import escape
    from rich.text import Text

    from offhook import __version__
    from offhook.api import token
    from offhook.api.app import Api
    from offhook.capture.writer import Captures
    from offhook.cli.event_loop import on_stop_signal, run
    from offhook.config import Overrides, load
    from offhook.errors import UserError
    from offhook.observability.call_log import CallLog
    from offhook.observability.console_output import Conversation
    from offhook.observability.log_format import log_to
    from offhook.observability.metrics import catalogue
    from offhook.observability.stderr import Printer
    from offhook.policy.dial_count import FILE as dial_count_file  # noqa: N811
    from offhook.policy.dial_count import DialCount
    from offhook.recordings.files import LocalFiles
    from offhook.records import database
    from offhook.records.delivery import WebhookDelivery
    from offhook.records.record import Record
    from offhook.records.retention import Retention
    from offhook.records.store import RecordStore
    from offhook.serving.server import Server, listen
    from offhook.text import urls

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

    records = loaded.records
    engine = database.open_engine(database.url_of(records.database))
    target = records.webhook.url
    record = Record(
        engine,
        records.folder / "journal",
        records.prices,
        after_call=target is not None,
    )

    rules = loaded.dialling_rules()
    dial_count = DialCount(
        records.folder / dial_count_file, rules.calls_per_hour + rules.texts_per_hour
    )

    deliveries = None
    if target is not None:
        signing = tuple(one.get_secret_value() for one in loaded.require_webhook_secrets())
        deliveries = WebhookDelivery(engine, target, signing, records.prices.currency)

    api_token = loaded.server.api_token or token.token_in(records.folder)
    secrets = (*loaded.secrets, api_token.get_secret_value())
    captures = None if capture is None else Captures(capture, secrets)
    files = LocalFiles(records.recordings)
    api = Api(loaded, api_token, engine, files)
    store = RecordStore(record.journal.id, records.prices, after_call=target is not None)
    retention = Retention(engine, files, store, records.retention)

    async def answer(printer: Printer) -> None:
        terminal = printer.isatty()
        console = Console(file=cast("IO[str]", printer), force_terminal=terminal)
        log = CallLog(texts=loaded.logs.texts)
        watchers = [Conversation(console)] if show else []
        server = Server(
            loaded,
            sock,
            [log],
            captures,
            watchers=watchers,
            record=record,
            api=api,
            dial_count=dial_count,
            threads=[
                retention.thread,
                *([deliveries.thread] if deliveries is not None else []),
                *([captures.thread] if captures is not None else []),
            ],
        )
        server.metrics.ask(catalogue.LOG_WAITING, lambda: printer.waiting)
        server.metrics.ask(catalogue.LOG_LOST, lambda: printer.lost)
        _measure(server.metrics, deliveries)
        on_stop_signal(server.stop)
        scheme = "https" if loaded.server.tls_cert else "http"
        public = loaded.server.public_url or "https://YOUR-HOST"
        address = f"{scheme}://{loaded.server.host}:{server.port}"
        banner = [
            f"[bold]Offhook {__version__}[/] answers at {address}",
            f"  voice webhook    {public}/twilio/voice",
            f"  TwiML Bin        offhook twiml --public-url {public}",
        ]
        if loaded.server.unsigned:
            banner.append("  [yellow]unsigned: requests from this machine alone are answered[/]")
        banner.append(f"  records          {escape(str(records.folder))}")
        where = "OFFHOOK_API_TOKEN"
        if loaded.server.api_token is None:
            where = escape(str(records.folder / token.FILE))
        banner.append(f"  API              {address}/docs, its token: {where}")
        if target is not None:
            banner.append(f"  after-call hook  {escape(urls.origin(target))}")
        if capture is not None:
            banner.append(f"  [yellow]every call is captured[/] into {escape(str(capture))}")
        banner.append("  Ctrl-C lets live calls finish; twice ends them.")
        for line in banner:
            if terminal:
                console.print(line, soft_wrap=True)
            else:
                logging.getLogger("offhook").info("%s", Text.from_markup(line).plain.strip())
        await server.run()

    with (
        log_to(sys.stderr.fileno(), loaded.logs, secrets) as printer,
        record,
        dial_count,
        deliveries or contextlib.nullcontext(),
        retention,
        captures or contextlib.nullcontext(),
    ):
        try:
            run(answer(printer))
        except UserError:
            raise
        except Exception:
            # Python would print its words, which may be a caller's.
            logging.getLogger("offhook.server").exception("the server is ended by a fault")
            raise typer.Exit(1) from None


def _measure(metrics: "Metrics", deliveries: "WebhookDelivery | None") -> None:
    """Have the metrics ask after deliveries; without a target none waits."""
    from offhook.observability.metrics import catalogue

    if deliveries is None:
        metrics.ask(catalogue.AFTER_CALL_WAITING, lambda: 0)
        metrics.ask(catalogue.AFTER_CALL_OLDEST, lambda: 0)
        return
    metrics.ask(catalogue.AFTER_CALL_DELIVERED, lambda: deliveries.delivered)
    metrics.ask(catalogue.AFTER_CALL_FAILED, lambda: deliveries.failed)
    metrics.ask(catalogue.AFTER_CALL_GIVEN_UP, lambda: deliveries.given_up)
    metrics.ask(catalogue.AFTER_CALL_WAITING, lambda: deliveries.waiting.calls)
    metrics.ask(catalogue.AFTER_CALL_OLDEST, lambda: deliveries.waiting.oldest_ms / 1000)
