"""The page of metrics: those of every call process, and the operator's own."""

from typing import Final

from offhook.link.processes import CallProcesses
from offhook.observability.metrics import catalogue
from offhook.observability.metrics.merging import merged
from offhook.observability.metrics.meter import Metrics


class MetricsPage:
    """The page of metrics. A call process that does not answer in time is left out, and counted."""

    def __init__(self, processes: CallProcesses, own: Metrics) -> None:
        self._processes: Final = processes
        self._own: Final = own
        self._running = 0
        self._silent = 0
        own.ask(catalogue.CALL_PROCESSES, lambda: self._running)
        own.ask(catalogue.CALL_PROCESSES_SILENT, lambda: self._silent)

    async def text(self) -> bytes:
        """Return the page in Prometheus' text format."""
        pages = await self._processes.metrics()
        self._running = len(pages)
        self._silent = pages.count(None)
        return merged([page for page in pages if page is not None]) + await self._own.text()
