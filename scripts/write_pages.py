#!/usr/bin/env python3
"""Write the pages that are made from the code; tests/test_pages.py holds both equal.

docs/cli.md from the commands of Typer; docs/rest.md from the OpenAPI document of the API;
docs/events.md from events/types.py; the kill tests in docs/performance.md from docs/reliability.md;
docs/design/call-tables.md from call/phases.py and
call/handlers.py; the table in docs/metrics.md and docs/grafana-dashboard.json from
observability/metrics/catalogue.py; the table in docs/control.md from calls/operations.py;
the tables of phrases in docs/configuration.md from call/phrases.py;
web/src/events.ts from events/types.py.
"""

import inspect
import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from scripts.pages import cli, phrases, rest, typescript

from bench import kill_tests, reliability
from offhook.call.handlers import HANDLERS, IGNORED
from offhook.call.phases import Phase, diagram, link_diagram, operator_diagram
from offhook.calls.operations import (
    OPERATIONS,
    STREAM_OPERATIONS,
    Command,
    Metavar,
    Operation,
)
from offhook.events import types as events
from offhook.observability.metrics.catalogue import SECTIONS, Metric
from offhook.tools import Call

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
METRICS: Final = DOCS / "metrics.md"
CONTROL: Final = DOCS / "control.md"
PERFORMANCE: Final = DOCS / "performance.md"
CONFIGURATION: Final = DOCS / "configuration.md"
PHRASES: Final = re.compile(r"(?<=<!-- phrases -->\n).*?(?=<!-- end -->)", re.DOTALL)
OPERATIONS_TABLE: Final = re.compile(r"(?<=<!-- operations -->\n).*?(?=<!-- end -->)", re.DOTALL)
TABLE: Final = re.compile(r"(?<=<!-- metrics -->\n).*?(?=<!-- end -->)", re.DOTALL)

UNITS: Final = {
    "": "short",
    "seconds": "s",
    "bytes": "bytes",
    "minutes": "m",
    "ratio": "percentunit",
}
"""What Grafana calls them."""


def pages() -> dict[Path, str]:
    """Every page that is made here, and what belongs in it."""
    table = TABLE.sub(lambda _: metrics_table(), METRICS.read_text(encoding="utf-8"))
    control = OPERATIONS_TABLE.sub(
        lambda _: operations_table(), CONTROL.read_text(encoding="utf-8")
    )
    configuration = PHRASES.sub(
        lambda _: phrases.tables(), CONFIGURATION.read_text(encoding="utf-8")
    )
    return {
        CONFIGURATION: configuration,
        DOCS / "cli.md": cli.page((DOCS / "cli.md").read_text(encoding="utf-8")),
        DOCS / "rest.md": rest.page(),
        CONTROL: control,
        PERFORMANCE: kill_tests.shown(
            PERFORMANCE.read_text(encoding="utf-8"),
            (DOCS / "reliability.md").read_text(encoding="utf-8"),
            reliability.TABLE,
        ),
        DOCS / "events.md": events_page(),
        DOCS / "design" / "call-tables.md": call_page(),
        METRICS: table,
        ROOT / "web" / "src" / "events.ts": typescript.page(),
        DOCS / "grafana-dashboard.json": json.dumps(dashboard(), indent=1) + "\n",
    }


# --- docs/design/call-tables.md ---


def call_page() -> str:
    """Return the tables by which a call decides."""
    return CALL_PAGE.format(
        phases=diagram(),
        link=link_diagram(),
        operator=operator_diagram(),
        handlers=_handlers(),
        ignored=_ignored(),
    )


CALL_PAGE: Final = """\
# The tables of a call

Made from [phases.py](../../src/offhook/call/phases.py) and
[handlers.py](../../src/offhook/call/handlers.py) by `make pages`.

## Phases

```mermaid
{phases}
```

## The agent's leg

```mermaid
{link}
```

`Welcome` and `SettingsApplied` that come in any other state change nothing.

## An operator who speaks with the caller

```mermaid
{operator}
```

## What is done about each input

The function of `handlers.py` that takes it, by phase; a dash where it is ignored on purpose.
Nothing follows the end. A pair that is in neither table raises, which ends that one call with
`internal_error`.

{handlers}

Ignored, and why:

{ignored}
"""


