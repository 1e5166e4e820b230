"""Options of the commands that look for calls, made from the declared filters."""

import functools
import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from offhook.records.filters import FILTER_FIELDS, CallFilter, FilterField


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each of FILTER_FIELDS, in place of its parameter `asked`.

    The command receives the options as one CallFilter. Times without a zone are this machine's.
    """

    @functools.wraps(command)
    def run(**given: Any) -> None:
        values = {field.name: given.pop(field.name) for field in FILTER_FIELDS}
        if values["min_ms"] is not None:
            values["min_ms"] = round(values["min_ms"] * 1000)
        command(asked=CallFilter.of(values, datetime.now(UTC), None), **given)

    signature = inspect.signature(command)
    own = [parameter for name, parameter in signature.parameters.items() if name != "asked"]
    parameters = [*map(_parameter, FILTER_FIELDS), *own]
    # Typer reads both the signature and the annotations.
    vars(run)["__signature__"] = signature.replace(parameters=parameters)
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _parameter(field: FilterField) -> inspect.Parameter:
    """Return the option of a filter. A number of milliseconds is given in seconds."""
    names = [] if field.option is None else [field.option]
    kind: type = float if field.kind is int else field.kind
    low, high = (0, 1e9) if kind is float else (None, None)
    option = typer.Option(*names, help=field.help, metavar=field.metavar, min=low, max=high)
    at = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(
        field.name, at, default=None, annotation=Annotated[kind | None, option]
    )
