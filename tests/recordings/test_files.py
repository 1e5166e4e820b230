"""Files by name, in a folder that no name leaves."""

import stat
from pathlib import Path

import pytest

from offhook.errors import UserError
from offhook.recordings.files import LocalFiles


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    made = LocalFiles(tmp_path / "data" / "recordings")
    made.prepare()
    return made


def test_a_file_is_made_once_read_changed_and_deleted(files: LocalFiles, tmp_path: Path) -> None:
    with files.create("a.wav") as file:
        file.write(b"12345")
        file.seek(1)
        assert file.read(1) == b"2"
    with pytest.raises(FileExistsError):
        files.create("a.wav")
    with files.open("a.wav", change=True) as file:
        file.seek(2)
        file.write(b"x")
    with files.open("a.wav") as file:
        assert file.read() == b"12x45"
    assert files.size("a.wav") == 5
    assert files.names() == ["a.wav"]
    path = tmp_path / "data" / "recordings" / "a.wav"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    files.delete("a.wav")
    assert files.names() == []
    with pytest.raises(FileNotFoundError):
        files.open("a.wav")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a.wav", "a/b.wav", "a\\b.wav", "/etc/passwd", ".hidden", "a\0.wav", "a\n",
     "C:a.wav", "ä.wav", "x" * 129],
)  # fmt: skip
def test_no_name_leaves_the_folder(files: LocalFiles, name: str) -> None:
    for use in (files.create, files.open, files.size, files.delete):
        with pytest.raises(UserError, match="E-AUD-03"):
            use(name)


def test_a_link_leads_nowhere(files: LocalFiles, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"secret")
    (tmp_path / "data" / "recordings" / "link.wav").symlink_to(secret)
    assert files.names() == []
    for change in (False, True):
        with pytest.raises(OSError, match="link"):
            files.open("link.wav", change=change)
    files.delete("link.wav")
    assert secret.read_bytes() == b"secret"


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert LocalFiles(tmp_path / "nowhere").names() == []


def test_a_folder_that_cannot_be_written_is_found_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="E-AUD-01"):
        LocalFiles(tmp_path / "file" / "recordings").prepare()
