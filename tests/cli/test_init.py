"""`offhook init`, as a newcomer runs it: with a terminal and without, with accounts and without."""

import asyncio
import json
import os
import re
import select
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from tests.cli import in_process
from tests.waiting import GIVEN_UP_AFTER_S
from tests.whole_server import ACCOUNT, QUICK, TOKEN

from offhook.clock import LoopClock
from offhook.scaffold import files
from offhook.testing.simulator.deepgram import server as standin_server
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.twilio.account import server as rest
from offhook.testing.simulator.twilio.account.account import SimulatedAccount
from offhook.testing.simulator.twilio.account.resources import AccountNumber
from offhook.testing.simulator.twilio.calls.network import simulated_network
from offhook.testing.simulator.twilio.calls.people import book
from offhook.testing.simulator.twilio.webhooks import RehearsedHost

KEY = "deepgram-key-of-a-test"
NUMBERS = ("+12025550100", "+12025550101")
NOWHERE = {
    "OFFHOOK_DEEPGRAM__URL": "ws://127.0.0.1:9",
    "OFFHOOK_TWILIO__API_URL": "http://127.0.0.1:9",
}
"""Addresses of accounts where nobody listens."""

CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("DEEPGRAM", "TWILIO", "OFFHOOK"))}
OFFHOOK = (sys.executable, "-m", "offhook")
WRITTEN = {*files.OF_THE_USER, ".env", ".gitignore", *files.schema_files("")}


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def offhook(folder: Path, *arguments: str, env: Mapping[str, str] = NOWHERE) -> in_process.Ended:
    return in_process.offhook(folder, *arguments, **env)


