"""offhook dev in this process: what interrupts it at each step leaves the number as it was."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.dev import fake_cloudflared
from tests.testing.twilio.doors import ACCOUNT
from tests.testing.twilio.rig import DESK, Rig, rig

from offhook.dev import session
from offhook.dev.changed_files import ChangedFiles
from offhook.dev.session import DevPlan, DevSession
from offhook.dev.tunnels import Tunnel, find_program
from offhook.errors import UserError
from offhook.numbers.account_numbers import AccountNumbers
from offhook.numbers.kept_routes import KeptRoutes
from offhook.testing.simulator.twilio.account.account import RestReply, SimulatedAccount
from offhook.testing.simulator.twilio.account.resources import AccountNumber
from offhook.text.extras import install_command

DEMO = "https://demo.twilio.com/welcome/voice/"
SERVER = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listening:
    while True:
        listening.accept()[0].sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
"""
"""A server that answers anything: as much of one as `offhook dev` asks for."""


class Dev:
    """One session, and what it has said."""

    def __init__(self, it: Rig, folder: Path, number: AccountNumber, plan: DevPlan) -> None:
        self.rig = it
        self.number = number
        self.numbers = AccountNumbers(it.rest, ACCOUNT, KeptRoutes(folder))
        self.plan = plan
        self.said: list[str] = []
        self.on_words: dict[str, Callable[[], object]] = {}

    async def run(self) -> int:
        return await DevSession(self.numbers, lambda: self.plan, self.say).run()

    def say(self, words: str) -> None:
        self.said.append(words)
        for part, do in self.on_words.items():
            if part in words:
                do()

    def interrupt(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@asynccontextmanager
async def dev(
    folder: Path, program: str = SERVER, url: str = DEMO, **changes: Any
) -> AsyncIterator[Dev]:
    number = AccountNumber(DESK, settings={"VoiceUrl": url})
    programs = fake_cloudflared.install(folder / "programs")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environ = {"PATH": path, "OFFHOOK_TEST_TUNNELS": str(folder), **changes.pop("environ", {})}
    tunnel = Tunnel(find_program(f"http://127.0.0.1:{port}", environ), environ)

    async def reload() -> str:
        return "reloaded"

    plan = DevPlan(
        public_url=None,
        tunnel=tunnel,
        serve=lambda public_url: [sys.executable, "-S", "-c", program, str(port), public_url],
        environ=environ,
        address=("127.0.0.1", port),
        has_tls=False,
        number=None,
        lines=(),
        force=False,
        files=None,
        reload=reload,
    )
    async with rig(numbers=[number]) as it:
        made = Dev(it, folder, number, replace(plan, **changes))
        yield made
    assert number.settings["VoiceUrl"] == url
    assert not list((folder / "numbers").glob("PN*"))


def when_asked(method: str, do: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Have something happen when Twilio gets its first request of that method."""
    answer = SimulatedAccount.answer

    def answering(self: SimulatedAccount, asked: str, *rest: Any) -> RestReply:
        if asked == method:
            patch.setattr(SimulatedAccount, "answer", answer)
            do()
        return answer(self, asked, *rest)

    patch.setattr(SimulatedAccount, "answer", answering)


@pytest.mark.parametrize("step", ["Opening a tunnel", "leads to", "GET", "POST"])
async def test_interrupted_at_a_step_it_leaves_the_number_as_it_was(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dev(tmp_path) as it:
        if step.isupper():
            when_asked(step, it.interrupt, monkeypatch)
        else:
            it.on_words[step] = it.interrupt
        assert await it.run() == 0


async def test_interrupted_while_the_server_starts_it_leaves_the_number_as_it_was(
    tmp_path: Path,
) -> None:
    silent = "import os, signal, sys; os.kill(int(sys.argv[3]), signal.SIGINT); signal.pause()"

    def serve(public_url: str) -> list[str]:
        return [sys.executable, "-S", "-c", silent, "", "", str(os.getpid())]

    async with dev(tmp_path, serve=serve) as it:
        assert await it.run() == 0
        assert not any("leads to" in words for words in it.said)


async def test_a_server_that_does_not_start_ends_it(tmp_path: Path) -> None:
    async with dev(tmp_path, "raise SystemExit(3)") as it:
        assert await it.run() == 3


async def test_a_silent_program_at_the_port_keeps_it_from_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ANSWER_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with dev(
            tmp_path,
            serve=lambda url: [sys.executable, "-S", "-c", "raise SystemExit(3)"],
            address=silent.getsockname(),
        ) as it:
            async with asyncio.timeout(120):
                assert await it.run() == 3


async def test_a_tunnel_that_is_refused_ends_it_with_its_words(tmp_path: Path) -> None:
    async with dev(tmp_path, environ={"OFFHOOK_TEST_TUNNEL_FAILS": "1"}) as it:
        with pytest.raises(UserError, match="E-DEV-03") as refused:
            await it.run()
    assert "no such host" in refused.value.what


async def test_a_foreign_number_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    async with dev(tmp_path, url="https://shop.example/voice") as it:
        with pytest.raises(UserError, match="E-NUM-04"):
            await it.run()
        assert it.said == []


async def test_what_is_missing_now_keeps_no_number_of_the_last_run(tmp_path: Path) -> None:
    async with dev(tmp_path) as it:
        with it.numbers.kept.alone():
            await it.numbers.point(it.number.sid, "https://killed.trycloudflare.com", "dev")

        def make_plan() -> DevPlan:
            raise UserError("E-DEV-01", "There is no tunnel.", "Install one.")

        with pytest.raises(UserError, match="E-DEV-01"):
            await DevSession(it.numbers, make_plan, it.say).run()
        assert "is as it was: Twilio's demo" in it.said[-1]


async def test_with_a_public_url_there_is_no_tunnel(tmp_path: Path) -> None:
    async with dev(tmp_path, public_url="https://voice.example.com", tunnel=None) as it:
        it.on_words["leads to https://voice.example.com/twilio/voice"] = it.interrupt
        assert await it.run() == 0
    assert fake_cloudflared.every(tmp_path) == []


async def test_without_twilio_at_the_end_it_says_how_to_put_the_number_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dev(tmp_path) as it:
        restore = AccountNumbers.restore

        async def unreachable(*_: Any) -> Any:
            raise UserError("E-TW-04", "Twilio gave no answer.", "Check the connection.")

        monkeypatch.setattr(AccountNumbers, "restore", unreachable)
        it.on_words["leads to"] = it.interrupt
        assert await it.run() == 1
        assert "offhook numbers restore" in it.said[-1]
        assert it.number.settings["VoiceUrl"] != DEMO
        monkeypatch.setattr(AccountNumbers, "restore", restore)
        it.on_words["is as it was"] = it.interrupt
        assert await it.run() == 0


async def test_a_number_that_somebody_changes_meanwhile_stays_theirs(tmp_path: Path) -> None:
    theirs = "https://theirs.example/voice"
    async with dev(tmp_path) as it:

        def change() -> None:
            it.number.update({"VoiceUrl": theirs})
            it.interrupt()

        it.on_words["leads to"] = change
        assert await it.run() == 0
        assert it.number.settings["VoiceUrl"] == theirs
        assert "somebody has changed that since" in it.said[-1]
        (kept,) = it.numbers.kept.all()
        await it.numbers.restore(kept, force=True)


def test_changes_of_agent_files_are_seen(tmp_path: Path) -> None:
    data, hidden = tmp_path / "offhook-data", tmp_path / ".venv"
    for folder in (data, hidden, tmp_path / "agents"):
        folder.mkdir()
    files = ChangedFiles(tmp_path, data)
    assert not files.have_changed()
    for path in (data / "a.yaml", hidden / "a.py", tmp_path / "notes.txt"):
        path.touch()
    assert not files.have_changed()
    agent = tmp_path / "agents/front.yaml"
    agent.touch()
    assert files.have_changed()
    os.utime(agent, ns=(1, 1))
    assert files.have_changed()
    agent.unlink()
    assert files.have_changed()
    assert not files.have_changed()


def test_without_a_tunnel_one_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="E-DEV-01") as missing:
        find_program("http://127.0.0.1:5000", {"PATH": ""})
    assert missing.value.fix == f"Install ngrok: {install_command('ngrok')}"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(UserError, match="E-DEV-02"):
        find_program("http://127.0.0.1:5000", {"PATH": ""})


async def test_the_tunnel_of_ngrok_is_a_process_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test double of the package: it answers as ngrok's SDK does, and contacts nothing."""
    (tmp_path / "ngrok.py").write_text(
        "import os\n"
        "class Listener:\n"
        "    def url(self): return 'https://stub-' + os.environ['NGROK_AUTHTOKEN'] + '.ngrok.app'\n"
        "def forward(addr, authtoken_from_env, verify_upstream_tls):\n"
        "    assert addr == 'http://127.0.0.1:5000' and authtoken_from_env\n"
        "    return Listener()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    environ = {"PATH": "", "PYTHONPATH": str(tmp_path), "NGROK_AUTHTOKEN": "t"}
    tunnel = Tunnel(find_program("http://127.0.0.1:5000", environ), environ)
    assert await tunnel.open() == "https://stub-t.ngrok.app"
    await tunnel.close()
