"""Destinations in a tool's schema: their names as an enum, their descriptions in words."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal


def one_of(names: Iterable[str]) -> Any:
    """Return the type hint of a parameter that is one of these names."""
    return Literal[tuple(names)]


def described(destinations: Mapping[str, str]) -> str:
    """Return a list of destinations, for the end of a tool's description."""
    lines = [f"- {name}: {of}" if of else f"- {name}" for name, of in destinations.items()]
    return "\n".join(lines)
