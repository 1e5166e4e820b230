"""offhook demo --once, as a stranger runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from offhook.wav import read_stereo

CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("DEEPGRAM", "TWILIO", "OFFHOOK"))}


def test_the_call_goes_as_it_should_and_is_kept(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "offhook", "demo", "--once"],
        env=CLEAN | {"COLUMNS": "200"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    agent = re.findall(r"  agent +(.+)", ended.stdout)
    assert len(agent) >= 4
    assert sum("(interrupted after" in said for said in agent) == 1
    assert re.search(r"interruption +\d+ ms", ended.stdout)
    assert re.search(r"added delay +\d+\.\d+ ms median", ended.stdout)
    assert re.search(r"frames +\d+ sent \(.+\), 0 lost", ended.stdout)
    assert "the caller hung up" in ended.stdout
    (recording,) = (tmp_path / "calls").glob("demo-*.wav")
    caller, agent_side = read_stereo(recording)
    assert len(caller) == len(agent_side) > 15 * 8000
    # Both were audible: mu-law silence is 0xff or 0x7f.
    for side in (caller, agent_side):
        assert sum(sample not in (0xFF, 0x7F) for sample in side) > 2 * 8000
