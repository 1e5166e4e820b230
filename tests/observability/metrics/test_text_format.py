"""Prometheus' text format, read by prometheus-client's own parser."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import ProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from offhook.observability.metrics.text_format import MetricText, Sample, of_this_process

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))


@given(TEXTS, TEXTS, st.floats(allow_nan=False))
def test_what_is_written_is_read(help_: str, label: str, value: float) -> None:
    help_ = help_.strip()
    written = MetricText("a_total", "counter", help_, [Sample(value, (("of", label),))])
    (family,) = text_string_to_metric_families(str(written))
    (sample,) = family.samples
    assert (sample.name, sample.labels, sample.value) == ("a_total", {"of": label}, value)


def test_a_metric_is_written_as_the_format_has_it() -> None:
    labels = (("path", 'a"b'), ("le", "+Inf"))
    written = MetricText("x", "histogram", "One\nand two.", [Sample(1, labels, "_bucket")])
    assert str(written) == (
        '# HELP x One\\nand two.\n# TYPE x histogram\nx_bucket{path="a\\"b",le="+Inf"} 1.0\n'
    )


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("namespace", ["", "offhook_operator"])
def test_of_this_process_it_tells_what_prometheus_client_would(namespace: str) -> None:
    ours = {each.name: each for each in of_this_process(namespace)}
    theirs = {
        family.name + "_total" * (family.type == "counter"): family
        for family in ProcessCollector(namespace, registry=None).collect()
    }
    assert ours.keys() == theirs.keys()
    for name, family in theirs.items():
        (sample,) = ours[name].samples
        assert ours[name].kind == family.type
        assert sample.value == pytest.approx(family.samples[0].value, rel=0.2, abs=1)
