"""What `offhook calls follow` prints of an event."""

from typing import Any, get_args

import msgspec
from rich.console import Console
from rich.text import Text

from offhook.cli.calls.event_stream import ServerSentEvent
from offhook.events.types import Event
from offhook.observability.console_output import STYLES, inert, tell

_EVENTS: dict[str, type] = {event.__name__: event for event in get_args(Event)}


class _Data(msgspec.Struct):
    call_sid: str
    at_ms: int
    event: dict[str, Any]


class Teller:
    """Prints one line for each event; what is no event, and what is lost, on standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False)
        self._aside = Console(highlight=False, stderr=True)

    def event(self, event: ServerSentEvent) -> None:
        """One line."""
        try:
            data = msgspec.json.decode(event.data, type=_Data)
        except msgspec.MsgspecError:
            # Such as a gap: the server has forgotten what came in between.
            self._aside.print(Text(inert(f"{event.name} {event.data}"), "yellow"), soft_wrap=True)
            return
        if self._as_json:
            line = {
                "call_sid": data.call_sid,
                "at_ms": data.at_ms,
                "name": event.name,
                "event": data.event,
            }
            print(msgspec.json.encode(line).decode(), flush=True)
            return
        style, words = _words(event.name, data.event)
        line_ = Text(f"{data.at_ms:>9}  {inert(data.call_sid[-8:])}  ", "dim")
        line_.append(inert(f"{event.name:18}"), style)
        line_.append(inert(words))
        self._console.print(line_, soft_wrap=True)

    def lost(self, why: str) -> None:
        """The server is gone."""
        self._aside.print(Text(f"the server is gone ({inert(why)}); trying again", "yellow"))

    def connected(self, url: str) -> None:
        """It is there."""
        self._aside.print(Text(f"following {inert(url)}", "green"), soft_wrap=True)


def _words(name: str, fields: dict[str, Any]) -> tuple[str, str]:
    """In words, as serve --show has them; else the fields, as a newer server may have others."""
    try:
        told = tell(msgspec.convert(fields, _EVENTS[name]))
    except (KeyError, msgspec.ValidationError):
        told = None
    if told is not None:
        return STYLES[told[0]], told[1]
    return "", ", ".join(f"{field.rstrip('_')} {value}" for field, value in fields.items())