def started(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a process without a terminal."""
    return subprocess.run(
        [*OFFHOOK, *arguments],
        cwd=folder,
        env={**CLEAN, "COLUMNS": "200", **NOWHERE},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@asynccontextmanager
async def accounts(*numbers: str, script: Script = QUICK) -> AsyncIterator[dict[str, str]]:
    """Run a simulated Twilio account and a stand-in. Yield the environment that leads there."""
    clock = LoopClock(asyncio.get_running_loop())
    host = RehearsedHost("http://127.0.0.1:9/twilio/voice", TOKEN)
    agent = await standin_server.serve("127.0.0.1", 0, script, clock)
    try:
        async with simulated_network(ACCOUNT, host, clock, book({})) as network:
            account = SimulatedAccount(network, TOKEN, numbers=[AccountNumber(n) for n in numbers])
            async with rest.serve(account) as origin:
                yield {
                    "OFFHOOK_DEEPGRAM__URL": agent.url,
                    "OFFHOOK_TWILIO__API_URL": origin,
                    "DEEPGRAM_API_KEY": KEY,
                    "TWILIO_ACCOUNT_SID": ACCOUNT,
                    "TWILIO_AUTH_TOKEN": TOKEN,
                }
    finally:
        await agent.close()


# --- Without a terminal ---


def test_without_accounts_and_without_a_terminal(tmp_path: Path) -> None:
    ended = started(tmp_path, "init", "shop")
    assert (ended.returncode, ended.stderr) == (0, "")
    folder = tmp_path / "shop"
    assert tree(folder).keys() == WRITTEN
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    assert "\n  DEEPGRAM_API_KEY, TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN\n" in ended.stdout
    assert re.findall(r"^  (cd shop|offhook \w+)", ended.stdout, re.MULTILINE) == [
        "cd shop",
        "offhook rehearse",
        "offhook doctor",
        "offhook dev",
    ]

    checked = offhook(folder, "check", "--json")
    assert json.loads(checked.stdout) == {"errors": 0, "remarks": 0, "findings": []}
    assert checked.returncode == 0

    (command,) = re.findall(r"^  offhook (rehearse\S* \S+)", ended.stdout, re.MULTILINE)
    rehearsed = offhook(folder, *command.split())
    assert rehearsed.returncode == 0, rehearsed.stdout + rehearsed.stderr
    assert "1 passed" in rehearsed.stdout


async def test_keys_are_checked_and_the_only_number_is_taken(tmp_path: Path) -> None:
    async with accounts(NUMBERS[0]) as env:
        ended = await asyncio.to_thread(offhook, tmp_path, "init", "--yes", env=env)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Deepgram key: a session opens in" in ended.stdout
    assert "Twilio account: the credentials are right" in ended.stdout
    assert f"Numbers: {NUMBERS[0]} is the account's only one" in ended.stdout
    assert f'  "{NUMBERS[0]}": agent.yaml' in (tmp_path / "offhook.yaml").read_text()
    # Keys that the environment has are not written down.
    for text in tree(tmp_path).values():
        assert KEY.encode() not in text
        assert TOKEN.encode() not in text
    assert "Not set yet" not in ended.stdout
    checked = await asyncio.to_thread(offhook, tmp_path, "check", "--json")
    assert json.loads(checked.stdout)["findings"] == []


@pytest.mark.parametrize(
    ("numbers", "arguments", "code", "told"),
    [
        ((), [], 0, "Numbers: the account has none yet.\n  → Buy one"),
        (NUMBERS, [], 0, "Numbers: the account has 2; the agent answers any of them."),
        (NUMBERS, ["--number", NUMBERS[1]], 0, "Written in "),
        (NUMBERS, ["--number", "+12025550199"], 1, "E-INIT-03 The Twilio account does not have"),
    ],
)
async def test_accounts_of_several_numbers_or_none(
    numbers: tuple[str, ...], arguments: list[str], code: int, told: str, tmp_path: Path
) -> None:
    async with accounts(*numbers) as env:
        ended = await asyncio.to_thread(offhook, tmp_path, "init", "--yes", *arguments, env=env)
    assert ended.returncode == code
    assert told in ended.stdout + ended.stderr
    assert bool(tree(tmp_path)) == (code == 0)
    if code == 0:
        lines = (tmp_path / "offhook.yaml").read_text()
        assert "default: agent.yaml" in lines
        assert NUMBERS[0] not in lines
        assert (NUMBERS[1] in lines) == bool(arguments)


async def test_keys_that_are_refused_and_accounts_that_cannot_be_reached(tmp_path: Path) -> None:
    async with accounts(script=Script(upgrade_status=401)) as env:
        wrong = {**env, "TWILIO_AUTH_TOKEN": "0" * 32}
        ended = await asyncio.to_thread(offhook, tmp_path, "init", "a", env=wrong)
    assert ended.returncode == 0
    assert "Deepgram key: E-DG-02 Deepgram refused the key (401)." in ended.stdout
    assert "Twilio account: E-TW-03" in ended.stdout
    assert tree(tmp_path / "a").keys() == WRITTEN
    ended = await asyncio.to_thread(offhook, tmp_path, "init", "b", env={**wrong, **NOWHERE})
    assert ended.returncode == 0
    assert "Deepgram key: E-DG-04 Deepgram cannot be reached" in ended.stdout
    assert "Twilio account: E-TW-04" in ended.stdout
    assert tree(tmp_path / "b").keys() == WRITTEN


# --- Folders ---


def test_what_is_in_a_folder_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.log\n.env")
    (tmp_path / ".env").write_text("OTHER='x'  # mine\n")
    (tmp_path / ".env").chmod(0o644)
    (tmp_path / "notes.txt").write_text("mine")
    ended = offhook(tmp_path, "init")
    assert ended.returncode == 0
    assert ". is not empty. What is in it stays as it is." in ended.stdout
    assert (tmp_path / ".gitignore").read_text().startswith("*.log\n.env\ncalls/\n")
    assert (tmp_path / ".env").read_text() == "OTHER='x'  # mine\n"
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["agent.yaml", "tools.py", "scenarios/first-call.yaml"])
def test_a_file_that_would_be_overwritten_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    ended = offhook(tmp_path, "init")
    assert ended.returncode == 1
    assert ended.stderr == (
        f"E-INIT-01 {name} would be overwritten in .. Nothing was written.\n"
        "  → Name another folder: offhook init FOLDER\n"
    )
    assert tree(tmp_path) == {name: b"mine"}


def test_a_second_time_nothing_but_what_is_missing_is_written(tmp_path: Path) -> None:
    assert offhook(tmp_path, "init").returncode == 0
    before = tree(tmp_path)
    ended = offhook(tmp_path, "init")
    assert ended.returncode == 0
    assert "All is there." in ended.stdout
    assert tree(tmp_path) == before

    (tmp_path / "agent.yaml").write_text("settings: {greeting: Mine.}\n")
    (tmp_path / "tools.py").unlink()
    (tmp_path / ".env").unlink()
    schema = tmp_path / ".offhook" / "agent.schema.json"
    schema.write_text("of an older version")
    ended = offhook(tmp_path, "init")
    assert ended.returncode == 0
    after = tree(tmp_path)
    assert after.keys() == before.keys() - {"tools.py"}
    assert after["agent.yaml"] == b"settings: {greeting: Mine.}\n"
    assert after[".offhook/agent.schema.json"] == before[".offhook/agent.schema.json"]
    ended = offhook(tmp_path, "init", "--number", NUMBERS[0])
    assert ended.returncode == 2


@pytest.mark.parametrize("kind", ["a file", "under a file", "read-only"])
def test_folders_that_cannot_take_files(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "closed").mkdir(mode=0o500)
    if kind == "read-only" and os.access(tmp_path / "closed", os.W_OK):
        pytest.skip("this user may write everywhere")
    where = {"a file": "file", "under a file": "file/new", "read-only": "closed"}[kind]
    ended = offhook(tmp_path, "init", where)
    assert ended.returncode == 1
    assert ended.stderr.startswith("E-INIT-02 ")
    assert "Traceback" not in ended.stderr
    assert tree(tmp_path) == {"file": b"x"}


# --- With a terminal ---

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
ASKED_KEY = "Deepgram API key"
ASKED_SID = "Twilio Account SID"
ASKED_TOKEN = "Twilio Auth Token"
CTRL_C = "\x03"
ON_A_TERMINAL = """
import os, pty, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # background jobs of a shell ignore it
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
"""


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._bytes = b""
        self.shown = ""
        self._read_to = 0

    def until(self, text: str) -> None:
        """Wait until a text is shown, after those that were waited for."""
        while text not in self.shown[self._read_to :]:
            assert self._more(), f"{text!r} did not come after {self.shown[self._read_to :]!r}"
        self._read_to = self.shown.index(text, self._read_to) + len(text)

    def type(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def end(self) -> int:
        """Wait for the end, and return the exit code."""
        while self._more():
            pass
        return self._process.wait(GIVEN_UP_AFTER_S)

    def _more(self) -> bool:
        """Read what is shown next. Return False at the end, or when nothing comes for long."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], GIVEN_UP_AFTER_S)
        more = os.read(self._process.stdout.fileno(), 4096) if ready else b""
        self._bytes += more
        self.shown = self._bytes.decode(errors="replace")
        return bool(more)


@contextmanager
def terminal(folder: Path, *arguments: str, env: Mapping[str, str] = NOWHERE) -> Iterator[Terminal]:
    with subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, *OFFHOOK, *arguments],
        cwd=folder,
        env={**CLEAN, "COLUMNS": "200", **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            yield Terminal(process)
        finally:
            if process.poll() is None:
                process.kill()


@POSIX
@pytest.mark.parametrize(
    "answers",
    [
        [(ASKED_KEY, CTRL_C)],
        [(ASKED_KEY, "\n"), (ASKED_SID, f"{ACCOUNT}\n"), (ASKED_TOKEN, CTRL_C)],
        [(ASKED_KEY, f"{KEY}\n"), ("Another key?", ""), (ASKED_KEY, CTRL_C)],
    ],
)
def test_ctrl_c_at_each_question_leaves_nothing(
    answers: list[tuple[str, str]], tmp_path: Path
) -> None:
    with terminal(tmp_path, "init", "shop") as typing:
        for asked, answer in answers:
            typing.until(asked)
            typing.until(": ") if answer else None
            typing.type(answer)
        assert typing.end() == 1
    assert "Aborted" in typing.shown
    assert "Traceback" not in typing.shown
    assert list(tmp_path.iterdir()) == []


@POSIX
async def test_all_questions_answered(tmp_path: Path) -> None:
    def answer(env: Mapping[str, str]) -> str:
        with terminal(tmp_path, "init", env=env) as typing:
            typing.until(f"{ASKED_KEY} (hidden; Enter to skip): ")
            typing.type("a key with spaces\n")
            typing.until("A key has no spaces")
            typing.until(": ")
            typing.type(f"DEEPGRAM_API_KEY={KEY}\n")
            typing.until("Deepgram key: a session opens in")
            typing.until(f"{ASKED_SID} (AC…; Enter to skip): ")
            typing.type("SK" + "0" * 32 + "\n")
            typing.until("the Account SID begins with AC")
            typing.until(": ")
            typing.type(f"{ACCOUNT}\n")
            typing.until(f"{ASKED_TOKEN} (hidden; Enter to skip): ")
            typing.type("0" * 32 + "\n")
            typing.until("Twilio account: E-TW-03")
            typing.until(f"{ASKED_TOKEN} (hidden; Enter to skip): ")
            typing.type(f"{TOKEN}\n")
            typing.until("Twilio account: the credentials are right")
            typing.until(f" 2  {NUMBERS[1]}")
            typing.until("Which does the agent answer? (Enter: any of them): ")
            typing.type("3\n")
            typing.until("Write the number in the first column.")
            typing.until(": ")
            typing.type("2\n")
            assert typing.end() == 0
            return typing.shown

    async with accounts(*NUMBERS) as env:
        asked = {name: env[name] for name in env if name.startswith("OFFHOOK_")}
        shown = await asyncio.to_thread(answer, asked)
    for secret in (KEY, TOKEN):
        assert secret not in shown
    assert "asking Deepgram" in shown
    assert "asking Twilio" in shown
    text = (tmp_path / ".env").read_text()
    for line in (f"DEEPGRAM_API_KEY={KEY}", f"TWILIO_ACCOUNT_SID={ACCOUNT}"):
        assert f"{line}\n" in text
    assert f"TWILIO_AUTH_TOKEN={TOKEN}\n" in text
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert f'"{NUMBERS[1]}": agent.yaml' in (tmp_path / "offhook.yaml").read_text()
    for name, content in tree(tmp_path).items():
        assert name == ".env" or TOKEN.encode() not in content
