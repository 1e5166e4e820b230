"""Opening agent legs: where Deepgram is, how we identify ourselves, what its refusals mean."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from offhook.call_context import current_call
from offhook.concurrency.server_tasks import ServerTasks
from offhook.deepgram.leg import PendingDial
from offhook.deepgram.session_budget import SessionBudget
from offhook.net import tls, websocket
from offhook.net.addresses import is_this_machine

_log: Final = logging.getLogger("offhook.deepgram")

MAX_MESSAGE: Final = 1024 * 1024
"""Bytes. Chunk sizes are not documented (deepgram.md §3.3); 1 MiB is over 2 minutes."""

TOO_MANY_SESSIONS: Final = 429
"""Status of an upgrade beyond the sessions that the project may have open (deepgram.md §1.3)."""

_REFUSALS: Final[Mapping[int, tuple[str, str]]] = {
    401: (
        (
            "E-DG-02 Deepgram refused the key (401). Is it whole, not deleted, and is deepgram.auth"
            " right (an API key goes with token)?"
        ),
        "Put the right one into DEEPGRAM_API_KEY.",
    ),
    402: (
        "E-DG-02 Deepgram refused the key (402): the project is out of credit.",
        "Top up the project in Deepgram's console.",
    ),
    403: (
        "E-DG-02 Deepgram refused the key (403): it lacks the permission for voice agents.",
        "Make a key of the role Member in Deepgram's console, and put it into DEEPGRAM_API_KEY.",
    ),
    TOO_MANY_SESSIONS: (
        (
            "E-DG-03 Deepgram is at its limit of sessions for this project (429): the caller gets"
            " the busy answer."
        ),
        "Set deepgram.max_sessions to the limit, or have it raised.",
    ),
}
"""Answers to the upgrade (deepgram.md §1.2, §1.3): what each means, and what fixes it."""


Failed: TypeAlias = Callable[[websocket.UpgradeRefusedError | websocket.UnreachableError], None]
"""Function that is told why no socket could be opened."""


def refusal(status: int) -> tuple[str, str]:
    """Return what the refusal of an upgrade means, with its code, and what fixes it."""
    what = f"E-DG-05 Deepgram answered {status}."
    fix = "Remove the path from deepgram.url; for 5xx see status.deepgram.com."
    return _REFUSALS.get(status, (what, fix))


class Dialler:
    """A `leg.Dial` that opens sockets to Deepgram at `urls`, each in one of the server's `tasks`.

    The first address is dialled; the others take their turns after a failure, as the call asks.
    `headers` identify us; a connection may take `timeout_s` seconds. Each dial counts in `budget`.
    `has_room` takes a place for a spare leg of a call in the budget that nodes share, if they do.

    A fault while dialling ends the call for which it is, as every fault in such a task does.
    """

    def __init__(
        self,
        urls: Sequence[str],
        headers: Mapping[str, str],
        timeout_s: float,
        budget: SessionBudget,
        tasks: ServerTasks,
        *,
        has_room: Callable[[str], Awaitable[bool]] | None = None,
    ) -> None:
        self._urls = tuple(urls)
        self._timeout = timeout_s
        self._budget = budget
        self._headers = dict(headers)
        self._tasks = tasks
        self._has_room = has_room
        self._tls = tls.loading() if any(url.startswith("wss:") for url in urls) else None
        hosts = {urlsplit(url).hostname or "" for url in urls}
        if len(hosts) > 1 and any(host.endswith(".deepgram.com") for host in hosts):
            # Deepgram itself never leaves a region (§1.1).
            _log.warning(
                "deepgram.fallback_urls: after a failed dial, calls may go to any of %s",
                ", ".join(sorted(hosts)),
            )
        for url in urls:
            if url.startswith("ws:") and not is_this_machine(urlsplit(url).hostname or ""):
                _log.warning(
                    "deepgram.url is ws:// to another machine: the key goes there in clear"
                )

    def __call__(
        self,
        receiver: websocket.Receiver,
        failed: Failed,
        place: int = 0,
    ) -> PendingDial:
        """Dial. Exactly one of `receiver.on_open` and `failed` follows, unless it is cancelled."""
        return self._start(receiver, failed, place, self._dial)

    def spare(
        self,
        receiver: websocket.Receiver,
        failed: Failed,
        place: int = 0,
    ) -> PendingDial:
        """Dial a leg beside one that the same call has, if the budget has room for both.

        Else `failed` gets a 429, as Deepgram would have answered.
        """
        has_room = self._budget.has_room(0)
        return self._start(receiver, failed, place, self._dial_spare if has_room else self._refuse)

    def _start(
        self,
        receiver: websocket.Receiver,
        failed: Failed,
        place: int,
        dial: Callable[[str, websocket.Receiver, Failed], Coroutine[None, None, None]],
    ) -> PendingDial:
        url = self._urls[place % len(self._urls)]
        session = self._budget.counted(receiver)
        dialling = self._tasks.start("dial Deepgram", dial(url, session, failed))
        dialling.add_done_callback(lambda _: session.on_dialled())
        return dialling

    async def _refuse(self, url: str, receiver: websocket.Receiver, failed: Failed) -> None:
        failed(websocket.UpgradeRefusedError(TOO_MANY_SESSIONS, {}, ""))

    async def _dial_spare(self, url: str, receiver: websocket.Receiver, failed: Failed) -> None:
        if self._has_room is None or await self._has_room(current_call.get()):
            await self._dial(url, receiver, failed)
        else:
            await self._refuse(url, receiver, failed)

    async def _dial(
        self,
        url: str,
        receiver: websocket.Receiver,
        failed: Failed,
    ) -> None:
        failure = await self._connect(url, receiver)
        if failure is not None:
            failed(failure)

    async def _connect(
        self, url: str, receiver: websocket.Receiver
    ) -> websocket.UpgradeRefusedError | websocket.UnreachableError | None:
        authorities = None
        try:
            if self._tls is not None and url.startswith("wss:"):
                # Several dials may wait for the authorities, and one of them be cancelled.
                authorities = await asyncio.shield(self._tls)
        except OSError:
            why = "the authorities of TLS cannot be read"
            _log.error("E-DG-04 Deepgram cannot be reached at %s: %s.", url, why)
            return websocket.UnreachableError(why)
        try:
            await websocket.connect(
                url,
                receiver,
                headers=self._headers,
                timeout=self._timeout,
                max_size=MAX_MESSAGE,
                tls=authorities,
            )
        except websocket.UpgradeRefusedError as refused:
            request_id = refused.headers.get("dg-request-id", "none")
            if refused.status == TOO_MANY_SESSIONS:
                self._budget.on_refused()
            _log.error("%s %s (request id %s)", *refusal(refused.status), request_id)
            return refused
        except websocket.UnreachableError as unreachable:
            _log.error("E-DG-04 Deepgram cannot be reached at %s: %s.", url, unreachable)
            return unreachable
        return None
