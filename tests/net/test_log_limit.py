"""How much of the log a stranger can fill."""

import json
import logging
import os
from pathlib import Path

import pytest
from tests.whole_server import TOKEN, whole_server

from offhook.config import LogSettings
from offhook.net.log_limit import KINDS_MAX, LENGTH_MAX, LINES, PERIOD_S, LogLimit
from offhook.observability.log_format import log_to


def record(
    words: str, *args: object, at: float = 0.0, name: str = "offhook.refused"
) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, "", 0, words, args, None)
    made.created = at
    return made


def test_of_each_kind_the_first_lines_of_a_minute_are_written_and_the_rest_is_counted() -> None:
    limit = LogLimit()
    for kind in ("403: for %s", "dropped a connection: %s"):
        written = [limit.admits(record(kind, number)) for number in range(1000)]
        assert written == [True] * LINES + [False] * (1000 - LINES)
    assert list(limit.counted(PERIOD_S - 1)) == []
    assert list(limit.counted(PERIOD_S)) == [
        (1000 - LINES, "403"),
        (1000 - LINES, "dropped a connection"),
    ]
    assert list(limit.counted(PERIOD_S)) == []
    assert limit.admits(record("403: for %s", 1, at=PERIOD_S))


def test_a_wall_clock_that_goes_back_silences_nothing() -> None:
    limit = LogLimit()
    for _ in range(2 * LINES):
        limit.admits(record("x", at=1000.0))
    assert list(limit.counted(10.0)) == [(LINES, "x")]
    assert limit.admits(record("x", at=10.0))


def test_kinds_have_a_bound_and_so_have_words() -> None:
    limit = LogLimit()
    written = sum(limit.admits(record(f"kind {number}")) for number in range(10_000))
    assert written == KINDS_MAX + LINES
    long = record("403: for %s", "x" * 100_000)
    limit.admits(long)
    assert len(long.getMessage()) == LENGTH_MAX


def test_what_libraries_say_of_connections_is_one_kind_each_and_our_own_lines_are_none() -> None:
    limit = LogLimit()
    for name, written in (("asyncio", LINES), ("uvicorn.error", LINES), ("offhook.call", 1000)):
        lines = [limit.admits(record(f"{name} {number}", name=name)) for number in range(1000)]
        assert sum(lines) == written


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/twilio/voice", {}),
        ("/twilio/voice", {"X-Twilio-Signature": "A" * 27 + "="}),
        ("/twilio/voice?" + "x" * 8000, {}),
        ("/twilio/after", {"Host": "h" * 8000}),
    ],
)
async def test_a_flood_of_unsigned_requests_writes_a_few_lines(
    tmp_path: Path, path: str, headers: dict[str, str]
) -> None:
    with (
        (tmp_path / "log").open("wb") as file,
        log_to(os.dup(file.fileno()), LogSettings(), (TOKEN,)),
    ):
        async with whole_server() as h:
            for _ in range(5 * LINES):
                answer = await h.http.post(h.origin + path, content=b"a=b", headers=headers)
                assert answer.status_code == 403
    lines = (tmp_path / "log").read_text().splitlines()
    refused = [line for line in lines if "E-SEC-01" in json.loads(line)["event"]]
    assert len(refused) == LINES
    assert max(map(len, lines)) < 2 * LENGTH_MAX
