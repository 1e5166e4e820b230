"""make setup and make run, with a uv that only writes down what it is asked."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OLD = "#!/bin/sh\nexit 1\n"
"""A Python that is older than ours: it fails whatever it is asked."""

UV = f"""#!/bin/sh
echo "$@" >> asked
case "$1" in
venv)
    rm -rf .venv && mkdir -p .venv/bin && ln -s {sys.executable} .venv/bin/python
    ln -s /bin/true .venv/bin/offhook ;;
esac
"""

FILES = {"setup": "requirements/dev.txt", "run": "requirements/run.txt"}

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements/uv.txt", *FILES.values(), "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    program(tmp_path / ".uv/bin/uv", UV)
    return tmp_path


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def make(target: str, folder: Path, python: str = sys.executable) -> tuple[int, str, list[str]]:
    """Run make; return its code, what it wrote, and what uv was asked for, line by line."""
    ended = subprocess.run(
        ["make", target, f"PYTHON={python}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    asked = folder / "asked"
    lines = asked.read_text().splitlines() if asked.exists() else []
    asked.unlink(missing_ok=True)
    return ended.returncode, ended.stdout + ended.stderr, lines


def set_up(folder: Path, python: str = sys.executable) -> tuple[int, str, list[str]]:
    """Run `make setup`; return its code, what it wrote, and uv's first words."""
    code, said, lines = make("setup", folder, python)
    return code, said, [line.split()[0] for line in lines]


@pytest.mark.parametrize("is_ready", [False, True])
def test_an_environment_of_an_older_python_is_replaced(checkout: Path, is_ready: bool) -> None:
    program(checkout / ".venv/bin/python", OLD)
    if is_ready:
        (checkout / ".venv/ready").touch()
    assert set_up(checkout)[::2] == (0, ["venv", "pip", "pip"])
    assert set_up(checkout)[::2] == (0, []), "it is ready"


def test_an_environment_whose_python_is_gone_is_replaced(checkout: Path) -> None:
    assert set_up(checkout)[::2] == (0, ["venv", "pip", "pip"])
    python = checkout / ".venv/bin/python"
    python.unlink()
    python.symlink_to(checkout / "nowhere")
    assert set_up(checkout)[::2] == (0, ["venv", "pip", "pip"])


def test_a_good_environment_is_kept(checkout: Path) -> None:
    set_up(checkout)
    (checkout / ".venv/mine").touch()
    (checkout / ".venv/ready").unlink()
    assert set_up(checkout)[::2] == (0, ["pip", "pip"])
    assert (checkout / ".venv/mine").exists()


def test_a_python_that_is_too_old_is_named(checkout: Path) -> None:
    program(checkout / "old", OLD)
    code, said, asked = set_up(checkout, "./old")
    assert code != 0
    assert asked == []
    assert "./old is not Python 3.11 or newer" in said


def test_a_first_call_is_made_with_what_it_needs_and_not_with_the_tests_tools(
    checkout: Path,
) -> None:
    code, _, asked = make("run", checkout)
    assert (code, [line.split()[0] for line in asked]) == (0, ["venv", "pip", "pip"])
    assert asked[1].endswith(FILES["run"])
    assert make("run", checkout)[::2] == (0, []), "it is ready"
    code, _, asked = make("setup", checkout)
    assert (code, asked[0].endswith(FILES["setup"])) == (0, True)
    assert make("run", checkout)[::2] == (0, []), "what developers have is enough"
    (checkout / FILES["setup"]).touch()
    _, _, asked = make("run", checkout)
    assert asked[0].endswith(FILES["setup"]), "it takes nothing away"


def test_an_older_python_is_replaced_before_a_first_call_too(checkout: Path) -> None:
    program(checkout / ".venv/bin/python", OLD)
    (checkout / ".venv/run").touch()
    code, _, asked = make("run", checkout)
    assert (code, [line.split()[0] for line in asked]) == (0, ["venv", "pip", "pip"])


def test_a_first_call_has_the_versions_that_the_tests_ran_with() -> None:
    few, all_of_them = (
        set(re.findall(r"^([\w.-]+(?:\[[^]]*])?==\S+)", (ROOT / file).read_text(), re.MULTILINE))
        for file in (FILES["run"], FILES["setup"])
    )
    assert len(few) > 40
    assert few < all_of_them
