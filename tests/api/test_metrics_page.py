"""The page of metrics: of each call process, summed, and the operator's own."""

import asyncio
import re
from pathlib import Path
from typing import cast

from tests.api.desk import desk

from offhook.api.metrics_page import MetricsPage
from offhook.events.types import AgentDisconnected, CallBegan, CallEvent
from offhook.link.processes import CallProcesses
from offhook.observability.metrics import catalogue
from offhook.observability.metrics.merging import merged
from offhook.observability.metrics.meter import Metrics


class Processes:
    """Call processes with these pages."""

    def __init__(self, *pages: str | None) -> None:
        self.pages = [*pages]

    async def metrics(self) -> list[str | None]:
        return self.pages


def metrics_page(*pages: str | None) -> MetricsPage:
    own = Metrics(catalogue.OPERATOR, namespace="offhook_operator")
    return MetricsPage(cast("CallProcesses", Processes(*pages)), own)


def value(page: bytes, series: str) -> float | None:
    found = re.findall(rf"^{re.escape(series)} (\S+)$", page.decode(), re.MULTILINE)
    assert len(found) <= 1, f"{series} stands there twice"
    return float(found[0]) if found else None


async def process(calls: int, *, is_draining: bool) -> str:
    """The page of a process that has admitted that many calls."""
    metrics = Metrics()
    metrics.ask(catalogue.CALLS_LIVE, lambda: calls)
    metrics.ask(catalogue.DRAINING, lambda: is_draining)
    metrics.ask(catalogue.SESSIONS_LIMIT, lambda: 45)
    for metric in catalogue.CALL_PROCESS:
        if metric.common:
            metrics.ask(metric, lambda: 3 + is_draining)
    for number in range(calls):
        sid = f"CA{number}"
        began = CallBegan("AC1", "a", "standard", "inbound", "bin", "", "", "{}")
        metrics(CallEvent(sid, 0, began))
        metrics(CallEvent(sid, 0, AgentDisconnected(1500)))
        metrics.late(0.004)
    return (await metrics.text()).decode()


async def test_one_process_has_its_page_as_it_is() -> None:
    text = await process(2, is_draining=False)
    page = await metrics_page(text).text()
    assert page.startswith(text.encode())
    assert value(page, "offhook_call_processes") == 1
    assert value(page, "offhook_call_processes_silent") == 0
    assert value(page, "offhook_operator_process_resident_memory_bytes")
    names = re.findall(r"^# TYPE (\S+)", page.decode(), re.MULTILINE)
    assert len(names) == len(set(names)), "no metric is of both processes"


async def test_several_processes_are_summed() -> None:
    pages = [await process(2, is_draining=True), await process(3, is_draining=False)]
    page = await metrics_page(*pages).text()
    assert value(page, "offhook_calls_live") == 5
    assert value(page, 'offhook_calls_admitted_total{by="bin"}') == 5
    assert value(page, "offhook_agent_connected_seconds_total") == 7.5
    assert value(page, "offhook_loop_lag_seconds_count") == 5
    assert value(page, 'offhook_loop_lag_seconds_bucket{le="+Inf"}') == 5
    assert value(page, "offhook_draining") == 0, "one of them takes calls"
    assert value(page, "offhook_call_processes") == 2
    for name in ("processes", "nodes", "sessions", "sessions_limit"):
        assert value(page, f"offhook_fleet_{name}") == 4, "the same is told by each"
    assert value(page, "offhook_agent_sessions_limit") == 45
    kinds = re.findall(r"^# (?:TYPE|HELP) (.*)$", merged(pages).decode(), re.MULTILINE)
    assert kinds == re.findall(r"^# (?:TYPE|HELP) (.*)$", pages[0], re.MULTILINE)


async def test_each_sample_has_the_name_of_the_node() -> None:
    for count in (1, 2):
        processes = Processes(*[await process(2, is_draining=False)] * count)
        own = Metrics(catalogue.OPERATOR, namespace="offhook_operator")
        page = await MetricsPage(cast("CallProcesses", processes), own, "a").text()
        assert value(page, 'offhook_calls_live{node="a"}') == 2 * count
        assert value(page, 'offhook_calls_admitted_total{by="bin",node="a"}') == 2 * count
        samples = re.findall(r"^[a-z].*$", page.decode(), re.MULTILINE)
        assert samples
        assert all('node="a"' in sample for sample in samples)
        names = re.findall(r"^# TYPE (\S+)", page.decode(), re.MULTILINE)
        assert len(names) == len(set(names)), "no metric is of both processes"


async def test_a_silent_process_is_left_out_and_counted() -> None:
    page = await metrics_page(None, await process(3, is_draining=False)).text()
    assert value(page, "offhook_calls_live") == 3
    assert value(page, "offhook_call_processes") == 2
    assert value(page, "offhook_call_processes_silent") == 1
    page = await metrics_page(None).text()
    assert value(page, "offhook_calls_live") is None
    assert value(page, "offhook_call_processes_silent") == 1
    page = await metrics_page().text()
    assert value(page, "offhook_call_processes") == 0


async def test_the_page_comes_although_the_call_process_hangs(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        before = asyncio.all_tasks()
        page = await d.ask("/metrics")
        lasting = before & asyncio.all_tasks()  # these were there when it was counted
        assert lasting
        assert value(page.content, "offhook_calls_live") == 0
        for tasks in ("offhook_tasks", "offhook_operator_tasks"):
            told = value(page.content, tasks)  # of one loop here
            assert told is not None
            assert told >= len(lasting)

        async def hang() -> bytes:
            await asyncio.Event().wait()
            return b""

        d.whole.server.metrics.text = hang  # type: ignore[method-assign]
        page = await d.ask("/metrics")
        assert page.status_code == 200
        assert value(page.content, "offhook_calls_live") is None
        assert value(page.content, "offhook_call_processes_silent") == 1
        assert value(page.content, "offhook_after_call_delivered_total") == 0
