"""Lines of the log as they come out of the process."""

import asyncio
import json
import logging
import os
import pty
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from offhook import events
from offhook.config import Logs
from offhook.events import Happening
from offhook.loglines import log_to
from offhook.logs import CallLog, of_call

SECRET = "0123456789abcdef0123456789abcdef"
NUMBER = "+12025550142"
SAID = "my card is 4111 1111"
ENDED = Happening(
    "CA1", 7, events.CallEnded("nobody", "caller_hung_up", "the caller hung up", "", 9)
)


def logged(work: Callable[[], None], logs: Logs | None = None) -> list[dict[str, Any]]:
    """What `work` leaves in a log that no person reads."""
    reading, writing = os.pipe()
    with log_to(writing, logs or Logs(), (SECRET,)):
        work()
    os.close(writing)
    with os.fdopen(reading) as file:
        return [json.loads(line) for line in file]


def fail() -> None:
    """Raise and log, with something private in sight and in the exception's words."""
    said = SAID
    try:
        try:
            int(said)
        except ValueError as error:
            raise ExceptionGroup("several", [KeyError(said)]) from error
    except ExceptionGroup:
        logging.getLogger("shop").exception("no order")


def test_a_line_is_an_object_with_when_what_and_which_call() -> None:
    began = datetime.now(UTC)
    (line,) = logged(lambda: CallLog(texts=False)(ENDED))
    when = datetime.fromisoformat(line.pop("timestamp"))
    assert when.utcoffset() == timedelta(0)
    assert began - timedelta(milliseconds=1) <= when <= datetime.now(UTC)
    assert line == {
        "event": "ended, caller_hung_up, by nobody: the caller hung up",
        "level": "info",
        "logger": "offhook.call",
        "call_sid": "CA1",
        "at_ms": 7,
        "fields": {
            "happened": "CallEnded",
            "fault": "nobody",
            "slug": "caller_hung_up",
            "words": "the caller hung up",
            "detail": "",
            "duration_ms": 9,
        },
    }


def test_what_runs_for_a_call_logs_as_of_that_call() -> None:
    def work() -> None:
        with of_call("CA2"):
            logging.getLogger("shop").info("sold")
        logging.getLogger("shop").info("closed")

    assert [line.get("call_sid") for line in logged(work)] == ["CA2", None]


def test_an_exception_tells_where_and_what_kind_but_not_its_words() -> None:
    (line,) = logged(fail)
    kinds = [row for row in line["exception"].splitlines() if not row.startswith("  ")]
    assert kinds == ["ValueError", "ExceptionGroup", "KeyError"]
    assert line["exception"].count(", in fail") == 2
    assert SAID not in json.dumps(line)


def test_nor_are_they_where_the_event_loop_tells_of_it() -> None:
    async def call_back() -> None:
        asyncio.get_running_loop().call_soon(int, SAID)
        await asyncio.sleep(0)

    (line,) = logged(lambda: asyncio.run(call_back()))
    assert (line["logger"], line["event"]) == ("asyncio", "Exception in callback int")
    assert line["exception"].endswith("ValueError")
    assert SAID not in json.dumps(line)


def test_its_words_are_there_where_the_log_may_hold_what_is_said() -> None:
    (line,) = logged(fail, Logs(texts=True))
    assert f"KeyError: {SAID!r}" in line["exception"]


def test_numbers_and_secrets_are_in_no_line_whoever_logs_them() -> None:
    def work() -> None:
        log = logging.getLogger("shop")
        log.info("%s calls, key %s", NUMBER, SECRET, extra={"to": {"number": NUMBER}})
        log.info("403 for https://x/twilio/voice?From=%s&k=%s", quote(NUMBER), SECRET)

    first, second = logged(work)
    assert first["event"] == "+…42 calls, key ***"
    assert first["to"] == {"number": "+…42"}
    assert second["event"] == "403 for https://x/twilio/voice?From=+…42&k=***"
    (line, _) = logged(work, Logs(texts=True))
    assert line["event"] == f"{NUMBER} calls, key ***"


def test_the_level_decides() -> None:
    def work() -> None:
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger("shop").log(level, "%d", level)

    counts = [len(logged(work, Logs(level=x))) for x in ("debug", "info", "warning", "error")]
    assert counts == [4, 3, 2, 1]


def test_a_line_with_wrong_arguments_says_so_and_raises_nothing() -> None:
    def work() -> None:
        logging.getLogger("shop").info("%d", "x")

    (line,) = logged(work)
    assert line["event"].startswith("a log line of shop, line ")
    assert line["event"].endswith("test_loglines.py has wrong arguments")


def test_python_s_warnings_are_lines_and_everything_is_put_back() -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        (line,) = logged(lambda: warnings.warn("old", stacklevel=1))
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert (logging.getLogger().handlers, logging.getLogger().level) == before


def test_on_a_terminal_a_line_is_for_a_person_and_commands_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reading, writing = pty.openpty()
    with log_to(writing, Logs(), ()) as printer:
        assert printer.isatty()
        CallLog(texts=False)(ENDED)
        logging.getLogger("shop").info("a\x1b[2J\nb \u202ec", extra={"call_sid": "CA\x07"})
    text = os.read(reading, 65536).decode()
    os.close(reading)
    os.close(writing)
    first, second = text.split("\r\n")[:2]
    assert "ended, caller_hung_up, by nobody: the caller hung up" in first
    assert "CA1" in first
    assert "duration_ms" not in first
    assert "a [2J b  c" in second
    assert "\x07" not in second
