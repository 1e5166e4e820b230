"""The format of log lines: from any logger of the process to stderr.

On a terminal it is a line for a person, with the time of day; anywhere else a program reads it, and
it is a JSON object, with the time in UTC.
Nothing here waits (stderr.py).

Loggers of ours have the configured level. A library's logger may say anything at a level below
WARNING, such as each URL that it asks, so its lines begin there. Every line goes through _Private.
"""

import contextlib
import dataclasses
import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, get_args

from offhook.call_context import current_call
from offhook.capture.masking import Masks
from offhook.config import LogSettings
from offhook.events.types import Event
from offhook.net.log_limit import LogLimit
from offhook.observability.console_output import ANSI_WARNING, inert
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

_OF_EVERY_RECORD: Final = frozenset(logging.makeLogRecord({}).__dict__)
"""Attributes that every record has: others were given by the code that logs."""

_KNOWN_NAMES: Final = frozenset(
    {
        *("event", "timestamp", "level", "logger", "exception", "call_sid", "at_ms", "fields"),
        "happened",
        *(field.name for kind in get_args(Event) for field in dataclasses.fields(kind)),
    }
)
"""Names in lines that are our own, and so hold nothing private."""

_JSON: Final = json.JSONEncoder(default=str)

_Hide: TypeAlias = Callable[[str], str]

_log: Final = logging.getLogger("offhook.logs")


@contextlib.contextmanager
def log_to(
    fd: int, logs: LogSettings, secrets: tuple[str, ...], process: str = ""
) -> Iterator[Printer]:
    """Write all loggers' lines and Python's warnings to the file descriptor `fd` while entered.

    `process` is the field of that name in lines for programs: several processes may write to `fd`.

    Uncaught exceptions of threads and finalisers are written too: Python would print their words.
    `secrets` are values that no line may hold.
    """
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    ours = [logging.getLogger(name) for name in OURS]
    levels = [logger.level for logger in ours]
    hooks = threading.excepthook, sys.unraisablehook
    printer = Printer(fd, lambda lost, fault: handler.line(_told(lost, fault)))
    masks = Masks(secrets, at_least=SECRET_MIN)
    least = max(logging.WARNING, logging.getLevelName(logs.level.upper()))
    common = {"process": process} if process and not printer.isatty() else {}
    render = _for_people() if printer.isatty() else _JSON.encode
    private = _Private(masks, texts=logs.texts)
    handler = _ToPrinter(printer, _Formatter(private, render, common, texts=logs.texts), least)
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
    _log.error("an exception that could not be raised", exc_info=raised.exc_value)


def _told(lost: int, fault: str) -> logging.LogRecord:
    if fault:
        return _record("%d log lines were lost, some by a fault in the printer: %s", lost, fault)
    return _record("%d log lines were lost: stderr was read too slowly", lost)


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


class _Formatter(logging.Formatter):
    """Makes a line of each record: `render` writes its values once they are private."""

    def __init__(
        self,
        private: "_Private",
        render: Callable[[dict[str, Any]], str],
        common: Mapping[str, str],
        *,
        texts: bool,
    ) -> None:
        super().__init__()
        self._common = common
        self._private = private
        self._render = render
        self._texts = texts

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, without its end."""
        line: dict[str, Any] = {
            "event": record.getMessage(),
            "timestamp": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            **self._common,
        }
        given = record.__dict__
        line.update({name: given[name] for name in given if name not in _OF_EVERY_RECORD})
        raised = record.exc_info
        if raised and raised[1] is not None:
            line["exception"] = "\n".join(_fault(raised[1], self._texts))
        if record.name == "asyncio" and not self._texts:
            # The message quotes the arguments of a callback, and the words of a task's exception.
            line["event"] = re.split(r"[(<\n]", line["event"])[0].strip()
        hide = self._private.of_ours if _is_ours(record.name) else self._private.of_others
        return self._render(hide(line))


def _time(created: float) -> str:
    """Return a time in seconds since 1970 as text, in UTC and to the millisecond."""
    when = datetime.fromtimestamp(created, UTC)
    return f"{when.isoformat('T', 'milliseconds')[:-6]}Z"


def _for_people() -> Callable[[dict[str, Any]], str]:
    """Return what renders a line on a terminal: without `fields`, and without control of it."""
    import structlog  # slow to import, and of no use to a server whose log a program reads

    levels = structlog.dev.ConsoleRenderer.get_default_level_styles()
    render = structlog.dev.ConsoleRenderer(
        level_styles=levels | {"warning": ANSI_WARNING},
        exception_formatter=structlog.dev.plain_traceback,
    )

    def plain(line: dict[str, Any]) -> str:
        line.pop("fields", None)
        line["timestamp"] = f"{datetime.fromisoformat(line['timestamp']).astimezone():%H:%M:%S}"
        for name, value in line.items():
            if isinstance(value, str):
                rows = value.split("\n") if name == "exception" else [value]
                line[name] = "\n".join(map(inert, rows))
        return str(render(None, "", line))

    return plain


class _Private:
    """Removes from a line's values what no log may hold: secrets, parts of URLs, phone numbers."""

    def __init__(self, masks: Masks, *, texts: bool) -> None:
        self._masks = masks
        self._texts = texts

    def of_ours(self, line: dict[str, Any]) -> dict[str, Any]:
        """Return the values of a line of ours: URLs without user and query."""
        return self._walk_mapping(line, self._ours)

    def of_others(self, line: dict[str, Any]) -> dict[str, Any]:
        """Return the values of a library's line: of URLs the origin, and no bare phone number."""
        return self._walk_mapping(line, self._others)

    def _walk_mapping(self, value: Mapping[Any, Any], hide: _Hide) -> dict[str, Any]:
        return {
            name if name in _KNOWN_NAMES else self._text(str(name), hide): self._walk(part, hide)
            for name, part in value.items()
        }

    def _walk(self, value: Any, hide: _Hide) -> Any:
        if isinstance(value, str):
            return self._text(value, hide)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return self._walk_mapping(value, hide)
        if isinstance(value, list | tuple | set | frozenset):
            return [self._walk(part, hide) for part in value]
        return self._text(str(value), hide)

    def _text(self, text: str, hide: _Hide) -> str:
        # What is cut off at the end may be half a secret, so the cut is after the masks.
        return hide(self._masks.text(text[: 2 * LINE_MAX]))[:LINE_MAX]

    def _ours(self, text: str) -> str:
        text = urls.masked_in(text)
        return text if self._texts else _without_numbers(text)

    def _others(self, text: str) -> str:
        text = urls.masked_in(text, with_path=False)
        return text if self._texts else _BARE_NUMBER.sub("…", _without_numbers(text))


def _without_numbers(text: str) -> str:
    if "+" not in text and "%" not in text:  # cheaper than the pattern, in most texts
        return text
    return _NUMBER.sub("+…", text)


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
