"""Every query that we ship is PromQL, and asks for what a server really has."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from promql_parser import AggModifierType, AggregateExpr, Expr, VectorSelector

from offhook.observability.metrics.catalogue import SECTIONS
from offhook.observability.metrics.meter import Metrics

DOCS = Path(__file__).parents[2] / "docs"
BOARD = json.loads((DOCS / "grafana-dashboard.json").read_text(encoding="utf-8"))
PROMETHEUS = {"instance", "job"}
"""Labels that Prometheus gives to each series that it scrapes."""


def series() -> dict[str, set[str]]:
    """The names under which the catalogue's metrics are scraped, and their labels."""
    known: dict[str, set[str]] = {}
    for section in SECTIONS.values():
        for metric in section:
            labels = {*metric.labels, *PROMETHEUS}
            if metric.kind != "histogram":
                known[metric.name] = labels
                continue
            known[f"{metric.name}_bucket"] = labels | {"le"}
            if metric.summed:
                known[f"{metric.name}_sum"] = known[f"{metric.name}_count"] = labels
    return known


SERIES = series()


def targets() -> Iterator[Any]:
    for panel in BOARD["panels"]:
        for target in panel.get("targets", []):
            yield pytest.param(target, id=f"{panel['title']} {target['refId']}")


def alerts() -> list[str]:
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    table = page.partition("## What to be woken for")[2].partition("## Dashboard")[0]
    return [
        query.replace("\\|", "|") for query in re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    ]


def check(query: str, most: int = 1) -> set[str]:
    """Whether it can be asked, of `most` metrics; returns the labels that its answer has.

    Grafana's variables are filled in first.
    """
    filled = query.replace("$__rate_interval", "5m").replace("$instance", ".*")
    assert "$" not in filled
    asked: set[str] = set()
    kept: list[set[str]] = []

    def visit(part: Expr) -> None:
        if isinstance(part, VectorSelector):
            assert part.name in SERIES, f"no metric is called {part.name}"
            asked.add(part.name)
            wrong = {matcher.name for matcher in part.matchers.matchers} - SERIES[part.name]
            assert not wrong, f"{part.name} has no {wrong}"
        if isinstance(part, AggregateExpr):
            modifier = part.modifier
            if modifier is not None:
                assert modifier.type == AggModifierType.By
            kept.append(set(modifier.labels) if modifier is not None else set())

    promql_parser.walk(promql_parser.parse(filled), visit)
    assert 1 <= len(asked) <= most
    name = min(asked)
    for labels in kept:
        for each in asked:
            assert labels <= SERIES[each], f"{each} has no {labels - SERIES[each]}"
        if name.endswith("_bucket") and "histogram_quantile" in query:
            assert "le" in labels, "a quantile needs the buckets"
    return kept[0] if kept else SERIES[name]


@pytest.mark.parametrize("target", list(targets()))
def test_a_panels_query_can_be_asked(target: dict[str, str]) -> None:
    labels = check(target["expr"])
    assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels


@pytest.mark.parametrize("query", alerts())
def test_a_query_to_be_woken_by_can_be_asked(query: str) -> None:
    check(query, most=2)


def test_all_of_them_were_looked_at() -> None:
    assert len(list(targets())) >= sum(map(len, SECTIONS.values()))
    assert len(alerts()) >= 6


def test_the_variable_is_of_a_metric_that_there_is() -> None:
    [query] = [v["query"] for v in BOARD["templating"]["list"] if v["type"] == "query"]
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", query)
    assert found is not None
    assert found[2] in SERIES[found[1]]


async def test_the_names_are_those_of_a_scrape() -> None:
    text = (await Metrics().text()).decode()
    scraped = set(re.findall(r"^(offhook_\w+)", text, re.MULTILINE))
    assert len(scraped) > 15, "gauges and labelled ones come with a server and its calls"
    assert scraped <= set(SERIES)


@pytest.mark.parametrize(
    "query",
    [
        "sum(offhook_calls_live",
        "sum by (le (rate(offhook_turn_seconds_bucket[5m])))",
        "sum(offhook_calls_alive)",
        "sum(rate(offhook_turn_seconds[5m]))",
        'sum(offhook_calls_live{server="a"})',
        "sum by (slug) (increase(offhook_calls_refused_total[5m]))",
        "rate(offhook_calls_admitted_total)",
        "histogram_quantile(0.5, sum by (stage) (rate(offhook_turn_seconds_bucket[5m])))",
        'sum(offhook_calls_live{instance=~"$server"})',
    ],
)
def test_a_wrong_query_is_found(query: str) -> None:
    with pytest.raises((ValueError, AssertionError)):
        check(query)
