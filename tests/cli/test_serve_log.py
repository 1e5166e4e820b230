"""The log of a server process: who reads it, and who does not."""

import asyncio
import contextlib
import json
import os
import pty
import re
import secrets
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests import migrated
from tests.cli.served import CLEAN, COMMAND, OPERATOR, SECRETS, ended, operator_url, place
from tests.waiting import GIVEN_UP_AFTER_S
from tests.whole_server import ACCOUNT, QUICK, TOKEN

from offhook.clock import LoopClock
from offhook.observability.metrics.catalogue import LOG_LOST, LOG_WAITING
from offhook.testing.scenarios.caller import CallReport
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram import server as standin_server
from offhook.testing.simulator.deepgram.script import Script
from offhook.twilio.signature import sign

pytestmark = pytest.mark.long

SAID = ("How can I help", "opening hours", "+12025550142", "+12025550100", TOKEN, "canary-key")


class Piped:
    """A server process whose stderr goes into a pipe that is read when the test says so."""

    def __init__(self, process: asyncio.subprocess.Process, reading: int, folder: Path) -> None:
        self.process = process
        self._folder = folder
        self._reading = reading
        self.url = ""
        self.operator = ""
        self.said = b""

    def read_until(self, words: bytes) -> None:
        while words not in self.said:
            self.read()

    def read(self) -> bytes:
        got = os.read(self._reading, 65536)
        assert got, self.said[-2000:]
        self.said += got
        return got

    def read_to_the_end(self) -> None:
        with contextlib.suppress(OSError):  # the end of a terminal on Linux
            while got := os.read(self._reading, 65536):
                self.said += got

    def rows(self) -> list[str]:
        """The lines of a terminal, without colours."""
        return re.sub(r"\x1b\[[\d;]*m", "", self.said.decode()).splitlines()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.said.splitlines()]

    async def call(self, *steps: ScenarioStep) -> CallReport:
        return await place(self.url, *steps)

    async def metrics(self, http: httpx2.AsyncClient) -> str:
        token = (self._folder / "offhook-data" / "api-token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        answer = await http.get(self.operator + "/metrics", headers=headers)
        assert answer.status_code == 200
        return answer.text

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(240):
            return await self.process.wait()


@asynccontextmanager
async def piped(
    folder: Path,
    *arguments: str,
    script: Script = QUICK,
    opened: Callable[[], tuple[int, int]] = os.pipe,
    is_first: bool = False,
) -> AsyncIterator[Piped]:
    """Run a server whose stderr is a pipe, or with `pty.openpty` a terminal.

    Its database is there, as at every start but the first.
    """
    if not is_first:
        migrated.put(folder / "offhook-data" / "offhook.db")
    standin = await standin_server.serve(
        "127.0.0.1", 0, script, LoopClock(asyncio.get_running_loop())
    )
    reading, writing = opened()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("--port", "0", "--deepgram-url", standin.url, *OPERATOR, *arguments),
        env=CLEAN | SECRETS,
        cwd=folder,
        stderr=writing,
    )
    os.close(writing)
    served = Piped(process, reading, folder)
    try:
        await asyncio.to_thread(served.read_until, b"twice ends them.")
        found = re.search(rb"answers at (http://127\.0\.0\.1:\d+)", served.said)
        assert found is not None
        served.url = found[1].decode()
        served.operator = await operator_url(folder / "offhook-data")
        yield served
    finally:
        await ended(process)
        os.close(reading)
        await standin.close()


def client() -> httpx2.AsyncClient:
    """Return a client that a busy machine may keep waiting."""
    return httpx2.AsyncClient(trust_env=False, verify=False, timeout=GIVEN_UP_AFTER_S)


async def flood(server: Piped, http: httpx2.AsyncClient, lost_before: float = 0) -> float:
    """Tell of stream errors until their lines find no room; return how many are lost by then.

    They are signed: what strangers can have written into the log is bounded (log_limit.py).
    """
    form = {"CallSid": "CA" + "f" * 32, "AccountSid": ACCOUNT, "StreamEvent": "stream-error"}
    form["StreamError"] = "y" * 1000
    path = "/twilio/stream-status"
    url = server.url.replace("http", "https") + path
    while True:
        for _ in range(100):
            form["StreamSid"] = f"MZ{secrets.token_hex(16)}"  # a stream's error is told once
            headers = {"X-Twilio-Signature": sign(TOKEN, url, form.items())}
            told = await http.post(server.url + path, data=form, headers=headers)
            assert told.status_code == 204
        lost = metric(await server.metrics(http), LOG_LOST.name)
        if lost > lost_before:
            return lost


def metric(scrape: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", scrape, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


async def test_a_log_that_nobody_reads_stops_no_call_and_no_server(tmp_path: Path) -> None:
    async with piped(tmp_path) as server, client() as http:
        # The pipe is full now, and whoever wrote to it from the loop would hang.
        assert await flood(server, http) > 0
        report = await server.call()
        assert report.faults == []
        assert report.ending == "caller_hung_up"
        scrape = await server.metrics(http)
        lost = metric(scrape, LOG_LOST.name)
        assert metric(scrape, LOG_WAITING.name) > 0
        while sum(int(n) for n in re.findall(rb'"(\d+) log lines were lost', server.said)) < lost:
            await asyncio.to_thread(server.read)
        *whole, _ = server.said.split(b"\n")
        assert all(json.loads(line)["timestamp"].endswith("Z") for line in whole)

        lost = metric(await server.metrics(http), LOG_LOST.name)
        assert await flood(server, http, lost) > lost
        assert await server.stop() == 0


OUR_ROW = re.compile(
    r"Offhook .+ answers at |  \S|\d\d:\d\d:\d\d (?:"
    r"\[\w+ *\] .*\[offhook(?:\.\w+)*\]|\[\w+ *\] [^\[]*$|  ?\w{4}  \w+ )"
)
"""A row of a terminal that is not a library's: the banner, the log, the conversation."""


async def test_a_terminal_has_our_lines_alone_and_each_once(tmp_path: Path) -> None:
    async with piped(tmp_path, "--show", opened=pty.openpty, is_first=True) as server:
        await server.call()
        assert await server.stop() == 0
        server.read_to_the_end()
    rows = server.rows()
    assert rows[0].startswith("Offhook ")
    assert b"\x1b[32magent" in server.said
    # This first start has made the tables, and Alembic has told of it at INFO.
    assert [row for row in rows if row and not OUR_ROW.match(row)] == []
    for words in ("began, inbound", "the caller is on the line", "How can I help you today?"):
        assert len([row for row in rows if words in row]) == 1, words
    assert len([row for row in rows if "ended, caller_hung_up" in row]) == 1


async def test_a_setting_has_the_log_say_what_was_said(tmp_path: Path) -> None:
    (tmp_path / "offhook.yaml").write_text("logs: {level: info, texts: true}\n")
    async with piped(tmp_path) as server:
        await server.call()
        assert await server.stop() == 0
        server.read_to_the_end()
    events = [line["event"] for line in server.lines()]
    assert "agent: Hello! How can I help you today?" in events
    assert "caller: What are your opening hours?" in events
    assert [secret for secret in (TOKEN, "canary-key") if secret in server.said.decode()] == []