def _handlers() -> str:
    phases = [phase for phase in Phase if phase is not Phase.ENDED]
    lines = [
        "| input | " + " | ".join(phase.value for phase in phases) + " |",
        "| --- |" + " --- |" * len(phases),
    ]
    for kind in sorted({kind for _, kind in HANDLERS}, key=_input_name):
        cells = [HANDLERS.get((phase, kind)) for phase in phases]
        names = ["-" if each is None else f"`{each.__name__}`" for each in cells]
        lines.append(f"| {_input_name(kind)} | " + " | ".join(names) + " |")
    return "\n".join(lines)


def _ignored() -> str:
    found: dict[tuple[str, str], list[str]] = {}
    for (phase, kind), why in IGNORED.items():
        if phase is not Phase.ENDED:
            found.setdefault((_input_name(kind), why), []).append(phase.value)
    lines = ["| input | in | why |", "| --- | --- | --- |"]
    for (name, why), phases in sorted(found.items()):
        where = "any" if len(phases) == len(Phase) - 1 else ", ".join(phases)
        lines.append(f"| {name} | {where} | {why} |")
    return "\n".join(lines)


def _input_name(kind: type) -> str:
    origin = kind.__module__.split(".")[1]
    return f"`{kind.__name__}`" + (f" ({origin})" if origin != "call" else "")


# --- docs/control.md ---


def operations_table() -> str:
    rows = [
        "| | Function | REST, under `/api/v1/calls/SID/` | `offhook calls …` |",
        "| --- | --- | --- | --- |",
        *map(_operation_row, OPERATIONS),
        *(f"| {each.title} | | `{each.name}` | |" for each in STREAM_OPERATIONS),
    ]
    return "\n".join(rows) + "\n"


def _operation_row(operation: Operation) -> str:
    methods = ", ".join(f"`{_method(name)}`" for name in operation.methods)
    body = ", ".join(operation.arguments.model_fields)
    commands = ", ".join(f"`{_usage(operation, each)}`" for each in operation.commands)
    return f"| {operation.title} | {methods} | `{operation.name}` `{{{body}}}` | {commands} |"


def _method(name: str) -> str:
    parameters = list(inspect.signature(getattr(Call, name)).parameters)[1:]
    return f"call.{name}({', '.join(parameters)})"


def _usage(operation: Operation, command: Command) -> str:
    parts = [command.name, "SID"]
    for name, field in operation.arguments.model_fields.items():
        if name in command.given:
            continue
        metavars = [each.name for each in field.metadata if isinstance(each, Metavar)]
        is_block = "dict" in str(field.annotation)
        what = metavars[0] if metavars else "FILE" if is_block else "TEXT"
        is_choice = get_origin(field.annotation) is Literal
        option = f"--{name} {'…' if is_choice else what}"
        parts.append(what if field.is_required() else option)
    return " ".join(parts)


# --- docs/events.md ---


EVENTS_FOR: Final = """\
For whoever reads the record, live events or the log with a program. Made from
[types.py](../src/offhook/events/types.py) by `make pages`.

The [record](calls.md), the [log](operating.md#logs), the [live events](api.md) and the terminal
have these events, each in its own form. Fields whose names end in `_ms` are milliseconds; those
named `start_ms` count from the beginning of the call, as `at_ms` does. A private field is what was
said, or a phone number: it is logged only with `logs.texts: on`."""


