"""web/src/events.ts: the events of events/types.py as the console's page reads them."""

import inspect
import json
import types
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from offhook.events import types as events

HEAD: Final = """\
/** The events of a call. Made from src/offhook/events/types.py by `make pages`; do not edit. */
"""


def page() -> str:
    """Return the module: an interface for each event, and their union."""
    kinds = get_args(events.Event)
    union = "\n".join(f"  | {kind.__name__}" for kind in kinds)
    return "\n".join([HEAD, *map(_interface, kinds), f"export type Event =\n{union};\n"])


def _interface(event: type) -> str:
    doc = inspect.getdoc(event)
    assert doc is not None
    summary = " ".join(doc.split("\n\n")[0].split())
    fields = [f'  type: "{event.__name__}";']
    fields += [
        f"  {name}: {_kind(kind)};"
        for name, kind in get_type_hints(event).items()
        if name not in events.OPAQUE
    ]
    return "\n".join(
        [f"/** {summary} */", f"export interface {event.__name__} {{", *fields, "}", ""]
    )


def _kind(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return " | ".join(json.dumps(value) for value in get_args(kind))
    if origin in (Union, types.UnionType):
        return " | ".join(map(_kind, get_args(kind)))
    if origin is tuple:
        return f"{_kind(get_args(kind)[0])}[]"
    return {str: "string", int: "number", bool: "boolean", types.NoneType: "null"}[kind]
