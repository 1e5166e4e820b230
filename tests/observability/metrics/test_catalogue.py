"""The list of metrics keeps Prometheus' customs."""

import re

from tests.cases import check_each

from offhook.observability.metrics.catalogue import SECTIONS, Metric

EVERY = [metric for section in SECTIONS.values() for metric in section]


def test_a_name_says_kind_and_unit() -> None:
    check_each(_check_name, zip(EVERY))


def _check_name(metric: Metric) -> None:
    assert re.fullmatch(r"offhook(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.name.removesuffix("_total").endswith(metric.unit)
    assert metric.help.endswith(".")
    assert bool(metric.edges) == (metric.kind == "histogram")
    assert list(metric.edges) == sorted(set(metric.edges))
    assert not {"le", "call_sid", "number"} & set(metric.labels)


def test_no_two_have_one_name() -> None:
    assert len({metric.name for metric in EVERY}) == len(EVERY)
