"""The command that installs an extra: from where this package came."""

import json
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from offhook.text import extras


def installed_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch, direct_url: dict[str, object] | None
) -> None:
    """Have the package look as if it was installed from there, or by its name."""
    info = folder / "offhook-9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offhook\nVersion: 9\n")
    if direct_url is not None:
        (info / "direct_url.json").write_text(json.dumps(direct_url))
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.parametrize(
    ("direct_url", "wanted"),
    [
        (None, "offhook[local]"),
        (
            {"url": "file:///srv/offhook-9.whl", "archive_info": {}},
            "offhook[local] @ file:///srv/offhook-9.whl",
        ),
        (
            {
                "url": "https://git.example.com/offhook",
                "vcs_info": {"vcs": "git", "commit_id": "abc"},
            },
            "offhook[local] @ git+https://git.example.com/offhook@abc",
        ),
    ],
)
def test_an_extra_comes_from_where_the_package_came_from(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    direct_url: dict[str, object] | None,
    wanted: str,
) -> None:
    installed_from(tmp_path, monkeypatch, direct_url)
    command = shlex.split(extras.install_command("local"))
    assert command[-1] == wanted
    assert sys.executable in command, "it goes into the environment that is used"


def test_of_a_folder_the_folder_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a clone"
    folder.mkdir()
    installed_from(tmp_path, monkeypatch, {"url": folder.as_uri(), "dir_info": {}})
    assert shlex.split(extras.install_command("local"))[-1] == f"{folder}[local]"


def test_a_checkout_is_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Makefile").touch()
    installed_from(
        tmp_path, monkeypatch, {"url": tmp_path.as_uri(), "dir_info": {"editable": True}}
    )
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert extras.install_command("local") == f"make -C {shlex.quote(str(tmp_path))} setup"
    assert extras.install_command("local,ears") == f"make -C {shlex.quote(str(tmp_path))} ears"
    assert extras.install_command("ears") == f"make -C {shlex.quote(str(tmp_path))} ears"


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_every_extra_has_a_target_of_the_makefile() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert extras.TARGETS.keys() == project["optional-dependencies"].keys()
    for target in extras.TARGETS.values():
        made = subprocess.run(
            ["make", "--dry-run", target], cwd=root, capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr


@pytest.mark.parametrize(("has_pip", "begins"), [(True, "-m pip install"), (False, "uv pip")])
def test_pip_is_used_where_it_is(
    monkeypatch: pytest.MonkeyPatch, has_pip: bool, begins: str
) -> None:
    monkeypatch.setattr(extras, "_origin", lambda: "")
    monkeypatch.setattr(extras, "find_spec", lambda name: object() if has_pip else None)
    assert begins in extras.install_command("local")
