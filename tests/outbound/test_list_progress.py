from pathlib import Path

import pytest

from offhook.errors import UserError
from offhook.outbound.list_progress import ListProgress

ADA = "+12025550101"
BOB = "+12025550102"
CLEO = "+12025550103"


def opened(folder: Path, agent: str = "reminder") -> ListProgress:
    return ListProgress(folder / "people.csv", agent)


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    with opened(tmp_path) as first:
        assert not first.begun
        key = first.key(ADA)
        first.ringing(ADA)
        first.placed(ADA, "CA1")
        first.over(ADA, "caller_hung_up")
        first.ringing(BOB)
        first.placed(BOB, "CA2")
        first.ringing(CLEO)
    with opened(tmp_path) as second:
        assert second.begun
        assert second.key(ADA) == key
        assert (second.sid(ADA), second.outcome(ADA)) == ("CA1", "caller_hung_up")
        assert (second.sid(BOB), second.outcome(BOB)) == ("CA2", None)
        assert (second.sid(CLEO), second.outcome(CLEO)) == (None, None)


def test_two_lists_have_keys_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with opened(tmp_path) as one, opened(tmp_path / "a") as other:
        assert one.key(ADA) != other.key(ADA)


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_line_that_was_cut_is_no_line(tmp_path: Path, cut: int) -> None:
    with opened(tmp_path) as first:
        first.ringing(ADA)
        first.ringing(BOB)
    content = first.path.read_bytes()
    first.path.write_bytes(content[:-cut])
    with opened(tmp_path) as second:
        second.ringing(BOB)
        second.placed(BOB, "CA2")
    with opened(tmp_path) as third:
        assert third.sid(BOB) == "CA2"
        assert third.key(ADA) == first.key(ADA)


def test_another_agent_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    with pytest.raises(UserError, match="E-LIST-04"):
        opened(tmp_path, "another")


def test_two_processes_cannot_have_it(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(UserError, match="E-LIST-05"):
        opened(tmp_path)


@pytest.mark.parametrize("content", [b"nonsense\n", b"[1]\n", b'{"number": "x"}\n'])
def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "people.csv.progress"
    path.write_bytes(content)
    with pytest.raises(UserError, match="E-LIST-03"):
        opened(tmp_path)
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="E-LIST-03"):
        opened(tmp_path / "nowhere")
