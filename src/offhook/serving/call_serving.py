"""The call side of `offhook serve`: what exists before its event loop, and what it prints."""

import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, cast

from offhook import __version__
from offhook.api import token
from offhook.capture.writer import Captures
from offhook.clock import wall_clock
from offhook.concurrency.background_thread import WatchedThread
from offhook.concurrency.parts_owner import PartsOwner
from offhook.config import Config
from offhook.events.types import Subscriber
from offhook.journal.keeper import EventJournal
from offhook.link.in_process import InProcessLink
from offhook.observability.call_log import CallLog
from offhook.observability.console_output import ANSI_WARNING, Conversation
from offhook.observability.metrics import catalogue
from offhook.observability.stderr import Printer
from offhook.outbound import ledger_file
from offhook.outbound.ledger import CallLedger
from offhook.policy import dial_count
from offhook.policy.dial_count import DialCount
from offhook.serving.listen import address_of
from offhook.serving.node_links import node_tls
from offhook.serving.options import ServeOptions
from offhook.serving.server import Server
from offhook.text import urls

_log: Final = logging.getLogger("offhook")


def check(config: Config) -> None:
    """Raise UserError for a configuration with which `offhook serve` must not start."""
    config.require_deepgram_key()
    config.require_rest_of_agents()
    if not config.server.unsigned:
        config.require_signing_secrets()
    config.server.require_operator_listen()
    if config.records.webhook.url is not None:
        config.require_webhook_secrets()
    fleet = config.require_fleet()
    if fleet is not None:
        node_tls(fleet)
    if config.server.api_token is None:
        token.token_in(config.records.folder)


class CallFiles(PartsOwner):
    """Files of a call process in the data folder. A context manager that runs their threads.

    Attributes:
        journal: The journal of this process.
        ledger: Placed calls, do-not-call numbers and known CallSids.
        dial_count: Count of the dialling of the last hour.
    """

    def __init__(self, config: Config) -> None:
        """Open the files. Raises UserError for a folder that cannot be used."""
        settings = config.records
        self.journal: Final = EventJournal(settings.journals, settings.journal_limit)
        self.ledger: Final = CallLedger(settings.folder / ledger_file.FILE)
        rules = config.dialling_rules()
        self.dial_count: Final = DialCount(
            settings.folder / dial_count.FILE, rules.calls_per_hour + rules.texts_per_hour
        )

    def _enter_parts(self, stack: contextlib.ExitStack) -> None:
        for part in (self.journal, self.ledger, self.dial_count):
            stack.enter_context(part)


class CallServing(PartsOwner):
    """A call server with its files, captures and log. A context manager that runs their threads."""

    def __init__(
        self, config: Config, options: ServeOptions, sock: socket.socket, supervisor: int = 0
    ) -> None:
        """Open the files. `supervisor` is the process that may start another call process."""
        self._config = config
        self._options = options
        self._supervisor = supervisor
        self._sock = sock
        self._files = CallFiles(config)
        folder = options.capture
        self._captures = None if folder is None else Captures(folder, config.secrets)

    def _enter_parts(self, stack: contextlib.ExitStack) -> None:
        stack.enter_context(self._files)
        if self._captures is not None:
            stack.enter_context(self._captures)

    def server(self, printer: Printer, operator: InProcessLink | None = None) -> Server:
        """Return the server, for the running event loop; `operator` is as Server's."""
        captures = self._captures
        # Anywhere else than on a terminal the log is kept, and must be whole.
        beside = self._options.show and printer.isatty()
        threads: list[WatchedThread] = [printer]
        if captures is not None:
            threads.append(captures.thread)
        server = Server(
            self._config,
            self._sock,
            [CallLog(texts=self._config.logs.texts, beside_conversation=beside)],
            captures,
            watchers=[_conversation(printer)] if self._options.show else [],
            journal=self._files.journal,
            ledger=self._files.ledger,
            dial_count=self._files.dial_count,
            operator=operator,
            threads=threads,
            supervisor=self._supervisor,
        )
        server.metrics.ask(catalogue.LOG_WAITING, lambda: printer.waiting)
        server.metrics.ask(catalogue.LOG_LOST, lambda: printer.lost)
        return server

    def print_banner(self, printer: Printer) -> None:
        """Print what was started, and where."""
        print_lines(printer, _banner(self._config, self._sock, self._options.capture))


def print_lines(printer: Printer, lines: Iterator[tuple[str, str]]) -> None:
    """Print lines, each with its style for a terminal; elsewhere they are lines of the log."""
    for style, line in lines:
        if printer.isatty():
            printer.write(f"{_STYLES[style]}{line}\x1b[0m\n" if style else f"{line}\n")
        else:
            _log.info("%s", line.strip())


_STYLES: Final = {"title": "\x1b[1m", "warning": ANSI_WARNING}


def _banner(config: Config, sock: socket.socket, capture: Path | None) -> Iterator[tuple[str, str]]:
    """Yield the lines that a started server prints, each with its style."""
    server, records = config.server, config.records
    public = server.public_url or "https://YOUR-HOST"
    scheme = "https" if server.tls_cert else "http"
    yield "title", f"Offhook {__version__} answers at {scheme}://{address_of(sock)}"
    yield "", f"  voice webhook    {public}/twilio/voice"
    yield "", f"  TwiML Bin        offhook twiml --public-url {public}"
    if server.unsigned:
        yield "warning", "  unsigned: requests from this machine alone are answered"
    for finding in config.remarks:
        if finding.level == "mistake":
            yield "warning", f"  {finding} {finding.fix}"
    yield "", f"  records          {records.folder}"
    if records.webhook.url is not None:
        yield "", f"  after-call hook  {urls.origin(records.webhook.url)}"
    if capture is not None:
        yield "warning", f"  every call is captured into {capture}"
    yield "", "  Ctrl-C lets live calls finish; twice ends them."


def _conversation(printer: Printer) -> Subscriber:
    """Return what prints what is said."""
    from rich.console import Console

    console = Console(
        file=cast("IO[str]", printer), force_terminal=printer.isatty(), highlight=False
    )
    return Conversation(console, lambda: f"{wall_clock():%H:%M:%S}")
