"""Probes run at once, each within its time limit, and a fault in one ends no other."""

import asyncio
from collections.abc import Sequence

from offhook.concurrency.thread_job import in_thread
from offhook.doctor.check import Check, good
from offhook.doctor.probes import Probe, run_probes


async def test_each_probe_ends_whatever_the_others_do() -> None:
    ready = asyncio.Event()

    async def waits() -> Sequence[Check]:
        await ready.wait()  # for one that is declared after it
        return [good("waits", "")]

    async def hangs() -> Sequence[Check]:
        await asyncio.Event().wait()
        return []

    async def breaks() -> Sequence[Check]:
        raise ValueError("with s3cret")

    async def frees() -> Sequence[Check]:
        ready.set()
        return [good("frees", ""), good("frees twice", "")]

    told: list[Sequence[Check]] = []
    probes = [
        Probe("waits", 240, waits),
        Probe("hangs", 0.01, hangs),
        Probe("breaks", 240, breaks),
        Probe("frees", 240, frees),
    ]
    checks = await run_probes(probes, told.append)
    assert [(check.name, check.status) for check in checks] == [
        ("waits", "good"),
        ("hangs", "bad"),
        ("breaks", "bad"),
        ("frees", "good"),
        ("frees twice", "good"),
    ]
    assert [list(each) for each in told] == [checks[:1], checks[1:2], checks[2:3], checks[3:]]
    assert "no answer within 0.01 s" in checks[1].reason
    assert "ValueError" in checks[2].reason
    assert "s3cret" not in checks[2].reason


async def test_what_blocks_is_looked_at_in_a_thread() -> None:
    assert await in_thread(lambda: good("disk", ""), "look at the disk") == good("disk", "")
