"""When the supervisor counts a process as hanging, by the beats that it finds."""

import os
from collections.abc import Iterator

import pytest

from offhook.serving.heartbeat import SILENT_LOOKS, Heartbeat


@pytest.fixture
def heartbeat() -> Iterator[Heartbeat]:
    made = Heartbeat(0.0, look_s=1.0)
    yield made
    made.close()


def looks(heartbeat: Heartbeat, count: int) -> list[bool]:
    """Return what each of the next looks finds."""
    return [heartbeat.hangs(heartbeat.due_at) for _ in range(count)]


def test_a_process_that_has_not_beaten_is_starting(heartbeat: Heartbeat) -> None:
    assert not any(looks(heartbeat, 5 * SILENT_LOOKS))


def test_a_process_that_stops_beating_hangs(heartbeat: Heartbeat) -> None:
    os.write(heartbeat.descriptor, b"..")
    assert looks(heartbeat, SILENT_LOOKS + 1) == [False] * SILENT_LOOKS + [True]


def test_a_beat_in_time_is_enough(heartbeat: Heartbeat) -> None:
    for _ in range(3):
        os.write(heartbeat.descriptor, b".")
        assert not any(looks(heartbeat, SILENT_LOOKS))


def test_between_looks_nothing_is_counted(heartbeat: Heartbeat) -> None:
    os.write(heartbeat.descriptor, b".")
    looks(heartbeat, 1)
    assert not any(heartbeat.hangs(heartbeat.due_at - 0.5) for _ in range(100))
