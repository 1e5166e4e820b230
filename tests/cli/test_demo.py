"""offhook demo --once, as a stranger runs it."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from scripts.pictures.terminal import SESSIONS, shape
from tests.in_time import in_time

from offhook.recordings.wav import read_stereo
from offhook.testing.simulator.speech import installed
from offhook.text.extras import install_command

CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("DEEPGRAM", "TWILIO", "OFFHOOK"))}


def demo(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *(command or ("-m", "offhook", "demo", "--once"))],
        env=CLEAN | {"COLUMNS": "200"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def without_engines(folder: Path, *arguments: str) -> tuple[str, ...]:
    """Return what has Python run the demo as where speech is neither recognised nor made."""
    hidden = folder / "hidden.py"
    hidden.write_text(
        "import runpy, sys\n"
        "sys.modules['pocketsphinx'] = sys.modules['ctranslate2'] = None\n"
        f"sys.argv = ['offhook', 'demo', *{arguments!r}]\n"
        "runpy.run_module('offhook', run_name='__main__')\n"
    )
    return (hidden.name,)


def sides(folder: Path) -> tuple[bytes, bytes]:
    """What was said and heard: both are audible, and as long as a call."""
    (recording,) = (folder / "calls").glob("demo-*.wav")
    caller, agent_side = read_stereo(recording)
    assert len(caller) == len(agent_side) > 15 * 8000
    # mu-law silence is 0xff or 0x7f.
    for side in (caller, agent_side):
        assert sum(sample not in (0xFF, 0x7F) for sample in side) > 2 * 8000
    return caller, agent_side


@pytest.mark.long
async def test_the_front_desk_understands_books_a_table_and_is_interrupted(tmp_path: Path) -> None:
    if installed.missing() is not None:
        pytest.skip("no wheels of the local engines for this platform: the script is tested below")

    async def check() -> None:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        hears_and_speaks(folder, await asyncio.to_thread(demo, folder))

    await in_time(check)


def hears_and_speaks(folder: Path, ended: subprocess.CompletedProcess[str]) -> None:
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    said = re.findall(r"  agent +(.+)", ended.stdout)
    assert len(said) >= 6
    assert sum("(interrupted after" in each for each in said) == 1
    assert 'book_table({"day":"friday","time":"19:00","people":2})' in ended.stdout
    assert "Your table is booked. It is table four." in ended.stdout
    assert 'order_status({"number":"4217"})' in ended.stdout
    (errors,) = re.findall(r"word error rate (\d+\.\d)%", ended.stdout)
    assert float(errors) <= 15
    assert re.search(r"interruption +\d+ ms", ended.stdout)
    assert re.search(r"time to answer +\d+ ms median", ended.stdout)
    assert re.search(r"added delay +\d+\.\d+ ms median", ended.stdout)
    assert re.search(r"frames +\d+ sent \(.+\), 0 lost", ended.stdout)
    assert "the caller hung up" in ended.stdout
    recorded = (SESSIONS / "demo.txt").read_text("utf-8")
    assert shape(ended.stdout) == shape(recorded), "python -m scripts.draw_pictures --record demo"
    sides(folder)


@pytest.mark.long
def test_without_the_local_engines_a_script_answers_and_says_so(tmp_path: Path) -> None:
    ended = demo(tmp_path, *without_engines(tmp_path, "--once"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "plays a script and understands nothing: pocketsphinx" in ended.stdout
    assert install_command("local") in ended.stdout
    said = re.findall(r"  agent +(.+)", ended.stdout)
    assert sum("(interrupted after" in each for each in said) == 1
    sides(tmp_path)
