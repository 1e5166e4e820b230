"""offhook call: what it asks of a server, what it tells, and how a process of it stops."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
from tests.api.desk import TOKEN
from tests.cli.in_process import CLEAN, Ended, offhook, run_offhook
from tests.outbound.test_people_called import Town, town
from tests.waiting import until

from offhook.cli import place_calls
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson

ADA, BOB, CLEO = "+12025550142", "+12025550143", "+12025550144"
ALWAYS = {"hours": "00:00-24:00"}


@dataclass
class Command:
    folder: Path
    town: Town

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "offhook", "call", *arguments),
            *("--agent", "seed", "--url", self.town.desk.url),
            env=CLEAN | {"OFFHOOK_API_TOKEN": TOKEN},
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str) -> Ended:
        where = ("--agent", "seed", "--url", self.town.desk.url)
        with mock.patch.object(place_calls, "on_stop_signal"):  # a thread is sent no signals
            return await run_offhook(
                self.folder, "call", *arguments, *where, OFFHOOK_API_TOKEN=TOKEN
            )


@asynccontextmanager
async def command(folder: Path, people: Mapping[str, SimulatedPerson]) -> AsyncIterator[Command]:
    (folder / "here").mkdir()
    (folder / "records").mkdir()
    async with town(folder / "records", people, outbound=ALWAYS) as made:
        yield Command(folder / "here", made)


async def test_one_call_is_told_to_its_end(tmp_path: Path) -> None:
    async with command(tmp_path, {ADA: SimulatedPerson("busy", after_s=0.2)}) as offhook:
        ran = await offhook.run(ADA, "--var", "name=Ada", "--key", "once")
        assert ran.returncode == 1
        assert "placed" in ran.stdout
        assert "busy: the called number was busy" in ran.stdout
        again = await offhook.run(ADA, "--var", "name=Ada", "--key", "once", "--json")
        [rung] = offhook.town.network.ledger.rung
        assert json.loads(again.stdout) == {
            "call_sid": rung.call_sid,
            "status": "busy",
            "slug": "line_busy",
            "words": "the called number was busy",
        }
        refused = await offhook.run("+442079460000")
        assert (refused.returncode, refused.stderr[:8]) == (1, "E-OUT-05")
        assert "+44" not in refused.stderr


async def test_a_list_tells_bad_rows_and_rings_the_rest(tmp_path: Path) -> None:
    people = {
        ADA: SimulatedPerson("busy", after_s=0.1),
        BOB: SimulatedPerson("no-answer", after_s=0.1),
    }
    async with command(tmp_path, people) as offhook:
        (offhook.folder / "people.csv").write_text(
            f"number,consent,name\n{ADA},yes,Ada\n{BOB},yes,Bob\n{CLEO},no,Cleo\n"
            "+442079460000,yes,Dan\n"
        )
        ran = await offhook.run("--from", "people.csv")
        assert ran.returncode == 1
        assert "line 4: its consent is not yes" in ran.stderr
        assert "line 5: This number is not called" in ran.stderr
        assert "2 rung (" in ran.stderr
        told = await offhook.run("--from", "people.csv", "--json")
        report = json.loads(told.stdout)
        assert (report["rung"], report["rung_before"], report["whole"]) == (0, 2, False)
        assert [row["line"] for row in report["bad"]] == [4]
        assert [row["line"] for row in report["refused"]] == [5]
        assert len(offhook.town.network.ledger.rung) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
async def test_interrupted_a_list_ends_its_live_calls_and_rings_nobody_else(
    tmp_path: Path,
) -> None:
    people = {f"+1202555{n:04}": SimulatedPerson("no-answer", after_s=2.0) for n in range(100, 120)}
    async with command(tmp_path, people) as offhook:
        rows = "".join(f"{number},yes\n" for number in people)
        (offhook.folder / "people.csv").write_text(f"number,consent\n{rows}")
        process = await offhook.start("--from", "people.csv", "--json", "--at-once", "4")
        rung = offhook.town.network.ledger.rung
        await until(lambda: len(rung) == 4)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(240):
            out, err = await process.communicate()
        assert process.returncode == 1
        report = json.loads(out)
        assert report["outcomes"] == {"not_answered": 4}
        assert (report["stopped"], len(rung)) == (True, 4)
        assert "The same command goes on from here." in err.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        [ADA],
        ["--agent", "seed"],
        [ADA, "--from", "people.csv", "--agent", "seed"],
        [ADA, "--agent", "seed", "--var", "name"],
        ["--from", "people.csv", "--key", "x", "--agent", "seed"],
    ],
)
def test_wrong_use_is_told_as_such(tmp_path: Path, arguments: list[str]) -> None:
    assert offhook(tmp_path, "call", *arguments).returncode == 2


@pytest.mark.parametrize(
    ("more", "code"),
    [({}, "E-ASK-11"), ({"OFFHOOK_API_TOKEN": TOKEN}, "E-OUT-19")],
)
def test_without_a_server_it_is_told_what_to_start(
    tmp_path: Path, more: dict[str, str], code: str
) -> None:
    url = "http://127.0.0.1:1"
    ran = offhook(tmp_path, "call", ADA, "--agent", "seed", "--url", url, **more)
    assert (ran.returncode, ran.stderr.partition(" ")[0]) == (1, code)
    assert "offhook serve" in ran.stderr