def events_page() -> str:
    edges = ", ".join(map(str, events.DELAY_EDGES_MS))
    parts = [
        "# Events",
        EVENTS_FOR,
        "Every event comes in a `CallEvent`:",
        _fields(events.CallEvent),
        f"`DELAY_EDGES_MS`: {edges}.",
    ]
    for event in get_args(events.Event):
        parts += [f"## {event.__name__}", _paragraphs(inspect.getdoc(event)), _fields(event)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _paragraphs(doc: str | None) -> str:
    assert doc is not None
    return "\n\n".join(" ".join(part.split()) for part in doc.split("\n\n"))


def _fields(event: type) -> str:
    rows = [
        f"| `{name}` | {_kind(kind)} | {_unit(name, kind)} |"
        + (" yes |" if name in events.PRIVATE else " |")
        for name, kind in get_type_hints(event).items()
        if name not in events.OPAQUE
    ]
    return "\n".join(
        ["| Field | Type | Unit | Private |", "| --- | --- | --- | --- |", *rows]
    ) * bool(rows)


def _kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        if kind == events.Event:
            return "one of those below"
        return ", ".join(
            "none" if part is types.NoneType else _kind(part) for part in get_args(kind)
        )
    if get_origin(kind) is tuple:
        return "counts"
    return {str: "text", int: "integer", bool: "yes or no"}[kind]


def _unit(name: str, kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "by `DELAY_EDGES_MS`"
    return "ms" if name == "ms" or name.endswith("_ms") else ""


# --- docs/metrics.md ---


def metrics_table() -> str:
    lines = ["| Metric | Kind | Labels | Meaning |", "| --- | --- | --- | --- |"]
    for section in SECTIONS.values():
        for metric in section:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"


# --- docs/grafana-dashboard.json ---


def dashboard() -> dict[str, Any]:
    """One row for each section, one panel for each metric."""
    return {
        "title": "Offhook",
        "uid": "offhook",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "source",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                },
                {
                    "name": "instance",
                    "label": "Server",
                    "type": "query",
                    "datasource": _SOURCE,
                    "query": "label_values(offhook_calls_live, instance)",
                    "refresh": 2,
                    "includeAll": True,
                    "multi": True,
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "panels": list(_panels()),
    }


_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_WHERE: Final = '{instance=~"$instance"}'
WIDTH, HEIGHT, ACROSS = 8, 8, 3


def _panels() -> Iterator[dict[str, Any]]:
    number = top = 0
    for title, section in SECTIONS.items():
        number += 1
        place = {"x": 0, "y": top, "w": WIDTH * ACROSS, "h": 1}
        yield {"id": number, "type": "row", "title": title, "gridPos": place, "panels": []}
        top += 1
        for index, metric in enumerate(section):
            number += 1
            down, across = divmod(index, ACROSS)
            place = {"x": across * WIDTH, "y": top + down * HEIGHT, "w": WIDTH, "h": HEIGHT}
            yield _panel(metric, number, place)
        top += -(-len(section) // ACROSS) * HEIGHT


def _panel(metric: Metric, number: int, place: dict[str, int]) -> dict[str, Any]:
    name = metric.name.removeprefix("offhook_").removesuffix("_total")
    drawn: dict[str, Any] = {"unit": UNITS[metric.unit], "min": 0}
    if metric.kind == "counter":
        drawn["custom"] = {"drawStyle": "bars", "fillOpacity": 60, "stacking": {"mode": "normal"}}
    return {
        "id": number,
        "type": "timeseries",
        "title": name.replace("_", " ").capitalize(),
        "description": metric.help,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": drawn, "overrides": []},
        "targets": [
            {"refId": letter, "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for letter, (query, legend) in zip("ABC", _queries(metric), strict=False)
        ],
    }


def _queries(metric: Metric) -> Iterator[tuple[str, str]]:
    by = ", ".join(metric.labels)
    legend = " ".join(f"{{{{{label}}}}}" for label in metric.labels)
    if metric.kind == "gauge":
        yield f"{'max' if metric.common else 'sum'}({metric.name}{_WHERE})", "now"
    elif metric.kind == "counter":
        over = f"increase({metric.name}{_WHERE}[$__rate_interval])"
        yield (f"sum by ({by}) ({over})" if by else f"sum({over})"), legend or "more"
    else:
        over = f"sum by ({', '.join(('le', *metric.labels))})"
        over += f" (rate({metric.name}_bucket{_WHERE}[$__rate_interval]))"
        for share in ("0.5", "0.95"):
            yield (
                f"histogram_quantile({share}, {over})",
                f"p{float(share) * 100:g} {legend}".strip(),
            )


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path)
