"""An operation that is declared is there wherever it is looked for."""

import re
from pathlib import Path
from typing import Any, cast

import pytest
import typer.main
from fastapi.routing import APIRoute

from offhook.api import calls, control
from offhook.api.operator import Operator
from offhook.api.paths import PREFIX
from offhook.calls.operations import OPERATIONS, Operation
from offhook.cli.calls import app
from offhook.tools import Call

DOCS = Path(__file__).parents[2] / "docs"
each = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


def routes() -> dict[str, APIRoute]:
    nobody = cast("Operator", None)
    made = [*control.router(nobody).routes, *calls.router(nobody).routes]
    return {route.path: route for route in made if isinstance(route, APIRoute)}


@each
def test_it_has_a_route(operation: Operation) -> None:
    route = routes()[f"{PREFIX}/calls/{{sid}}/{operation.name}"]
    assert route.methods == {"POST"}
    assert (route.operation_id, route.summary) == (operation.id, operation.summary)
    assert route.body_field is not None
    assert operation.arguments.__name__ in str(route.body_field.field_info.annotation)


@each
def test_it_has_its_commands(operation: Operation) -> None:
    group: Any = typer.main.get_group(app)
    for declared in operation.commands:
        command = group.get_command(None, declared.name)
        assert command is not None
        assert command.help == declared.help
        asked = {parameter.name for parameter in command.params} - {"help"}
        given = operation.arguments.model_fields.keys() - declared.given.keys()
        assert asked == {"sid", "url", "config", "as_json", *given}
        assert declared.given.keys() <= operation.arguments.model_fields.keys()


@each
def test_functions_can_ask_for_it(operation: Operation) -> None:
    """All but one: a function cannot hand back what it has not taken over."""
    assert bool(operation.methods) is (operation.name != "hand-back")
    assert all(callable(getattr(Call, method)) for method in operation.methods)


@each
def test_it_is_in_the_documentation(operation: Operation) -> None:
    rows = re.findall(r"^\| (.*?) \|", (DOCS / "control.md").read_text("utf-8"), re.MULTILINE)
    assert operation.title in rows
    page = (DOCS / "cli.md").read_text("utf-8")
    for command in operation.commands:
        assert f"## offhook calls {command.name}\n" in page


def test_no_two_have_the_same_name() -> None:
    names = [command.name for operation in OPERATIONS for command in operation.commands]
    assert len(set(names)) == len(names) == 14
    assert len({operation.id for operation in OPERATIONS}) == len(OPERATIONS)
