"""Keys that a pydantic model takes, and where: what a misspelt key of a file may have meant."""

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import pydantic

Loc: TypeAlias = tuple[str | int, ...]
"""The way to a value: keys and indices from the top of the file, as pydantic reports them."""

DEPTH_MAX: Final = 64
"""Levels to which values may be nested."""


def homes(model: type[pydantic.BaseModel]) -> Mapping[str, Loc]:
    """Return the place of each key of a model that has one place alone."""
    places: dict[str, set[Loc]] = {}

    def look(kind: Any, loc: Loc) -> None:
        for member in _members(kind):
            if isinstance(member, type) and issubclass(member, pydantic.BaseModel):
                for name, field in member.model_fields.items():
                    places.setdefault(field.alias or name, set()).add(loc)
                    if len(loc) < DEPTH_MAX:
                        look(field.annotation, (*loc, field.alias or name))

    look(model, ())
    return {name: min(locs) for name, locs in places.items() if len(locs) == 1}


def keys_at(model: type[pydantic.BaseModel], loc: Loc) -> set[str]:
    """Return the keys that `model` takes at `loc`; steps that name a union's member are skipped."""
    here: list[Any] = [model]
    for step in loc:
        here = [inner for kind in here for inner in _step(kind, step)] or here
    return {
        field.alias or name
        for kind in here
        if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)
        for name, field in kind.model_fields.items()
    }


def _step(kind: Any, step: str | int) -> Iterator[Any]:
    """Return the types that a value of type `kind` may have at `step`."""
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        for name, field in kind.model_fields.items():
            if step in (field.alias, name):
                yield from _members(field.annotation)
    elif (origin := typing.get_origin(kind)) is not None:
        arguments = typing.get_args(kind)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            yield from _members(arguments[1])
        elif isinstance(step, int):
            yield from _members(arguments[0])


def _members(kind: Any) -> Iterator[Any]:
    """Return the members of a union, however it is written; of anything else, itself."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        yield from _members(typing.get_args(kind)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(kind):
            yield from _members(member)
    else:
        yield kind
