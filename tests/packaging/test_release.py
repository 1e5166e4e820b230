"""scripts/release, in a repository of its own."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest
from tests.test_docs import ROOT

CHANGES: Final = "# Changelog\n\n## Unreleased\n\n- Calls are answered.\n\n## 0.1.0, 2026-01-01\n"
PACKAGE: Final = "src/offhook/__init__.py"


def git(folder: Path, *arguments: str) -> str:
    own = ("-c", "user.name=Someone", "-c", "user.email=someone@example.com")
    done = subprocess.run(
        ["git", *own, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with what is built and released, and little else."""
    folder = tmp_path / "repository"
    for name in ("scripts/release", "pyproject.toml", "README.md", "LICENSE", "docs/errors.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / PACKAGE).parent.mkdir(parents=True)
    (folder / PACKAGE).write_text('"""Offhook."""\n\n__version__ = "0.1.0"\n')
    (folder / "CHANGELOG.md").write_text(CHANGES)
    (folder / ".gitignore").write_text("dist/\n")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "config", "user.name", "Someone")
    git(folder, "config", "user.email", "someone@example.com")
    commit(folder, "begin")
    git(folder, "tag", "v0.1.0")
    return folder


def commit(folder: Path, words: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", words)


def release(folder: Path, version: str, check: str = "true") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/release", version, "--check", check],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def state(folder: Path) -> tuple[str, str, str]:
    return git(folder, "rev-parse", "HEAD"), git(folder, "tag"), git(folder, "status", "--short")


def test_a_release_is_committed_tagged_and_built(repository: Path) -> None:
    done = release(repository, "0.2.0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert git(repository, "log", "-1", "--format=%s") == "Release 0.2.0"
    assert git(repository, "rev-parse", "v0.2.0^{commit}") == git(repository, "rev-parse", "HEAD")
    assert "- Calls are answered." in git(repository, "tag", "--list", "--format=%(contents)")
    assert git(repository, "status", "--short") == ""
    changelog = (repository / "CHANGELOG.md").read_text()
    assert "## Unreleased\n\n## 0.2.0, 20" in changelog
    with zipfile.ZipFile(repository / "dist" / "offhook-0.2.0-py3-none-any.whl") as wheel:
        assert b'"0.2.0"' in wheel.read("offhook/__init__.py")
        told = wheel.read("offhook-0.2.0.dist-info/METADATA").decode()
    assert "/blob/v0.2.0/" in told
    assert (repository / "dist" / "offhook-0.2.0.tar.gz").exists()
    assert "git push origin main v0.2.0" in done.stdout, "it says how to publish, and does not"


def dirty(folder: Path) -> None:
    (folder / "README.md").write_text("Changed.\n")


def elsewhere(folder: Path) -> None:
    git(folder, "switch", "--quiet", "--create", "other")


def unchanged(folder: Path) -> None:
    (folder / "CHANGELOG.md").write_text(CHANGES.replace("- Calls are answered.", ""))
    commit(folder, "nothing is new")


def unbuildable(folder: Path) -> None:
    git(folder, "rm", "--quiet", "LICENSE", "README.md")
    commit(folder, "a file less")


@pytest.mark.parametrize(
    ("prepare", "version", "check", "told"),
    [
        (dirty, "0.2.0", "true", "not committed"),
        (elsewhere, "0.2.0", "true", "This is other"),
        (unchanged, "0.2.0", "true", "nothing under"),
        (unbuildable, "0.2.0", "true", "README.md"),
        (None, "0.1.0", "true", "released already"),
        (None, "0.0.9", "true", "released already"),
        (None, "next", "true", "no version"),
        (None, "0.2.0", "false", "false has failed"),
    ],
)
def test_what_is_not_right_releases_nothing(
    repository: Path, prepare: object, version: str, check: str, told: str
) -> None:
    if callable(prepare):
        prepare(repository)
    before = state(repository)
    done = release(repository, version, check)
    assert done.returncode != 0
    assert told in done.stdout + done.stderr
    assert state(repository) == before
