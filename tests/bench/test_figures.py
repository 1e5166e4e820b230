"""What raw measurements become."""

from typing import Any

import msgspec
import pytest
from tests.bench.samples import GOOD

from offhook.bench.figures import RunUsage, Searched, Spread, level, spread, typical
from offhook.bench.load.messages import Measured
from offhook.bench.usage import ProcessUsage


def test_percentiles_are_samples() -> None:
    assert spread([ms * 1_000_000 for ms in range(1000, 0, -1)]) == Spread(501, 991, 1000, 1000)
    assert spread([3_000_000]) == Spread(3, 3, 3, 1)
    assert spread([]) is None


def test_the_parts_of_the_load_are_put_together() -> None:
    used = RunUsage(
        rest=ProcessUsage(at_ns=0, cpu_ns=0, beside_ns=0, rss=8_000_000, machine_ns=0),
        warm=ProcessUsage(at_ns=1, cpu_ns=1, beside_ns=1, rss=10_000_000, machine_ns=0),
        begun=ProcessUsage(
            at_ns=10 * 10**9, cpu_ns=10**9, beside_ns=10**8, rss=12_000_000, machine_ns=0
        ),
        done=ProcessUsage(
            at_ns=15 * 10**9,
            cpu_ns=2 * 10**9,
            beside_ns=2 * 10**8,
            rss=12_500_000,
            machine_ns=2_600_000_009,
        ),
    )
    parts = [
        Measured(up=[1], up_last=[1], sent_up=7, received_up=6, lost=1, cpu_ns=9, elapsed_ns=10),
        Measured(down=[2], late=[6_000_000], sent_down=5, received_down=5),
        Measured(broken_calls=2, ended_calls=10),
    ]
    searched = Searched([7_000_000], 1)
    whole = level(
        "a", "churn", 50, tls=True, used=used, measured=parts, start_s=1.234, searched=searched
    )
    assert whole.cpu_us == 4000.0  # a second of CPU, five seconds, fifty calls
    assert whole.beside_us == 400.0
    assert (whole.rest_mb, whole.first_call_mb, whole.rss_kb) == (8.0, 2.0, 50.0)
    assert whole.call_ms == 100.0  # a second of CPU, ten calls that ended
    assert (whole.start_s, whole.failed_searches) == (1.23, 1)
    assert whole.others_busy == 0.3  # 2.6 s less 1.1 s of the bridge, in five seconds
    assert whole.searches == Spread(7, 7, 7, 1)
    assert (whole.seconds, whole.frames_sent, whole.frames_received) == (5.0, 12, 11)
    assert (whole.lost, whole.broken_calls) == (1, 2)
    assert whole.up is not None
    assert whole.down is not None
    assert whole.barge_in is None
    assert (whole.load_late_p99_ms, whole.load_busy) == (6.0, 0.9)


@pytest.mark.parametrize(
    ("changes", "carried", "bound"),
    [
        ({}, True, False),
        ({"lost": 1}, False, False),
        ({"uncleared": 1}, False, False),
        ({"broken_calls": 1}, False, False),
        ({"doubled": 1}, False, False),
        ({"down": Spread(1, 20, 30, 9)}, False, False),
        ({"up_last": Spread(1, 20, 30, 9)}, False, False),
        ({"up": Spread(200, 381, 385, 9)}, True, False),  # its own batches
        ({"down": None}, False, False),
        ({"load_late_p99_ms": 5.1}, True, True),
        ({"load_busy": 0.91}, True, True),
        ({"load_slips": 1}, True, True),
    ],
)
def test_what_counts_as_carried(changes: dict[str, Any], carried: bool, bound: bool) -> None:
    changed = msgspec.structs.replace(GOOD, **changes)
    assert (changed.carried, changed.bound_by_load) == (carried, bound)


@pytest.mark.parametrize(
    ("late", "busy", "others", "disturbed"),
    [(6, 0.5, 0, True), (6, 0.95, 0, False), (1, 0.5, 0, False), (1, 0.5, 0.3, True)],
)
def test_late_without_being_busy_is_a_disturbance_and_so_are_other_programs(
    late: float, busy: float, others: float, disturbed: bool
) -> None:
    run = msgspec.structs.replace(GOOD, load_late_p99_ms=late, load_busy=busy, others_busy=others)
    assert run.disturbed is disturbed


def test_the_typical_run_is_the_middle_one() -> None:
    runs = [msgspec.structs.replace(GOOD, cpu_us=cpu) for cpu in (9000.0, 4000.0, 5000.0)]
    assert typical(runs).cpu_us == 5000.0
