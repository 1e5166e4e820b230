"""`offhook dev` as a process: a simulated Twilio account, a fake cloudflared, a stand-in agent."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import psutil
from tests.cli.in_process import run_offhook
from tests.cli.served import CLEAN, SECRETS
from tests.dev import fake_cloudflared
from tests.dev.fake_cloudflared import FakeTunnel
from tests.whole_server import ACCOUNT, ASK, GREET, HANG_UP, HOURS, QUICK, TOKEN, caller

from offhook.clock import LoopClock
from offhook.testing.scenarios.caller import CallReport
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram import server as standin_server
from offhook.testing.simulator.deepgram.script import ScriptFunctionCall, ScriptTurn
from offhook.testing.simulator.twilio.account.account import SimulatedAccount
from offhook.testing.simulator.twilio.account.resources import AccountNumber
from offhook.testing.simulator.twilio.account.server import serve
from offhook.testing.simulator.twilio.calls.leg import Leg
from offhook.testing.simulator.twilio.calls.network import simulated_network
from offhook.testing.simulator.twilio.calls.people import book
from offhook.testing.simulator.twilio.phone import place_call
from offhook.testing.simulator.twilio.webhooks import RehearsedHost

NUMBER = "+12025550100"
DEMO = "https://demo.twilio.com/welcome/voice/"
COMMAND = [sys.executable, "-m", "offhook", "dev"]
SCRIPT = QUICK.model_copy(
    update={
        "turns": [
            ScriptTurn(
                hear=HOURS,
                function_calls=[
                    ScriptFunctionCall(name="opening_hours", arguments={"day": "sunday"})
                ],
                say=["Of course, what else?"],
            )
        ]
    }
)
"""A stand-in that calls the function of the agent that `offhook init` writes."""


@dataclass
class Developing:
    """A running `offhook dev`, and what it prints."""

    process: asyncio.subprocess.Process
    account: SimulatedAccount
    folder: Path
    tunnels: Path
    said: str = ""
    children: list[psutil.Process] = field(default_factory=list)

    @property
    def survivors(self) -> list[psutil.Process]:
        """Children, and theirs, that still run. Of an orphan that has ended, some is left."""
        found = []
        for child in self.children:
            with suppress(psutil.Error):
                if child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child)
        return found

    @property
    def number(self) -> AccountNumber:
        return self.account.numbers[0]

    async def until_said(self, words: str, times: int = 1) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(240):
            while self.said.count(words) < times:
                read = await self.process.stdout.read(65536)
                assert read, f"it has ended, and not said {words!r}: {self.said[-5000:]}"
                self.said += read.decode()
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    @property
    def tunnel(self) -> FakeTunnel:
        """The tunnel that the number leads to."""
        voice = self.number.settings["VoiceUrl"]
        assert voice.endswith("/twilio/voice")
        return fake_cloudflared.find(self.tunnels, voice.removesuffix("/twilio/voice"))

    async def call(self, *steps: ScenarioStep) -> CallReport:
        """Call the number, as its settings in the account say."""
        tunnel, number = self.tunnel, self.number.json(ACCOUNT)
        assert number["voice_method"] == number["status_callback_method"] == "POST"
        to_url = f"http://127.0.0.1:{tunnel.port}/twilio/voice"
        network = self.account.network
        network.host = RehearsedHost(to_url, TOKEN, tunnel.origin)
        return await place_call(
            to_url,
            caller(*(steps or (GREET, ASK, GREET, HANG_UP))),
            clock=network.clock,
            auth_token=TOKEN,
            account_sid=ACCOUNT,
            from_="+12025550142",
            to=NUMBER,
            public_url=tunnel.origin,
            status_callback=number["status_callback"],
            network=network,
        )

    async def end(self, number: signal.Signals = signal.SIGINT) -> int | None:
        self.process.send_signal(number)
        async with asyncio.timeout(240):
            said, _ = await self.process.communicate()
        self.said += said.decode()
        return self.process.returncode


@dataclass
class Desk:
    """The account, and a folder with a configuration for it, in which `offhook dev` is run."""

    account: SimulatedAccount
    folder: Path
    environ: Mapping[str, str]

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the number in the account."""
        return self.account.numbers[0].settings

    @property
    def legs(self) -> list[Leg]:
        return list(self.account.network.legs.values())

    @property
    def kept(self) -> list[Path]:
        """The files of old values."""
        return sorted((self.folder / "offhook-data/numbers").glob("PN*"))

    @asynccontextmanager
    async def develop(self, *arguments: str) -> AsyncIterator[Developing]:
        """Run `offhook dev`, and leave no process behind."""
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, *arguments),
            cwd=self.folder,
            env=self.environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        made = Developing(process, self.account, self.folder, self.folder / "tunnels")
        try:
            yield made
        finally:
            with suppress(psutil.Error):
                made.children += psutil.Process(process.pid).children(recursive=True)
            if process.returncode is None:
                process.kill()
            for child in made.children:
                with suppress(psutil.Error):
                    child.kill()
            await process.communicate()

    async def run(self, *arguments: str) -> tuple[int | None, str]:
        """Run `offhook dev` to its end; return its exit code and what it has said."""
        async with self.develop(*arguments) as it, asyncio.timeout(240):
            said, _ = await it.process.communicate()
        return it.process.returncode, said.decode()


async def init(folder: Path, environ: Mapping[str, str]) -> None:
    """Run `offhook init --yes`, which finds the number of the account."""
    ended = await run_offhook(folder, "init", "--yes", **environ)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@asynccontextmanager
async def desk(
    folder: Path,
    settings: Mapping[str, str] = MappingProxyType({"VoiceUrl": DEMO}),
    **environ: str,
) -> AsyncIterator[Desk]:
    """Run an account with one number, and have `offhook init` write the files of an agent."""
    clock = LoopClock(asyncio.get_running_loop())
    programs = fake_cloudflared.install(folder / "programs")
    (folder / "tunnels").mkdir()
    host = RehearsedHost("http://127.0.0.1:1/", TOKEN)
    standin = await standin_server.serve("127.0.0.1", 0, SCRIPT, clock)
    try:
        async with simulated_network(ACCOUNT, host, clock, book({})) as network:
            number = AccountNumber(NUMBER, settings=dict(settings))
            account = SimulatedAccount(network, TOKEN, numbers=[number])
            async with serve(account) as origin:
                given = CLEAN | SECRETS | {"TWILIO_ACCOUNT_SID": ACCOUNT}
                given["OFFHOOK_TWILIO__API_URL"] = origin
                given["OFFHOOK_DEEPGRAM__URL"] = standin.url
                given["OFFHOOK_SERVER__PORT"] = "0"
                given["OFFHOOK_SERVER__OPERATOR_LISTEN"] = "127.0.0.1:0"
                given["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
                given["OFFHOOK_TEST_TUNNELS"] = str(folder / "tunnels")
                await init(folder, given)
                yield Desk(account, folder, given | environ)
    finally:
        await standin.close()
