"""The events are a contract: each documented, frozen, with units in its names, and emitted."""

import ast
import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args, get_origin, get_type_hints

from tests.cases import check_each
from tests.sources import syntax_tree

import offhook
from offhook.events import types as events
from offhook.events.types import CallEvent, Event

EVENTS: Final[tuple[type, ...]] = get_args(Event)
NAMES: Final = {event.__name__ for event in EVENTS}
SOURCE: Final = Path(offhook.__file__).parent


def made() -> Iterator[str]:
    """Every name of an event that some module other than events calls, which is to make one.

    A pattern (`case CallEnded():`) looks like a call and is none.
    """
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "offhook.events" not in text:
            continue  # to parse all takes a second
        nodes = [*ast.walk(syntax_tree(text))]
        imported = {
            alias.asname or alias.name: alias.name
            for node in nodes
            if isinstance(node, ast.ImportFrom) and node.module == "offhook.events.types"
            for alias in node.names
        }
        for node in nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = imported.get(node.func.id)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                of_events = isinstance(node.func.value, ast.Name) and node.func.value.id == "events"
                name = node.func.attr if of_events else None
            else:
                continue
            if name is not None and dataclasses.is_dataclass(getattr(events, name, None)):
                yield name


def test_an_event_says_what_it_means() -> None:
    check_each(_check_docstring, zip([*EVENTS, CallEvent]))


def _check_docstring(event: type) -> None:
    assert dataclasses.is_dataclass(event)
    doc = inspect.getdoc(event)
    assert doc
    assert not doc.startswith(f"{event.__name__}("), "the docstring that dataclass makes up"
    assert doc.endswith((".", ")"))


def test_an_event_is_a_fact_and_does_not_change() -> None:
    check_each(_check_is_frozen, zip([*EVENTS, CallEvent]))


def _check_is_frozen(event: Any) -> None:
    assert event.__dataclass_params__.frozen
    assert hasattr(event, "__slots__")


def test_what_has_a_unit_says_it() -> None:
    """A number is a time, in whole milliseconds, or a count; counts of times say by which edges."""
    check_each(_check_units, zip([*EVENTS, CallEvent]))


def _check_units(event: type) -> None:
    for name, kind in get_type_hints(event).items():
        if get_origin(kind) is tuple:
            assert "EDGES_MS" in (event.__doc__ or ""), f"{event.__name__}.{name}"
            continue
        kinds = {kind, *get_args(kind)}
        in_ms = name == "ms" or name.endswith("_ms")
        if name in ("attempts", "count", "epoch", "utterance"):
            continue
        assert (int in kinds) == in_ms, f"{event.__name__}.{name}"
        assert float not in kinds, f"{event.__name__}.{name}"


def test_the_union_holds_every_event_of_the_module() -> None:
    classes = {
        name
        for name, thing in vars(events).items()
        if inspect.isclass(thing) and thing.__module__ == events.__name__
    }
    assert classes == NAMES | {"CallEvent"}


def test_every_event_is_emitted_and_nothing_else_is() -> None:
    assert set(made()) == NAMES | {"CallEvent"}
