"""Frames that come once and in order, and those that do not."""

from binascii import b2a_base64

import pytest

from offhook.audio import FRAME_BYTES
from offhook.bench.frames import BODY, BODY_64, HEAD, HEAD_64, FrameFaults, Order

CUT = 0


def faults(*frames: tuple[int, int, int]) -> tuple[int, int, int]:
    """Lost, disordered, doubled; of frames (utterance, number, size of the one before)."""
    found = FrameFaults()
    order = Order(found)
    for frame in frames:
        order.check(*frame)
    return found.lost, found.disordered, found.doubled


def utterance(which: int, numbers: range, before: int = CUT) -> list[tuple[int, int, int]]:
    return [(which, number, before) for number in numbers]


def test_a_frame_fits_and_its_base64_divides() -> None:
    head = HEAD.pack(1, 2, 3, 4)
    encoded = b2a_base64(head + BODY, newline=False)
    assert len(head + BODY) == FRAME_BYTES
    assert encoded == b2a_base64(head, newline=False) + BODY_64
    assert len(encoded) == HEAD_64 + len(BODY_64)


def test_whole_utterances() -> None:
    first = utterance(0, range(100))
    assert faults(*first, *utterance(1, range(50), before=100)) == (0, 0, 0)


def test_what_came_before_the_first_frame_is_nobodys_loss() -> None:
    assert faults(*utterance(0, range(30, 60))) == (0, 0, 0)


def test_a_gap() -> None:
    assert faults(*utterance(0, range(10)), *utterance(0, range(13, 20))) == (3, 0, 0)


def test_frames_that_change_places_are_not_lost() -> None:
    assert faults((0, 0, 0), (0, 2, 0), (0, 1, 0), (0, 3, 0)) == (0, 1, 0)


def test_a_frame_that_comes_twice() -> None:
    assert faults((0, 0, 0), (0, 1, 0), (0, 1, 0), (0, 2, 0)) == (0, 0, 1)


def test_the_rest_of_an_utterance_that_was_cut_is_not_lost() -> None:
    assert faults(*utterance(0, range(60)), *utterance(1, range(50), before=CUT)) == (0, 0, 0)


def test_the_rest_of_one_that_was_not_is() -> None:
    assert faults(*utterance(0, range(60)), *utterance(1, range(50), before=64)) == (4, 0, 0)


def test_the_beginning_of_an_utterance_that_is_missing() -> None:
    assert faults(*utterance(0, range(9)), *utterance(1, range(2, 5), before=9)) == (2, 0, 0)


@pytest.mark.parametrize("missing", [1, 2])
def test_whole_utterances_that_are_missing(missing: int) -> None:
    later = utterance(1 + missing, range(5))
    assert faults(*utterance(0, range(9)), *later)[0] == missing


def test_a_frame_of_an_utterance_that_is_over() -> None:
    late = [(0, 9, 0), (1, 5, CUT)]
    assert faults(*utterance(0, range(9)), *utterance(1, range(5)), *late) == (0, 1, 0)
