"""A timer of a deadline: when it fires, and what a fault in what it fires leaves of it."""

import pytest

from offhook.concurrency.deadline_timer import AGAIN_S, DeadlineTimer
from offhook.testing.virtual_clock import VirtualClock


class Work:
    """What a timer fires: it raises as often as `faults` says, and is done from then on."""

    def __init__(self, clock: VirtualClock, faults: int = 0) -> None:
        self._clock = clock
        self.faults = faults
        self.done_at: list[float] = []

    def __call__(self) -> None:
        if self.faults:
            self.faults -= 1
            raise ZeroDivisionError
        self.done_at.append(self._clock.now())


def test_the_earliest_deadline_counts() -> None:
    clock = VirtualClock()
    work = Work(clock)
    timer = DeadlineTimer(clock, work)
    for due in (3.0, None, 1.0, 2.0):
        timer.arm(due)
    clock.run(10.0)
    assert work.done_at == [1.0]


def test_a_timer_that_ended_fires_no_more() -> None:
    clock = VirtualClock()
    work = Work(clock)
    timer = DeadlineTimer(clock, work, goes_on=True)
    timer.arm(1.0)
    timer.end()
    clock.run(10.0)
    assert work.done_at == []


def test_after_a_fault_it_can_be_set_again() -> None:
    clock = VirtualClock()
    work = Work(clock, faults=1)
    timer = DeadlineTimer(clock, work)
    timer.arm(1.0)
    with pytest.raises(ZeroDivisionError):
        clock.run(10.0)
    clock.run(10.0)
    assert work.done_at == []
    timer.arm(30.0)
    clock.run(30.0)
    assert work.done_at == [30.0]


def test_after_faults_a_timer_that_goes_on_fires_until_its_work_is_done() -> None:
    clock = VirtualClock()
    work = Work(clock, faults=2)
    timer = DeadlineTimer(clock, work, goes_on=True)
    timer.arm(1.0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            clock.run(10.0)
    clock.run(10.0)
    assert work.done_at == [pytest.approx(1.0 + 2 * AGAIN_S)]
