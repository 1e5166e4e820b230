"""Limits on new calls: which one is reached, and when the event loop is too late."""

import logging

import pytest

from offhook.calls.call_limits import (
    CALM_BEATS,
    LATE_BEATS,
    CallLimit,
    CallLimits,
    LagGuard,
)
from offhook.deepgram.session_budget import SessionBudget


@pytest.mark.parametrize(
    ("live", "without_agent", "is_late", "limit"),
    [
        (0, 0, False, None),
        (4, 2, False, None),
        (5, 0, False, CallLimit.CAPACITY),
        (4, 3, False, CallLimit.SESSIONS),
        (0, 0, True, CallLimit.LAG),
        (5, 9, True, CallLimit.CAPACITY),
    ],
)
def test_which_limit_keeps_a_call_out(
    live: int, without_agent: int, is_late: bool, limit: CallLimit | None
) -> None:
    limits = CallLimits(5, SessionBudget(3, lambda: 0.0), LagGuard(500))
    limits.lag.is_late = is_late
    assert limits.reached(live, without_agent) is limit


def beaten(guard: LagGuard, *late_s: float) -> bool:
    for each in late_s:
        guard.on_beat(each)
    return guard.is_late


def test_the_loop_is_late_after_some_late_beats_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    guard = LagGuard(500)
    # One long piece of work is no overload, however long it takes.
    assert not beaten(guard, 0, 30.0, 0, *[0.6] * (LATE_BEATS - 1), 0.5)
    assert beaten(guard, *[0.6] * LATE_BEATS)
    assert beaten(guard, *[0.6] * 100)
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "server.max_lag_ms" in record.getMessage()


def test_the_loop_is_in_time_only_after_a_second_well_below_the_limit() -> None:
    guard = LagGuard(500)
    beaten(guard, *[0.6] * LATE_BEATS)
    # Below the limit, and still above half of it.
    assert beaten(guard, *[0.3] * 100)
    assert beaten(guard, *[0.1] * (CALM_BEATS - 1), 0.3, *[0.1] * (CALM_BEATS - 1))
    assert not beaten(guard, 0.1)
    assert not beaten(guard, *[0.6] * (LATE_BEATS - 1))


def test_zero_switches_the_guard_off() -> None:
    assert not beaten(LagGuard(0), *[60.0] * 100)
