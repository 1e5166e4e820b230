"""The format of log lines: from any logger of the process, by structlog, to stderr.

On a terminal it is a line for a person; anywhere else a program reads it, and it is a JSON object.
Nothing here waits (stderr.py).

Loggers of ours have the configured level. A library's logger may say anything at a level below
WARNING, such as each URL that it asks, so its lines begin there. Every line goes through _Private.
"""

import contextlib
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from offhook.call_context import current_call
from offhook.capture.masking import Masks
from offhook.config import LogSettings
from offhook.net.log_limit import LogLimit
from offhook.observability.console_output import inert
from offhook.observability.stderr import Printer
from offhook.text import urls

LINE_MAX: Final = 8 * 1024
"""Characters of one value in a line, such as a request's URL, which may be of any length."""

SECRET_MIN: Final = 8
"""Characters of a secret that is looked for in a line. A shorter one may be a word."""

OURS: Final = ("offhook", "offhook_tools")
"""Loggers that have the configured level: Offhook's own, and those of users' tool files, which are
named so by `logging.getLogger(__name__)` (tools/modules.py)."""

_NUMBER: Final = re.compile(r"(?:\+|%2[Bb])[1-9]\d{4,12}(?=\d{2})")
"""A phone number but for its last two digits."""

_BARE_NUMBER: Final = re.compile(r"(?<![\w.])[1-9]\d{7,12}(?=\d{2}(?![\w.]))")
"""A phone number without a plus, as in a library's line, but for its last two digits."""

_log: Final = logging.getLogger("offhook.logs")


@contextlib.contextmanager
def log_to(fd: int, logs: LogSettings, secrets: tuple[str, ...]) -> Iterator[Printer]:
    """Write all loggers' lines and Python's warnings to the file descriptor `fd` while entered.

    Uncaught exceptions of threads and finalisers are written too: Python would print their words.
    `secrets` are values that no line may hold.
    """
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    ours = [logging.getLogger(name) for name in OURS]
    levels = [logger.level for logger in ours]
    hooks = threading.excepthook, sys.unraisablehook
    printer = Printer(fd, lambda lost: handler.line(_told(lost)))
    masks = Masks(secrets, at_least=SECRET_MIN)
    least = max(logging.WARNING, logging.getLevelName(logs.level.upper()))
    handler = _ToPrinter(printer, _formatter(printer.isatty(), logs, masks), least)
    root.handlers[:] = [handler]
    root.setLevel(least)
    for logger in ours:
        logger.setLevel(logs.level.upper())
    threading.excepthook = _log_thread
    sys.unraisablehook = _log_unraisable
    logging.captureWarnings(True)
    # Offhook logs the same as these two, with more detail; Uvicorn's lines are not about calls.
    logging.getLogger("offhook.wire.picows").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        yield printer
    finally:
        logging.captureWarnings(False)
        threading.excepthook, sys.unraisablehook = hooks
        for logger, level in zip(ours, levels, strict=True):
            logger.setLevel(level)
        root.setLevel(before[0])
        root.handlers[:] = before[1]
        printer.stop()


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS


def _log_thread(raised: threading.ExceptHookArgs) -> None:
    """Log the exception that ended a thread: a threading.excepthook."""
    if raised.exc_value is not None and not isinstance(raised.exc_value, SystemExit):
        name = "a thread" if raised.thread is None else f"the thread {raised.thread.name}"
        _log.error("a fault ended %s", name, exc_info=raised.exc_value)


def _log_unraisable(raised: "sys.UnraisableHookArgs") -> None:
    """Log an exception that could not be raised: a sys.unraisablehook.

    The object is not named: its repr may hold anything.
    """
    _log.error("a fault where nothing could be raised", exc_info=raised.exc_value)


def _told(lost: int) -> logging.LogRecord:
    return _record("%d lines of the log were lost: whoever reads it was too slow", lost)


def _record(words: str, *arguments: Any) -> logging.LogRecord:
    return logging.LogRecord(
        "offhook.observability.call_log", logging.WARNING, "", 0, words, arguments, None
    )


