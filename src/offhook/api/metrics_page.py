"""The page of metrics: those of every call process, and the operator's own."""

import asyncio
from typing import Final

from offhook.link.processes import CallProcesses
from offhook.observability.metrics import catalogue
from offhook.observability.metrics.merging import merged
from offhook.observability.metrics.meter import Metrics


class MetricsPage:
    """The page of metrics. A call process that does not answer in time is left out, and counted.

    With the name of a `node` each sample has it as a label.
    """

    def __init__(self, processes: CallProcesses, own: Metrics, node: str = "") -> None:
        self._node: Final = node
        self._processes: Final = processes
        self._own: Final = own
        self._running = 0
        self._silent = 0
        own.ask(catalogue.CALL_PROCESSES, lambda: self._running)
        own.ask(catalogue.CALL_PROCESSES_SILENT, lambda: self._silent)
        own.ask(catalogue.OPERATOR_TASKS, lambda: len(asyncio.all_tasks()))

    async def text(self) -> bytes:
        """Return the page in Prometheus' text format."""
        pages = await self._processes.metrics()
        self._running = len(pages)
        self._silent = pages.count(None)
        own = await self._own.text()
        if self._node:
            own = merged([own.decode()], self._node)
        return merged([page for page in pages if page is not None], self._node) + own
