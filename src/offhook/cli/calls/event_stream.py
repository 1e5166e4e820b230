"""Following the events of a running server (its path `live`), across restarts of the server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NoReturn, Protocol

import httpx2
import msgspec
from httpx2 import EventSource, ServerSentEvent

from offhook.api.paths import PREFIX
from offhook.cli.api_client import ApiClient, unreachable
from offhook.errors import UserError

PATH: Final = f"{PREFIX}/live"

RETRY_S: Final = 1.0
"""Seconds between two attempts, until the server names another time."""
RETRY_MAX_S: Final = 30.0

EVENT_MAX: Final = 2 * 1024 * 1024
"""Bytes of one event. Offhook sends no larger ones."""


class EventListener(Protocol):
    """Receiver of the events of a server and of the state of the connection."""

    def event(self, event: ServerSentEvent) -> None:
        """Receive one event."""

    def lost(self, why: str) -> None:
        """Receive the reason why a connection ended. Another attempt follows."""

    def connected(self, url: str) -> None:
        """Receive the address of the server after each connection."""


class EventStream:
    """The events of one server, each once: a new connection continues after the last event.

    Attributes:
        last_id: The id of the last event, which the next connection continues after.
        retry_s: Seconds to wait before the next connection.
    """

    def __init__(
        self, api: ApiClient, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._api = api
        self._sleep = sleep
        self.last_id = ""
        self.retry_s = RETRY_S
        self._was_connected = False

    async def follow(self, listener: EventListener) -> NoReturn:
        """Report events until cancelled.

        Raises UserError E-ASK-12 when the server refuses, and E-ASK-13 when the first attempt finds
        no server.
        """
        async with self._api:
            while True:
                why = await self._follow_once(listener)
                if not self._was_connected:
                    raise unreachable(self._api.url, why)
                listener.lost(why)
                await self._sleep(self.retry_s)

    async def _follow_once(self, listener: EventListener) -> str:
        """Report the events of one connection. Return why the connection ended."""
        headers = {"Accept": "text/event-stream"}
        if self.last_id:
            headers["Last-Event-ID"] = self.last_id
        try:
            async with self._api.stream(PATH, headers) as response:
                # 429 and 5xx are temporary. Every other refusal would be repeated.
                if response.status_code == 429 or response.status_code >= 500:
                    return f"HTTP {response.status_code}"
                if response.status_code != 200:
                    await response.aread()
                    raise _refused(self._api.url, response)
                self._was_connected = True
                listener.connected(self._api.url)
                async for event in self.events(response):
                    listener.event(event)
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            return type(error).__name__
        return "it ended the connection"

    async def events(self, response: httpx2.Response) -> AsyncIterator[ServerSentEvent]:
        """Yield each event with data, and note its id and the time to wait before a retry.

        An event whose end does not arrive is left out: the next connection begins with that event.
        """
        async for event in EventSource(response, EVENT_MAX):
            self.last_id = event.id or self.last_id
            if event.retry is not None:
                self.retry_s = min(max(event.retry, 0), RETRY_MAX_S * 1000) / 1000
            if event.data:
                yield event


class _Refusal(msgspec.Struct):
    detail: str


def _refused(url: str, response: httpx2.Response) -> UserError:
    what = f"HTTP {response.status_code}"
    with contextlib.suppress(msgspec.MsgspecError):
        what += f", {msgspec.json.decode(response.content, type=_Refusal).detail}"
    return UserError(
        "E-ASK-12",
        f"The server at {url} does not tell its events: {what}",
        "Give --url and OFFHOOK_API_TOKEN of a server of this version.",
    )
