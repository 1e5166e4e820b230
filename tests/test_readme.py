"""README: short, its two examples work together in a call, and nothing on it is there alone."""

import re
import subprocess
import sys
from pathlib import Path

from tests.test_docs import ROOT
from typer.testing import CliRunner

from offhook.cli import app

README = (ROOT / "README.md").read_text("utf-8")

SCENARIO = """\
config: offhook.yaml
script:
  turns:
    - hear: Yes, that's right.
      function_calls: [{name: book_repair, arguments: {day: friday}}]
      say: ["Of course, what else?"]
steps:
  - wait_for_agent
  - say: Yes, that's right.
  - expect: {called: {function: book_repair, exactly: {day: friday}}, says: what else}
  - hang_up
"""


def examples() -> dict[str, str]:
    """The files that README shows, by the name in their first line."""
    blocks = re.findall(
        r"^```(?:yaml|python)\n# (\S+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL
    )
    return dict(blocks)


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150
    lines = {name: 1 + len(text.splitlines()) for name, text in examples().items()}
    assert lines == {"shop.yaml": 12, "tools.py": 12}


def test_the_agent_of_readme_calls_its_function(tmp_path: Path) -> None:
    for name, text in examples().items():
        (tmp_path / name).write_text(text, "utf-8")
    (config,) = re.findall(r"`(lines: \{[^`]+\})`", README)
    (tmp_path / "offhook.yaml").write_text(config, "utf-8")
    (tmp_path / "scenario.yaml").write_text(SCENARIO, "utf-8")
    checked = CliRunner().invoke(app, ["check", str(tmp_path / "offhook.yaml")])
    assert checked.exit_code == 0, checked.output
    assert " 0 errors" in checked.output.replace("(", " ")
    ended = subprocess.run(
        [sys.executable, "-m", "offhook", "rehearse", "scenario.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_readme_says_what_else_there_is_by_links() -> None:
    bullets = re.findall(r"^- (.*)$", README, re.MULTILINE)
    assert len(bullets) == 8
    assert [bullet for bullet in bullets if "](docs/" not in bullet] == []
