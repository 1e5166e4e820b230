"""One session with Deepgram that is opened, given Settings, and closed again."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from offhook.clock import LoopClock
from offhook.deepgram import connection, messages
from offhook.net import tls, websocket
from offhook.net.addresses import is_this_machine
from offhook.net.websocket import Channel, Closed

APPLIED_S: Final = 10.0
"""Seconds that Deepgram may take to apply Settings, as in a call (call/agent_link.py)."""

SESSION_S: Final = 30.0
"""Seconds that `try_session` may take in all."""

_SAID_MAX: Final = 300
"""Characters of Deepgram's own words that are shown."""

_CLOSE_S: Final = websocket.CLOSE_WAIT_S + 1.0

_REGIONS: Final = ("agent.deepgram.com", *(f"api.{one}.deepgram.com" for one in ("eu", "au", "in")))
"""Deepgram's hosts of the agent's socket (deepgram.md §1.1)."""


class SessionFailedError(Exception):
    """Error: no session with these Settings. `what` has the code of the error, `fix` what helps.

    `is_of_settings` is True if Deepgram took the key, and refused the Settings.
    """

    def __init__(self, what: str, fix: str, *, is_of_settings: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.is_of_settings = is_of_settings


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """Milliseconds from the dial to the open socket, and to the answer that Settings apply."""

    open_ms: int
    applied_ms: int


class _Trial:
    """The receiver of a session's messages: sends the Settings, and waits for their answer."""

    def __init__(self, settings: bytes) -> None:
        self._settings = settings
        self._channel: Channel | None = None
        loop = asyncio.get_running_loop()
        self.applied: Final[asyncio.Future[SessionFailedError | None]] = loop.create_future()
        self.closed: Final = asyncio.Event()

    def on_open(self, socket: Channel) -> None:
        self._channel = socket

    def on_text(self, text: bytes) -> None:
        try:
            message = messages.read(text)
        except messages.MalformedAgentMessageError:
            self._decide(_not_deepgram())
            return
        # Nothing may be sent before Welcome (deepgram.md §0).
        if isinstance(message, messages.Welcome) and self._channel is not None:
            self._channel.send_text(self._settings)
        elif isinstance(message, messages.SettingsApplied):
            self._decide(None)
        elif isinstance(message, messages.Error):
            self._decide(_refused(message))

    def on_binary(self, data: bytes) -> None:
        pass

    def on_writable(self, writable: bool) -> None:
        pass

    def on_close(self, closed: Closed) -> None:
        self.closed.set()
        what = "E-DG-06 Deepgram closed the session without applying the Settings"
        why = f"close code {closed.received}" if closed.received else "the connection was cut"
        self._decide(SessionFailedError(f"{what}: {why}.", "Run: offhook check"))

    def _decide(self, failure: SessionFailedError | None) -> None:
        if not self.applied.done():
            self.applied.set_result(failure)


def _not_deepgram() -> SessionFailedError:
    what = "E-DG-06 What answers at deepgram.url is not Deepgram's Voice Agent."
    return SessionFailedError(what, "Set deepgram.url to wss://agent.deepgram.com.")


def _refused(error: messages.Error) -> SessionFailedError:
    what = f"E-DG-06 Deepgram refused the Settings ({error.code}): {error.description[:_SAID_MAX]}"
    fix = "Correct the agent's settings, then run: offhook check"
    return SessionFailedError(what, fix, is_of_settings=True)


async def try_session(
    url: str, headers: Mapping[str, str], settings: bytes, connect_s: float
) -> SessionTimes:
    """Open a session, have the Settings applied, and close it. Raises SessionFailedError.

    Open time is billed (deepgram.md §1.3): the session is closed as soon as the answer is there.
    """
    clock = LoopClock(asyncio.get_running_loop())
    authorities = await tls.loading() if url.startswith("wss:") else None
    trial, began = _Trial(settings), clock.now()
    try:
        socket = await websocket.connect(
            url,
            trial,
            headers=headers,
            timeout=connect_s,
            max_size=connection.MAX_MESSAGE,
            tls=authorities,
        )
    except websocket.UpgradeRefusedError as refused:
        what, fix = connection.refusal(refused.status)
        raise SessionFailedError(f"{what} {_region_hint(url)}".strip(), fix) from None
    except websocket.UnreachableError as unreachable:
        what = f"E-DG-04 Deepgram cannot be reached at {_place(url)}: {unreachable}."
        raise SessionFailedError(what, reach(url)) from None
    open_ms = _ms(clock.now() - began)
    try:
        async with asyncio.timeout(APPLIED_S):
            failure = await trial.applied
        if failure is not None:
            raise failure
        return SessionTimes(open_ms, _ms(clock.now() - began))
    except TimeoutError:
        what = f"E-DG-06 Deepgram did not answer the Settings within {APPLIED_S:g} s."
        raise SessionFailedError(what, "Try again; see status.deepgram.com.") from None
    finally:
        socket.close()
        await _until_closed(trial)


async def _until_closed(trial: _Trial) -> None:
    # The answer to a close may never come (deepgram.md §1.4); the socket then cuts itself.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await trial.closed.wait()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _region_hint(url: str) -> str:
    host = urlsplit(url).hostname or ""
    return "" if host == _REGIONS[0] or is_this_machine(host) else f"It was asked at {host}."


def reach(url: str) -> str:
    """Return what helps when nothing answers at a URL of the agent's socket."""
    host = urlsplit(url).hostname or ""
    if host.endswith(".deepgram.com") and host not in _REGIONS:
        return f"Set deepgram.url to one of Deepgram's hosts: {', '.join(_REGIONS)}."
    return f"Make it reachable from this machine, and try: curl -I https://{host}"
