"""Several files are written, or none, whatever happens in between."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from offhook.errors import UserError
from offhook.scaffold.writing import PRIVATE, NewFile, write_all


def seen(folder: Path) -> dict[str, tuple[str | None, int]]:
    """Every file and folder below, with its text and its permissions."""
    return {
        str(path.relative_to(folder)): (
            path.read_text() if path.is_file() else None,
            stat.S_IMODE(path.stat().st_mode),
        )
        for path in sorted(folder.rglob("*"))
    }


def planned(folder: Path) -> list[NewFile]:
    (folder / "own.txt").write_text("mine")
    (folder / "old.txt").write_text("before")
    return [
        NewFile(folder / "a" / "b" / "new.txt", "one"),
        NewFile(folder / "old.txt", "after", b"before"),
        NewFile(folder / ".env", "KEY=x", mode=PRIVATE),
        NewFile(folder / "a" / "two.txt", "two"),
    ]


def test_all_files_are_written(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_all(planned(tmp_path))
    finally:
        os.umask(before)
    assert seen(tmp_path) == {
        ".env": ("KEY=x", 0o600),
        "a": (None, 0o750),
        "a/b": (None, 0o750),
        "a/b/new.txt": ("one", 0o640),
        "a/two.txt": ("two", 0o640),
        "old.txt": ("after", 0o640),
        "own.txt": ("mine", (tmp_path / "own.txt").stat().st_mode & 0o777),
    }


STEPS = [(os, "link"), (Path, "replace"), (os, "open"), (Path, "mkdir"), (Path, "unlink")]


@contextlib.contextmanager
def failing(
    patch: pytest.MonkeyPatch, at: int, *, after: bool, error: BaseException
) -> Iterator[Callable[[], bool]]:
    """Raise `error` at the step of that number, before it or after it."""
    count = [0]
    with patch.context() as patched:
        for owner, name in STEPS:
            real = getattr(owner, name)

            def step(*args: Any, _real: Any = real, **kwargs: Any) -> Any:
                count[0] += 1
                if count[0] == at and not after:
                    raise error
                result = _real(*args, **kwargs)
                if count[0] == at and after:
                    raise error
                return result

            patched.setattr(owner, name, step)
        yield lambda: count[0] >= at


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")]
)
def test_an_interruption_at_any_step_leaves_everything_as_it_was(
    error: BaseException, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0
    for at in range(1, 100):
        folder = tmp_path / str(at)
        folder.mkdir()
        plan = planned(folder)
        before = seen(folder)
        raised = None
        with failing(monkeypatch, at, after=after, error=error) as was_reached:
            try:
                write_all(plan)
            except (KeyboardInterrupt, UserError) as caught:
                raised = caught
        if raised is None:
            assert not was_reached()
            break
        told = "E-INIT-02" if isinstance(error, OSError) else None
        assert getattr(raised, "code", None) == told
        assert {name: text for name, (text, _) in seen(folder).items()} == {
            name: text for name, (text, _) in before.items()
        }, at
        tried += 1
    assert tried >= 10


@pytest.mark.parametrize("name", ["old.txt", ".env"])
def test_what_somebody_has_written_meanwhile_is_not_lost(name: str, tmp_path: Path) -> None:
    plan = planned(tmp_path)
    (tmp_path / name).write_text("theirs")
    before = seen(tmp_path)
    with pytest.raises(UserError, match=r"E-INIT-01 .*Nothing was written"):
        write_all(plan)
    assert seen(tmp_path) == before


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    write_all(planned(tmp_path))
    assert (tmp_path / "a" / "two.txt").read_text() == "two"
    with pytest.raises(UserError, match="E-INIT-01"):
        write_all([NewFile(tmp_path / "own.txt", "x")])
    assert (tmp_path / "own.txt").read_text() == "mine"
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_folder_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(UserError, match="E-INIT-02"):
        write_all([NewFile(tmp_path / "f" / "new.txt", "x")])
