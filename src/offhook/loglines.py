"""How a line of the log comes about: from any logger of the process, by structlog, to stderr.

On a terminal it is a line for a person; anywhere else a program reads it, and it is a JSON object.
Nothing here waits (printer.py).
"""

import contextlib
import logging
import re
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

import structlog

from offhook.config import Logs
from offhook.conversation import inert
from offhook.logs import current_call
from offhook.masking import Masks
from offhook.printer import Printer

LINE_MAX: Final = 8 * 1024
"""Characters of one value in a line; of a request's URL for instance, which may be anything."""

_NUMBER: Final = re.compile(r"(?:\+|%2[Bb])[1-9]\d{4,12}(?=\d{2})")
"""A phone number but for its last two digits."""

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


@contextlib.contextmanager
def log_to(fd: int, logs: Logs, secrets: tuple[str, ...]) -> Iterator[Printer]:
    """Have all loggers and Python's warnings written to the file descriptor `fd` while entered.

    `secrets` are values that no line may hold.
    """
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    printer = Printer(fd, lambda lost: handler.line(_told(lost)))
    handler = _ToPrinter(printer, _formatter(printer.isatty(), logs, Masks(secrets)))
    root.handlers[:] = [handler]
    root.setLevel(logs.level.upper())
    logging.captureWarnings(True)
    # What these two say, Offhook says better; and Uvicorn's own lines are not about calls.
    logging.getLogger("offhook.wire.picows").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        yield printer
    finally:
        logging.captureWarnings(False)
        root.setLevel(before[0])
        root.handlers[:] = before[1]
        printer.stop()


def _told(lost: int) -> logging.LogRecord:
    return _record("%d lines of the log were lost: whoever reads it was too slow", lost)


def _record(words: str, *arguments: Any) -> logging.LogRecord:
    return logging.LogRecord("offhook.logs", logging.WARNING, "", 0, words, arguments, None)


class _ToPrinter(logging.Handler):
    """Makes lines of records where they are logged, so that nothing they refer to is held."""

    def __init__(self, printer: Printer, formatter: logging.Formatter) -> None:
        super().__init__()
        self._printer = printer
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
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


def _formatter(terminal: bool, logs: Logs, masks: Masks) -> logging.Formatter:
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
            # It quotes what a callback was called with, and the words of what a task raised.
            line["event"] = re.split(r"[(<\n]", line["event"])[0].strip()
        return line

    def clean(_: Any, __: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
        return {name: private(value) for name, value in line.items()}

    def private(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: private(part) for name, part in value.items()}
        if not isinstance(value, str):
            return value
        value = masks.text(value[:LINE_MAX])
        return value if logs.texts else _NUMBER.sub("+…", value)

    def plain(_: Any, __: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
        """For a person: `event` says what `fields` hold, and nothing commands the terminal."""
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


def _fault(error: BaseException, texts: bool) -> Iterator[str]:
    """Where an exception came from, and its kind; its words, which may be a caller's, by `texts`.

    Causes first. No locals, whose values may be anything.
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
