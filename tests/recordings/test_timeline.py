"""Where frames and played audio end up, whatever order and times they come with."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.recordings import timeline
from offhook.recordings.timeline import Timeline

FRAME = 160
SILENT = 0xFF


def tone(number: int, size: int = FRAME) -> bytes:
    """Audio that can be told from any other, and is never silence."""
    return bytes([number % 250 + 1]) * size


@dataclass
class Tape:
    """A timeline and all that it handed on."""

    line: Timeline = field(default_factory=lambda: Timeline(0.0))
    left: bytearray = field(default_factory=bytearray)
    right: bytearray = field(default_factory=bytearray)

    def keep(self, sides: tuple[bytes, bytes] | None) -> None:
        if sides is not None:
            left, right = sides
            assert len(left) == len(right)
            self.left += left
            self.right += right
            assert self.line.length == len(self.left)

    def hear(self, timestamp: str | int, audio: bytes, now: float) -> None:
        self.line.heard(timestamp, audio, now)
        self.keep(self.line.take())

    def run(self, first: int, last: int) -> None:
        """Frames that are silence, from one number up to another, in time."""
        for number in range(first, last):
            self.hear(str(20 * number), b"\xff" * FRAME, 0.02 * (number + 1))

    def finish(self, now: float) -> None:
        self.keep(self.line.finish(now))

    def sounds(self) -> list[tuple[int, int, int]]:
        """On the right, what sounds: from, to (in samples), and as what."""
        found: list[tuple[int, int, int]] = []
        for at, value in enumerate(self.right):
            if value == SILENT:
                continue
            if found and found[-1][1:] == (at, value):
                found[-1] = (found[-1][0], at + 1, value)
            else:
                found.append((at, at + 1, value))
        return found


# --- left ----------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.sampled_from(["come", "lost", "double", "swapped"]), st.floats(0, 0.1)),
        max_size=400,
    )
)
def test_frames_lie_where_twilio_says(fates: list[tuple[str, float]]) -> None:
    """Lost, doubled or in the wrong order, and each held up on its way."""
    tape = Tape()
    expected = bytearray()
    order: list[int] = []
    for number, (fate, _) in enumerate(fates):
        if fate != "lost":
            order.append(number)
        if fate == "double":
            order.append(number)
        if fate == "swapped" and len(order) > 1:
            order[-1], order[-2] = order[-2], order[-1]
    now = 0.0
    for number in order:
        now = max(now, 0.02 * (number + 1) + fates[number][1])
        tape.hear(str(20 * number), tone(number), now)
        end = FRAME * (number + 1)
        expected += b"\xff" * (end - len(expected))
        expected[end - FRAME : end] = tone(number)
    tape.finish(now)
    assert tape.line.faults == 0
    assert tape.left[: len(expected)] == expected
    assert set(tape.left[len(expected) :]) <= {SILENT}
    assert len(tape.left) - len(expected) <= 0.2 * 8000


@given(
    st.lists(
        st.tuples(
            st.integers(-(2**70), 2**70).map(str)
            | st.integers(0, 40_000)
            | st.sampled_from(["", "NaN", "1e9", "9" * 5000, "-20", "0x10", "\u0663"]),
            st.integers(0, 400),
            st.floats(0, 0.2),
        ),
        max_size=150,
    )
)
def test_no_timestamp_makes_more_than_twilio_had_time_for(
    frames: list[tuple[str | int, int, float]],
) -> None:
    tape = Tape()
    now, audio = 0.0, 0
    for timestamp, size, wait in frames:
        now += wait
        audio += size
        tape.hear(timestamp, tone(1, size), now)
        assert len(tape.line._left) <= timeline.GAP_MAX + audio
    tape.finish(now)
    assert len(tape.left) <= 8000 * now + audio + timeline.AHEAD_MAX


@pytest.mark.parametrize("jump", [4 * 3600 * 1000, 10**15, -(10**6), "soon"])
def test_a_jump_is_a_fault_and_what_is_said_goes_on(jump: int | str) -> None:
    tape = Tape()
    tape.run(0, 100)
    for number in range(100, 200):
        timestamp = 20 * number + jump if isinstance(jump, int) else jump
        tape.hear(timestamp, tone(7), 0.02 * (number + 1))
    tape.finish(4.0)
    assert len(tape.left) == 200 * FRAME
    assert tape.left[100 * FRAME :] == tone(7, 100 * FRAME)
    forward = isinstance(jump, int) and jump > 0
    assert tape.line.faults == (1 if forward else 100)


def test_one_wild_timestamp_moves_nothing() -> None:
    tape = Tape()
    for number in range(200):
        timestamp = 20 * number if number != 100 else 7_200_000
        tape.hear(timestamp, tone(number), 0.02 * (number + 1))
    tape.finish(4.0)
    assert tape.left == b"".join(map(tone, range(200)))
    assert tape.line.faults == 2


def test_a_frame_that_comes_after_its_place_was_handed_on_is_a_fault() -> None:
    tape = Tape()
    tape.run(0, 100)
    tape.hear(20, tone(1), 2.0)
    tape.finish(2.0)
    assert set(tape.left) == {SILENT}
    assert tape.line.faults == 1


def test_a_clock_that_jumps_an_hour_makes_no_hour() -> None:
    tape = Tape()
    tape.run(0, 100)
    tape.line.played(tone(1), 3602.0)
    for number in range(100, 200):
        tape.hear(20 * number, tone(2), 3600 + 0.02 * (number + 1))
    tape.finish(3604.0)
    assert tape.left[100 * FRAME :] == tone(2, 100 * FRAME)
    assert len(tape.right) == len(tape.left) == 200 * FRAME


# --- right ---------------------------------------------------------------------------------------


class Playing:
    """Twilio's buffer in one line a rule, without the past ever being handed on."""

    def __init__(self) -> None:
        self.heard = bytearray()

    def play(self, audio: bytes, at: int) -> None:
        self.heard += b"\xff" * (at - len(self.heard))
        self.heard += audio

    def clear(self, at: int) -> None:
        del self.heard[at:]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["play", "play", "clear", "pass"]),
            st.integers(1, 3000),
            st.integers(0, 19),
        ),
        max_size=120,
    )
)
def test_what_is_played_is_what_twilios_buffer_would_play(
    acts: list[tuple[str, int, int]],
) -> None:
    tape, twilio = Tape(), Playing()
    number = 0
    for act, size, within in acts:
        for _ in range(size // 100 + 1):
            tape.hear(20 * number, tone(9), 0.02 * (number + 1))
            number += 1
        at = FRAME * number + 8 * within
        if act == "play":
            tape.line.played(tone(size, size), at / 8000)
            twilio.play(tone(size, size), at)
        elif act == "clear":
            tape.line.cut(at / 8000)
            twilio.clear(at)
    tape.finish(0.02 * number)
    expected = twilio.heard[: len(tape.right)]
    assert tape.right[: len(expected)] == expected
    assert set(tape.right[len(expected) :]) <= {SILENT}
    assert len(tape.right) == FRAME * number


def test_frames_that_were_held_up_set_the_present_back_for_nobody() -> None:
    tape = Tape()
    tape.run(0, 100)
    tape.line.played(tone(1, 1600), 2.5)  # the frames of half a second are missing
    for number in range(100, 112):  # and come now, with an interruption among them
        tape.hear(20 * number, tone(9), 2.51)
    tape.line.cut(2.51)
    for number in range(112, 200):
        tape.hear(20 * number, tone(9), max(2.51, 0.02 * (number + 1)))
    tape.finish(4.0)
    ((first, last, _),) = tape.sounds()
    assert first == 20_000
    assert last - first == pytest.approx(80, abs=20)


def test_no_more_than_twilio_holds_is_kept_waiting() -> None:
    tape = Tape()
    tape.run(0, 10)
    for _ in range(13):
        tape.line.played(tone(1, 60 * 8000), 0.2)
    assert len(tape.line._right) == timeline.PLAY_MAX + 10 * FRAME


def test_an_hour_of_listening_leaves_nothing_behind() -> None:
    line = Timeline(0.0)
    most = 0
    for number in range(180_000):
        line.heard(20 * number, b"\xff" * FRAME, 0.02 * (number + 1))
        line.take()
        most = max(most, len(line._left) + len(line._right))
    assert most <= timeline.FLUSH + timeline.HOLD + FRAME


# --- pauses --------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 120), max_size=20))
def test_both_sides_are_silent_during_a_pause_and_time_goes_on(lengths: list[int]) -> None:
    tape = Tape()
    frame, paused = 0, False
    silent: list[range] = []
    for length in [*lengths, 10]:
        for number in range(frame, frame + length):
            tape.line.played(tone(5), 0.02 * number)
            tape.hear(20 * number, tone(6), 0.02 * (number + 1))
        if paused:
            silent.append(range(frame * FRAME, (frame + length) * FRAME))
            tape.line.resume(0.02 * (frame + length))
        else:
            tape.line.pause(0.02 * (frame + length))
        paused = not paused
        frame += length
    tape.finish(0.02 * frame)
    assert len(tape.left) == frame * FRAME
    for side, value in ((tape.left, 7), (tape.right, 6)):
        expected = bytearray([value]) * (frame * FRAME)
        for stretch in silent:
            expected[stretch.start : stretch.stop] = b"\xff" * len(stretch)
        assert side == expected


def test_a_pause_lasts_to_the_end_when_nobody_ends_it() -> None:
    tape = Tape()
    tape.line.pause(0.0)
    for number in range(200):
        tape.hear(20 * number, tone(1), 0.02 * (number + 1))
    tape.finish(4.0)
    assert tape.left == b"\xff" * (200 * FRAME)


# --- the end -------------------------------------------------------------------------------------


def test_the_end_is_on_a_whole_frame_and_cuts_what_was_not_played() -> None:
    tape = Tape()
    tape.run(0, 10)
    tape.line.played(tone(1, 8000), 0.2)
    tape.finish(0.259)
    assert len(tape.left) == 12 * FRAME
    assert tape.sounds() == [(10 * FRAME, 12 * FRAME, 2)]


def test_a_call_without_a_frame_is_as_long_as_it_was() -> None:
    tape = Tape()
    tape.line.played(tone(1), 0.1)
    tape.finish(1.0)
    assert len(tape.right) == 8000
    assert tape.sounds() == [(800, 960, 2)]