class _ToPrinter(logging.Handler):
    """Handler that makes lines of records at once, so that nothing they refer to is kept alive."""

    def __init__(self, printer: Printer, formatter: logging.Formatter, least: int) -> None:
        """Make a handler. `least` is the lowest level of a library's lines."""
        super().__init__()
        self._least = least
        self._printer = printer
        self._limit = LogLimit()
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        # A library may have given its logger a level of its own.
        if record.levelno < self._least and not _is_ours(record.name):
            return
        for lines, words in self._limit.counted(record.created):
            self._write(_record("%d more lines like this were not written: %s", lines, words))
        if self._limit.admits(record):
            self._write(record)

    def _write(self, record: logging.LogRecord) -> None:
        if self._printer.full:
            self._printer.lose()
        else:
            self._printer.write(self.line(record))

    def line(self, record: logging.LogRecord) -> str:
        if not hasattr(record, "call_sid") and (call_sid := current_call.get()):
            record.call_sid = call_sid
        try:
            return self.format(record) + "\n"
        except Exception:  # noqa: BLE001 - a line that cannot be made must not end what logs it
            where = f"{record.name}, line {record.lineno} of {record.filename}"
            return self.format(_record("a log line of %s has wrong arguments", where)) + "\n"


def _formatter(terminal: bool, logs: LogSettings, masks: Masks) -> logging.Formatter:
    def add_time(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        when = datetime.fromtimestamp(line["_record"].created, UTC)
        line["timestamp"] = f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z"
        return line

    def add_fault(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line.pop("exc_info", None)
        raised = line["_record"].exc_info
        if raised and raised[0] is not None:
            line["exception"] = "\n".join(_fault(raised[1], logs.texts))
        if line["_record"].name == "asyncio" and not logs.texts:
            # The message quotes the arguments of a callback, and the words of a task's exception.
            line["event"] = re.split(r"[(<\n]", line["event"])[0].strip()
        return line

    private = _Private(masks, texts=logs.texts)

    def clean(_: Any, __: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
        hide = private.of_ours if _is_ours(line["logger"]) else private.of_others
        hidden: Mapping[str, Any] = hide(line)
        return hidden

    def plain(_: Any, __: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
        """Return a line for a person: without `fields`, and without control of the terminal."""
        line.pop("fields", None)
        return {
            name: "\n".join(map(inert, str(value).split("\n") if name == "exception" else [value]))
            if isinstance(value, str)
            else value
            for name, value in line.items()
        }

    renderer: list[structlog.typing.Processor] = (
        [plain, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if terminal
        else [structlog.processors.JSONRenderer()]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            add_time,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            add_fault,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, clean, *renderer],
    )


class _Private:
    """Removes from a line's values what no log may hold: secrets, parts of URLs, phone numbers."""

    def __init__(self, masks: Masks, *, texts: bool) -> None:
        self._masks = masks
        self._texts = texts

    def of_ours(self, value: Any) -> Any:
        """Return a value of a line of ours: URLs without user and query."""
        return self._walk(value, self._ours)

    def of_others(self, value: Any) -> Any:
        """Return a value of a library's line: of URLs the origin, and no bare phone number."""
        return self._walk(value, self._others)

    def _walk(self, value: Any, hide: Callable[[str], str]) -> Any:
        if isinstance(value, str):
            # What is cut off at the end may be half a secret, so the cut is after the masks.
            return hide(self._masks.text(value[: 2 * LINE_MAX]))[:LINE_MAX]
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self._walk(str(k), hide): self._walk(part, hide) for k, part in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._walk(part, hide) for part in value]
        return self._walk(str(value), hide)

    def _ours(self, text: str) -> str:
        text = urls.masked_in(text)
        return text if self._texts else _NUMBER.sub("+…", text)

    def _others(self, text: str) -> str:
        text = urls.masked_in(text, with_path=False)
        return text if self._texts else _BARE_NUMBER.sub("…", _NUMBER.sub("+…", text))


def _fault(error: BaseException, texts: bool) -> Iterator[str]:
    """Return where an exception came from and its kind; with `texts` also its words.

    Causes come first. Locals are left out: their values may be private.
    """
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _fault(cause, texts)
    for frame in traceback.extract_tb(error.__traceback__):
        yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
    kind = type(error)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    yield f"{name}: {error}" if texts else name
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _fault(part, texts)
