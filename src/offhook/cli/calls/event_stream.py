"""A client of the server-sent events at /api/live, which goes on where it was cut off.

The format is that of the WHATWG's HTML standard, "Server-sent events".
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import httpx2
import msgspec

from offhook.cli.api_client import unreachable
from offhook.errors import UserError

PATH: Final = "/api/live"
SILENCE_S: Final = 60.0
"""The server says something every 15 s: after so long it is gone."""

RETRY_S: Final = 1.0
"""Between two attempts, until the server names another time."""
RETRY_MAX_S: Final = 30.0

LINE_MAX: Final = 2 * 1024 * 1024
"""Characters of an event: one that has more is not from Offhook."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event: its name, and its data."""

    name: str
    data: str


class Listening(Protocol):
    """Who wants to know."""

    def event(self, event: ServerSentEvent) -> None:
        """It happened."""

    def lost(self, why: str) -> None:
        """The server is gone, for now."""

    def connected(self, url: str) -> None:
        """The server is there, for the first time or again."""


class Following:
    """Follows one server for as long as it runs, and waits for it to come back."""

    def __init__(
        self, url: str, api_token: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._url = url.rstrip("/")
        self._token = api_token
        self._sleep = sleep
        self._stream = Stream()
        self._ever = False

    def run(self, listening: Listening) -> None:
        """Go on until interrupted.

        Raises UserError E-ASK-12 when the server refuses, and E-ASK-13 when it never was there.
        """
        timeout = httpx2.Timeout(10.0, read=SILENCE_S)
        with httpx2.Client(trust_env=False, timeout=timeout) as client:
            while True:
                why = self._listen(client, listening)
                if not self._ever:
                    raise unreachable(self._url, why)
                listening.lost(why)
                self._sleep(self._stream.retry_s)

    def _listen(self, client: httpx2.Client, listening: Listening) -> str:
        """Follow one connection to its end; returns why it ended."""
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "text/event-stream"}
        if self._stream.last_id:
            headers["Last-Event-ID"] = self._stream.last_id
        try:
            with client.stream("GET", f"{self._url}{PATH}", headers=headers) as response:
                # 429 and 5xx pass; what else it says, it will say again.
                if response.status_code == 429 or response.status_code >= 500:
                    return f"HTTP {response.status_code}"
                if response.status_code != 200:
                    response.read()
                    raise _refused(self._url, response)
                self._ever = True
                listening.connected(self._url)
                for event in self._stream.events(response.iter_text()):
                    listening.event(event)
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            return type(error).__name__
        return "it ended the connection"


def _refused(url: str, response: httpx2.Response) -> UserError:
    what = f"HTTP {response.status_code}"
    with contextlib.suppress(msgspec.MsgspecError):
        what += f", {msgspec.json.decode(response.content, type=_Refusal).what}"
    return UserError(
        "E-ASK-12",
        f"The server at {url} does not tell its events: {what}",
        "Give --url and OFFHOOK_API_TOKEN of a server of this version.",
    )


class _Refusal(msgspec.Struct):
    what: str


class Stream:
    """Reads events out of text as it comes. `last_id` and `retry_s` outlive a connection."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_s = RETRY_S

    def events(self, pieces: Iterable[str]) -> Iterator[ServerSentEvent]:
        """Every event that is whole; one that is cut off comes again."""
        name, last_id = "", self.last_id
        data: list[str] = []
        for line in _lines(pieces):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                self.last_id = last_id
                if data:
                    yield ServerSentEvent(name or "message", "\n".join(data))
                name, data = "", []
            elif field == "data":
                data.append(value)
            elif field == "event":
                name = value
            elif field == "id" and "\0" not in value:
                last_id = value
            elif field == "retry" and value.isascii() and value.isdigit():
                self.retry_s = min(int(value) / 1000, RETRY_MAX_S)


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Lines, ended by CR, LF or both, wherever the text was cut into pieces."""
    rest = ""
    for piece in pieces:
        rest += piece
        while True:
            at = min((n for n in (rest.find("\n"), rest.find("\r")) if n >= 0), default=-1)
            # An LF that belongs to a CR may be yet to come.
            if at < 0 or (rest[at] == "\r" and at + 1 == len(rest)):
                break
            yield rest[:at]
            rest = rest[at + (2 if rest[at : at + 2] == "\r\n" else 1) :]
        if len(rest) > LINE_MAX:
            raise httpx2.RemoteProtocolError("a line without end")
