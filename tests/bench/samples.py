"""Levels and reports as a benchmark makes them, for the tests of what is made of them."""

import msgspec

from offhook.bench.bars import Bar
from offhook.bench.capacity_search import Ceiling
from offhook.bench.figures import Level, Spread
from offhook.bench.suite import BenchMachine, BenchPlan, BenchReport

GOOD = Level(
    bridge="offhook",
    kind="calls",
    calls=50,
    tls=False,
    seconds=5.0,
    cpu_us=4000.0,
    beside_us=400.0,
    rest_mb=50.0,
    first_call_mb=0.5,
    rss_kb=23.0,
    start_s=1.25,
    call_ms=None,
    searches=None,
    failed_searches=0,
    up=Spread(0.1, 0.4, 1.5, 1000),
    up_last=Spread(0.1, 0.4, 1.5, 1000),
    down=Spread(0.2, 0.5, 1.25, 1000),
    barge_in=Spread(0.2, 1.4, 1.4, 30),
    frames_sent=25_000,
    frames_received=24_990,
    lost=0,
    disordered=0,
    doubled=0,
    damaged=0,
    uncleared=0,
    broken_calls=0,
    load_late_p99_ms=1.0,
    load_busy=0.2,
    load_slips=0,
    others_busy=0.05,
)
TUTORIAL = msgspec.structs.replace(
    GOOD, bridge="tutorial", cpu_us=8000.0, beside_us=0.0, up=Spread(200.0, 381.0, 385.0, 1000)
)

REPORT = BenchReport(
    machine=BenchMachine("2026-11-23", "Linux 6.18", "a processor", 2, "3.11.7", "0.1.0", 0.2),
    plan=BenchPlan(),
    levels=[GOOD, TUTORIAL],
    at_start=[GOOD, TUTORIAL],
    runs={"half load": GOOD},
    ceilings={"offhook": Ceiling(612, at_least=True), "tutorial": Ceiling(131, False)},
    bars=[
        Bar(what="ratio", value=2.0, least=1.4, stretch=1.8),
        Bar(what="delay", value=2.5, most=2, note="a note"),
        Bar(what="never measured", value=None, most=2),
    ],
    remarks=["There is one core."],
)
