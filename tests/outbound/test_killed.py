"""A list, killed halfway and gone on with: processes, sockets and disks are real.

It has 500 people in the long form, 50 in the short one.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx2
import psutil
import pytest
from tests.cli.served import Serving, killed, operator_url
from tests.forms import sized
from tests.outbound.twilio_api import PUBLIC, US, TwilioApi, twilio_api
from tests.whole_server import ACCOUNT, TOKEN

from offhook.twilio.signature import sign

CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("DEEPGRAM", "TWILIO", "OFFHOOK"))}
SECRETS = {
    "DEEPGRAM_API_KEY": "a-key",
    "TWILIO_AUTH_TOKEN": TOKEN,
    "TWILIO_ACCOUNT_SID": ACCOUNT,
    "OFFHOOK_API_TOKEN": "a-token-of-the-operator",
}
COUNT = sized(50, 500)
ENDS = ("busy", "no-answer", "failed")

CONFIG = """
server: {{public_url: {public}, port: {port}, operator_listen: "127.0.0.1:{operator}"}}
twilio: {{api_url: "{api}"}}
lines: {{default: agent.yaml}}
outbound: {{caller_id: "{us}", calls_per_second: 100, concurrent: 16}}
dialling: {{calls_per_hour: 2000, spend_per_hour: 100000}}
"""
AGENT = """
settings:
  think: {provider: {type: open_ai, model: gpt-4o-mini}, prompt: Be brief.}
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
outbound: {hours: "00:00-24:00"}
"""


class World:
    """A Twilio whose called people are never there, a server, and who goes through the list."""

    def __init__(self, folder: Path, api: TwilioApi, port: int) -> None:
        self.folder = folder
        self.api = api
        self.port = port
        self.chance = random.Random(7)
        self.server: asyncio.subprocess.Process | None = None
        self.operator = ""
        self.created = asyncio.Event()

    @property
    def rung(self) -> Counter[str]:
        return Counter(call["to"] for call in self.api.calls.values())

    async def serve(self) -> None:
        command = [sys.executable, "-m", "offhook", "serve"]
        (self.folder / "offhook-data" / "operator.json").unlink(missing_ok=True)
        self.server = await asyncio.create_subprocess_exec(
            *command, env=CLEAN | SECRETS, cwd=self.folder, stderr=asyncio.subprocess.PIPE
        )
        assert self.server.stderr is not None
        async with asyncio.timeout(240):
            await self.server.stderr.readuntil(b"twice ends them.")
        self.operator = await operator_url(self.folder / "offhook-data")

    async def kill_server(self) -> None:
        assert self.server is not None
        killed(self.server)
        await self.server.communicate()

    async def kill(self, name: str) -> None:
        """Kill the `call` or the `operator` process, and wait for the next one."""
        assert self.server is not None
        serving = Serving(self.server, self.folder, "", "")
        pid = await serving.until_started(name)
        psutil.Process(pid).kill()
        await serving.until_started(name, other_than=pid)

    async def list(self) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", "offhook", "call", "--from", "people.csv"]
        return await asyncio.create_subprocess_exec(
            *command,
            *("--agent", "agent", "--json"),
            env=CLEAN | SECRETS,
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def until_rung(self, count: int) -> None:
        async with asyncio.timeout(600):
            while len(self.api.calls) < count:
                self.created.clear()
                await self.created.wait()

    async def hang_up(self, http: httpx2.AsyncClient, sid: str) -> None:
        """Reports of a call that nobody answers: twice, late, and in any order."""
        end = self.chance.choice(ENDS)
        told = ["initiated", "ringing", end, end]
        self.chance.shuffle(told)
        self.api.calls[sid]["status"] = end
        url = self.api.forms[sid]["StatusCallback"][0].partition("#")[0]  # not signed (§4.2)
        parts = urlsplit(url)
        for status in told:
            form = {"CallSid": sid, "AccountSid": ACCOUNT, "CallStatus": status}
            with contextlib.suppress(httpx2.TransportError):  # the server may be dead
                await http.post(
                    f"http://127.0.0.1:{self.port}{parts.path}?{parts.query}",
                    content=urlencode(form),
                    headers={
                        "Host": "voice.example.com",
                        "X-Twilio-Signature": sign(TOKEN, url, form.items()),
                        "Content-Type": "application/x-www-form-urlencoded",
                    },
                )


@asynccontextmanager
async def world(folder: Path, port: int, operator: int = 0) -> AsyncIterator[World]:
    async with twilio_api() as api, httpx2.AsyncClient(trust_env=False, verify=False) as http:
        made = World(folder, api, port)
        config = CONFIG.format(public=PUBLIC, port=port, operator=operator, api=api.url, us=US)
        (folder / "offhook.yaml").write_text(config)
        (folder / "agent.yaml").write_text(AGENT)
        rows = [f"+1202555{n:04},yes,Person {n}" for n in range(COUNT)]
        (folder / "people.csv").write_text("\n".join(["number,consent,name", *rows, ""]))
        async with asyncio.TaskGroup() as group:

            async def after(sid: str) -> None:
                made.created.set()
                group.create_task(made.hang_up(http, sid))

            api.after = after
            try:
                yield made
            finally:
                if made.server is not None and made.server.returncode is None:
                    await made.kill_server()


@pytest.mark.long
@pytest.mark.limit(900)
async def test_a_list_that_is_killed_halfway_rings_everybody_once(
    tmp_path: Path, free_port: int
) -> None:
    async with world(tmp_path, free_port) as made:
        await made.serve()
        first = await made.list()
        await made.until_rung(COUNT * 3 // 10)
        first.send_signal(signal.SIGKILL)
        await first.communicate()
        assert len(made.api.calls) < COUNT
        # Now the server too, in the midst of it.
        second = await made.list()
        await made.until_rung(COUNT * 6 // 10)
        await made.kill_server()
        await made.serve()
        async with asyncio.timeout(240):
            out, _ = await second.communicate()
        await everybody_was_rung_once(made, out)


@pytest.mark.long
@pytest.mark.limit(900)
async def test_a_list_goes_on_while_the_processes_of_the_server_are_killed(
    tmp_path: Path, free_port: int, operator_port: int
) -> None:
    """The call process is killed while it asks Twilio, the operator process while it answers."""
    async with world(tmp_path, free_port, operator_port) as made:
        await made.serve()
        run = await made.list()
        for tenths, name in ((2, "call"), (4, "operator"), (6, "call")):
            await made.until_rung(COUNT * tenths // 10)
            await made.kill(name)
        async with asyncio.timeout(600):
            out, _ = await run.communicate()
        await everybody_was_rung_once(made, out)


async def everybody_was_rung_once(made: World, out: bytes) -> None:
    """Check the report of a run; if the server was away for too long for it, that of a next one."""
    report = json.loads(out) if out else {}
    async with asyncio.timeout(600):
        while not report.get("whole"):
            again = await made.list()
            out, err = await again.communicate()
            report = json.loads(out)
            assert report["whole"] or b"E-OUT-19" in err, err.decode()
    assert set(made.rung.values()) == {1}
    assert len(made.rung) == COUNT
    last = await made.list()
    out, _ = await last.communicate()
    assert json.loads(out)["rung_before"] == COUNT
    assert last.returncode == 0
    assert len(made.api.calls) == COUNT
