"""make setup, with a uv that only writes down what it is asked."""

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
venv) rm -rf .venv && mkdir -p .venv/bin && ln -s {sys.executable} .venv/bin/python ;;
esac
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements/uv.txt", "requirements/dev.txt", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    program(tmp_path / ".uv/bin/uv", UV)
    return tmp_path


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def set_up(folder: Path, python: str = sys.executable) -> tuple[int, str, list[str]]:
    """Run `make setup`; return its code, what it wrote, and what uv was asked for."""
    ended = subprocess.run(
        ["make", "setup", f"PYTHON={python}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    asked = folder / "asked"
    lines = asked.read_text().splitlines() if asked.exists() else []
    asked.unlink(missing_ok=True)
    return ended.returncode, ended.stdout + ended.stderr, [line.split()[0] for line in lines]


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
