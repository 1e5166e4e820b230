"""One page of metrics for several call processes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from offhook.observability.metrics import catalogue

_NOT_SUMMED: Final[dict[str, Callable[[float, float], float]]] = {
    "offhook_draining": min,  # 1 if no process takes a new call
    "offhook_record_lag_seconds": max,
    "process_start_time_seconds": max,
    "process_max_fds": min,
    catalogue.SESSIONS_LIMIT.name: max,  # one limit, which each process keeps with the others
    **{metric.name: max for metric in catalogue.CALL_PROCESS if metric.common},
}
"""Metrics of which a sum means nothing."""


def merged(pages: Sequence[str], node: str = "") -> bytes:
    """Return the sum of pages in Prometheus' text format; a single page as it is.

    With the name of a `node`, each sample has it as a label.
    """
    if len(pages) == 1 and not node:
        return pages[0].encode()
    of_node = {"node": node} if node else {}
    families: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for page in pages:
        for family in text_string_to_metric_families(page):
            families.setdefault(family.name, family)
            combine = _NOT_SUMMED.get(family.name, float.__add__)
            of_family = values.setdefault(family.name, {})
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                value = float(sample.value)
                of_family[key] = combine(of_family[key], value) if key in of_family else value
    return b"".join(
        generate_latest(_Family(family, values[name], of_node)) for name, family in families.items()
    )


class _Family:
    """A registry of one metric with summed samples, for prometheus-client to write."""

    def __init__(
        self,
        family: Family,
        values: dict[tuple[str, tuple[tuple[str, str], ...]], float],
        labels_of_all: Mapping[str, str],
    ) -> None:
        self._family = Family(family.name, family.documentation, family.type)
        for (name, labels), value in values.items():
            self._family.add_sample(name, {**labels_of_all, **dict(labels)}, value)

    def collect(self) -> Iterable[Family]:
        return (self._family,)
