"""Events as JSON in journals and databases, of this version and of earlier ones."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from offhook.events.types import EVENT_TYPES, Event

EARLIER_NAMES: Final[Mapping[str, str]] = {"Fault": "ProtocolViolation"}
"""Names of events in earlier versions, and today's."""

EARLIER_FIELDS: Final[Mapping[str, Mapping[str, str]]] = {"CallerLeft": {"errand": "handoff"}}
"""Names of fields in earlier versions, and today's, by event."""

_DECODERS: Final[Mapping[str, "msgspec.json.Decoder[Event]"]] = {
    name: msgspec.json.Decoder(kind) for name, kind in EVENT_TYPES.items()
}


def decode_event(name: str, body: bytes | str | msgspec.Raw) -> Event:
    """Return the event with this name and JSON, in this version's form.

    Raises:
        KeyError: No version has an event of that name.
        msgspec.MsgspecError: The JSON is not that of the event.
    """
    name = EARLIER_NAMES.get(name, name)
    try:
        return _DECODERS[name].decode(body)
    except msgspec.ValidationError:
        if name not in EARLIER_FIELDS:
            raise
        return msgspec.convert(decode_fields(name, body), EVENT_TYPES[name])


def decode_fields(name: str, body: bytes | str | msgspec.Raw) -> dict[str, Any]:
    """Return the fields of an event of any version, under today's names where they are known.

    Raises:
        msgspec.MsgspecError: The JSON is not an object.
    """
    fields = msgspec.json.decode(body, type=dict[str, Any])
    renamed = EARLIER_FIELDS.get(name)
    if renamed is None:
        return fields
    return {renamed.get(field, field): value for field, value in fields.items()}
