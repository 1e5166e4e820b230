"""scripts/run-tests: what fails beside other tests gets one more try by itself, and is named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

BESIDE = "assert 'PYTEST_XDIST_WORKER' not in os.environ"
"""Fails on a worker, passes by itself."""
SKIPPED = "import pytest; pytest.skip('this machine was too busy for it')"
FAILS = "sh -c 'until test -e begun; do sleep 0.1; done; echo typo; exit 3'"
"""Fails when a test has begun."""


@pytest.mark.parametrize(
    ("lines", "arguments", "code", "told"),
    [
        (["pass"] * 2, [], 0, ""),
        (["pass", BESIDE], [], 0, "PASSED ONLY BY ITSELF: "),
        (["pass", BESIDE], ["--strict"], 1, ""),
        (["assert False", BESIDE], [], 1, "FAILS BY ITSELF: "),
        ([BESIDE] * 4, [], 1, ""),
        (["pass"], ["--beside", "true"], 0, ""),
        ([SKIPPED], [], 0, "TOO BUSY: test_given.py::test_0"),
        (["open('begun', 'x'); import time; time.sleep(600)"], ["--beside", FAILS], 3, "typo"),
        (["pass"], ["--beside", "sh -c 'echo typo; exit 3'"], 3, "typo"),
    ],
)
def test_a_failure_is_tried_once_more_by_itself(
    tmp_path: Path, lines: list[str], arguments: list[str], code: int, told: str
) -> None:
    cases = [f"def test_{number}():\n    {line}\n" for number, line in enumerate(lines)]
    path = tmp_path / "test_given.py"
    path.write_text("import os\n" + "".join(cases))
    script = [sys.executable, str(ROOT / "scripts" / "run-tests"), *arguments, "-n", "1"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # each process imports all of them
    environment["PYTEST_PLUGINS"] = "xdist.plugin"
    ran = subprocess.run(
        [*script, path.name],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert ("BY ITSELF" in ran.stdout) == ("BY ITSELF" in told)
    assert told in ran.stdout
