"""Lines of the log as they come out of the process."""

import asyncio
import json
import logging
import os
import pty
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote

import pytest

from offhook.call_context import of_call
from offhook.config import LogSettings
from offhook.events import types as events
from offhook.events.types import CallEvent
from offhook.observability.call_log import CallLog
from offhook.observability.log_format import log_to

SHOP = "offhook_tools.shop_0a1b2c3d"
"""The logger of a user's tool file."""
SECRET = "0123456789abcdef0123456789abcdef"
NUMBER = "+12025550142"
SAID = "my card is 4111 1111"
ENDED = CallEvent(
    "CA1", 7, events.CallEnded("nobody", "caller_hung_up", "the caller hung up", "", 9)
)


def logged(work: Callable[[], None], logs: LogSettings | None = None) -> list[dict[str, Any]]:
    """What `work` leaves in a log that no person reads."""
    reading, writing = os.pipe()
    with log_to(writing, logs or LogSettings(), (SECRET,)):
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
        logging.getLogger(SHOP).exception("no order")


def test_a_line_is_an_object_with_when_what_and_which_call() -> None:
    began = datetime.now(UTC)
    (line,) = logged(lambda: CallLog(texts=False)(ENDED))
    when = datetime.fromisoformat(line.pop("timestamp"))
    assert when.utcoffset() == timedelta(0)
    assert began - timedelta(milliseconds=1) <= when <= datetime.now(UTC)
    assert line == {
        "event": "ended, caller_hung_up: the caller hung up",
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
            logging.getLogger(SHOP).info("sold")
        logging.getLogger(SHOP).info("closed")

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
    (line,) = logged(fail, LogSettings(texts=True))
    assert f"KeyError: {SAID!r}" in line["exception"]


def test_numbers_and_secrets_are_in_no_line_whoever_logs_them() -> None:
    def work() -> None:
        log = logging.getLogger(SHOP)
        log.info("%s calls, key %s", NUMBER, SECRET, extra={"to": {"number": NUMBER}})
        log.info("403 for https://x/twilio/voice?From=%s&k=%s", quote(NUMBER), SECRET)

    first, second = logged(work)
    assert first["event"] == "+…42 calls, key ***"
    assert first["to"] == {"number": "+…42"}
    assert second["event"] == "403 for https://x/twilio/voice?…"
    (line, _) = logged(work, LogSettings(texts=True))
    assert line["event"] == f"{NUMBER} calls, key ***"


def test_the_level_decides() -> None:
    def work() -> None:
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger(SHOP).log(level, "%d", level)

    counts = [
        len(logged(work, LogSettings(level=x))) for x in ("debug", "info", "warning", "error")
    ]
    assert counts == [4, 3, 2, 1]


def test_a_line_with_wrong_arguments_says_so_and_raises_nothing() -> None:
    def work() -> None:
        logging.getLogger(SHOP).info("%d", "x")

    (line,) = logged(work)
    assert line["event"].startswith(f"a log line of {SHOP}, line ")
    assert line["event"].endswith("test_log_format.py has wrong arguments")


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
    with log_to(writing, LogSettings(), ()) as printer:
        assert printer.isatty()
        CallLog(texts=False)(ENDED)
        logging.getLogger(SHOP).info("a\x1b[2J\nb \u202ec", extra={"call_sid": "CA\x07"})
    text = os.read(reading, 65536).decode()
    os.close(reading)
    os.close(writing)
    first, second = text.split("\r\n")[:2]
    assert "ended, caller_hung_up: the caller hung up" in first
    assert "CA1" in first
    assert "duration_ms" not in first
    assert "a [2J b  c" in second
    assert "\x07" not in second


def test_on_a_terminal_a_line_begins_with_the_local_time_of_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    reading, writing = pty.openpty()
    warned = {"name": SHOP, "levelno": logging.WARNING, "levelname": "WARNING", "msg": "dear"}
    try:
        with log_to(writing, LogSettings(), ()):
            record = logging.makeLogRecord(warned | {"created": 1_793_000_000.5})
            logging.getLogger(SHOP).handle(record)
        text = os.read(reading, 65536).decode()
    finally:
        os.close(reading)
        os.close(writing)
        monkeypatch.undo()
        time.tzset()
    plain = re.sub(r"\x1b\[\d*m", "", text)
    assert plain.startswith("13:03:20 [warning  ] dear")
    assert "\x1b[33m" not in text, "yellow cannot be read on white"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_a_library_s_lines_begin_at_warning_whatever_level_is_set(
    level: Literal["debug", "info", "warning", "error"],
) -> None:
    library = logging.getLogger("a_library.of_http")

    def work() -> None:
        library.setLevel(logging.DEBUG)  # as one does that sets its own level
        try:
            for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
                library.log(number, "%d", number)
        finally:
            library.setLevel(logging.NOTSET)

    told = [line["event"] for line in logged(work, LogSettings(level=level))]
    assert told == (["40"] if level == "error" else ["30", "40"])


def test_of_a_url_ours_show_the_path_and_a_library_the_origin() -> None:
    url = "https://ada:pw@h.example/orders/7?token=abc"

    def work() -> None:
        for name in ("offhook.webhooks.routes", SHOP, "a_library"):
            logging.getLogger(name).warning("POST %s: %s", url, "From=12025550142")

    ours = "POST https://h.example/orders/7?…: From=12025550142"
    assert [line["event"] for line in logged(work)] == [
        *(ours, ours),
        "POST https://h.example/…: From=…42",
    ]
    assert [line["event"] for line in logged(work, LogSettings(texts=True))] == [
        *(ours, ours),
        "POST https://h.example/…: From=12025550142",
    ]


def test_no_secret_hides_in_a_list_an_object_or_at_the_end_of_a_long_text() -> None:
    class Kept:
        def __repr__(self) -> str:
            return f"Kept({SECRET})"

    values = [(SECRET,), {"a": [Kept()]}, Kept(), "x" * (8192 - 10) + SECRET, quote(SECRET + "/")]
    extra = {"values": values, SECRET: 1}
    (line,) = logged(lambda: logging.getLogger(SHOP).info("here", extra=extra))
    assert SECRET[:10] not in json.dumps(line)
    assert line["values"][:3] == [["***"], {"a": ["Kept(***)"]}, "Kept(***)"]


def test_what_ends_a_thread_or_a_finaliser_is_a_line_without_its_words() -> None:
    class Finalised:
        def __del__(self) -> None:
            raise ValueError(SAID)

    def work() -> None:
        thread = threading.Thread(target=int, args=(SAID,), name="a worker")
        thread.start()
        thread.join()
        Finalised()

    before = threading.excepthook, sys.unraisablehook
    thread, finaliser = logged(work)
    assert (threading.excepthook, sys.unraisablehook) == before
    assert thread["event"] == "a fault ended the thread a worker"
    assert finaliser["event"] == "an exception that could not be raised"
    assert [line["exception"].endswith("ValueError") for line in (thread, finaliser)] == [True] * 2
    assert SAID not in json.dumps([thread, finaliser])
