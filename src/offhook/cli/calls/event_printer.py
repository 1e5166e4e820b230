"""Output of `offhook calls follow`."""

from typing import Any

import msgspec
from httpx2 import ServerSentEvent
from rich.console import Console
from rich.text import Text

from offhook.events.describe import describe
from offhook.events.types import EVENT_TYPES
from offhook.observability.console_output import STYLES, WARNING, inert, tell


class _Data(msgspec.Struct):
    call_sid: str
    at_ms: int
    event: dict[str, Any]


class EventPrinter:
    """Prints one line for each event. Gaps and lost connections go to standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False)
        self._aside = Console(highlight=False, stderr=True)

    def event(self, event: ServerSentEvent) -> None:
        """Print one event."""
        try:
            data = msgspec.json.decode(event.data, type=_Data)
        except msgspec.MsgspecError:
            # A gap, for example: the server no longer has the events in between.
            self._aside.print(Text(inert(f"{event.event} {event.data}"), WARNING), soft_wrap=True)
            return
        if self._as_json:
            line = {
                "call_sid": data.call_sid,
                "at_ms": data.at_ms,
                "name": event.event,
                "event": data.event,
            }
            print(msgspec.json.encode(line).decode(), flush=True)
            return
        style, words = _words(event.event, data.event)
        line_ = Text().append(f"{data.at_ms:>9}  {inert(data.call_sid[-8:])}  ", "dim")
        line_.append(inert(f"{event.event:18}"), style)
        line_.append(inert(words))
        self._console.print(line_, soft_wrap=True)

    def lost(self, why: str) -> None:
        """Print that the connection was lost."""
        self._aside.print(Text(f"the server is gone ({inert(why)}); trying again", WARNING))

    def connected(self, url: str) -> None:
        """Print that the server is connected."""
        self._aside.print(Text(f"following {inert(url)}"), soft_wrap=True)


def _words(name: str, fields: dict[str, Any]) -> tuple[str, str]:
    """Return the style of `serve --show` and the event's description.

    A newer server may send events and fields that this version does not know: then the fields.
    """
    try:
        event = msgspec.convert(fields, EVENT_TYPES[name])
    except (KeyError, msgspec.ValidationError):
        return "", ", ".join(f"{field.rstrip('_')} {value}" for field, value in fields.items())
    told = tell(event)
    return "" if told is None else STYLES[told[0]], describe(event, texts=True)
