"""offhook bench, as a user runs it."""

import json
from pathlib import Path

import pytest
from tests.cli.in_process import offhook
from typer.testing import CliRunner

from offhook.bench import suite
from offhook.cli import app

BASELINES = Path(__file__).parents[2] / "bench" / "baselines"


@pytest.mark.long
def test_a_run_without_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "ROUNDS", 1)  # each starts a server, and processes that load it
    monkeypatch.chdir(tmp_path)
    arguments = ("--no-search", "--calls", "5", "--seconds", "1", "--json", "--plot", "plot.svg")
    done = CliRunner().invoke(app, ["bench", *arguments])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["plan"]["calls"] == 5
    assert [level["bridge"] for level in report["at_start"]] == ["offhook"]
    assert [level["lost"] for level in report["levels"]] == [0]
    assert all(level["frames_received"] > 0 for level in report["levels"])
    assert all(level["start_s"] > 0 for level in report["levels"])
    assert report["machine"]["cores"] >= 1
    assert any("baselines" in remark for remark in report["remarks"])
    assert (tmp_path / "plot.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "file", "code"),
    [
        (["--baselines", "."], None, "E-BENCH-02"),
        (["--config", "none.yaml"], None, "E-YAML-01"),
        (["--plot", "none/plot.svg"], None, "E-BENCH-06"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    tmp_path: Path, arguments: list[str], file: str | None, code: str
) -> None:
    done = offhook(tmp_path, "bench", "--no-search", *arguments)
    assert done.returncode == 1
    assert code in done.stderr
