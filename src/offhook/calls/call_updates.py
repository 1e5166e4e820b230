"""Updates of phone calls by REST: end a call, or redirect it to /twilio/after.

Without credentials the stream is closed, and Twilio then asks /twilio/after by itself. A TwiML Bin
has no such address: its calls can only be ended (twilio.md §2.4, §5.4).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from offhook.concurrency.server_tasks import ServerTasks
from offhook.twilio import twiml
from offhook.twilio.errors import TwilioRefusedError, TwilioUnreachableError
from offhook.twilio.rest import TwilioRest

_log: Final = logging.getLogger("offhook.call_updates")

_T = TypeVar("_T")

BRING_TRIES: Final = 5
BRING_AGAIN_S: Final = 3.0
"""Seconds between attempts to bring a caller back; there are BRING_TRIES at most."""

REST_S: Final = 4.0
"""Seconds to wait for Twilio's answer before the stream is closed instead."""


class CallUpdates:
    """Updates of all calls by REST; requests to Twilio run among the server's `tasks`."""

    def __init__(self, rest: TwilioRest | None, tasks: ServerTasks) -> None:
        self.rest: Final = rest
        self._tasks = tasks

    def hang_up(self, call_sid: str, otherwise: Callable[[], None]) -> None:
        """End the phone call; `otherwise` is called when Twilio cannot be asked to."""
        if self.rest is None:
            otherwise()
        else:
            asked = self._ask(call_sid, partial(self.rest.hang_up, call_sid))
            _ = self.start(call_sid, _or_else(asked, otherwise))

    def send_to(self, call_sid: str, url: str, otherwise: Callable[[], None]) -> None:
        """Have Twilio ask `url` what comes next, which ends the stream."""
        if self.rest is None:
            otherwise()
        else:
            _ = self.start(call_sid, _or_else(self.redirect(call_sid, url), otherwise))

    async def redirect(self, call_sid: str, url: str) -> bool:
        """Have Twilio ask `url` what comes next; return False if it was asked in vain.

        Needs credentials.
        """
        assert self.rest is not None, "there are credentials"
        request = partial(self.rest.update_call, call_sid, url=twiml.retried(url))
        return await self._ask(call_sid, request)

    def bring_back(self, call_sid: str, url: str, is_wanted: Callable[[], bool]) -> None:
        """Have Twilio ask `url` about a waiting caller, as long as `is_wanted` returns True."""
        _ = self.start(call_sid, self._bring_back(call_sid, url, is_wanted))

    def start(self, call_sid: str, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T | None]:
        """Start work about a call in a task of its own, whose result is None after a failure."""
        return self._tasks.start("line", work, call_sid=call_sid)

    def contained(self, call_sid: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Return a callback about a call. A fault in it ends that call, as one in a task does."""

        def run() -> None:
            with self._tasks.contained("line", call_sid=call_sid):
                callback()

        return run

    async def _bring_back(self, call_sid: str, url: str, is_wanted: Callable[[], bool]) -> None:
        for _ in range(BRING_TRIES):
            if self.rest is None or not is_wanted():
                return
            try:
                await self.rest.update_call(call_sid, url=twiml.retried(url))
                return
            except TwilioRefusedError as refused:
                _log.warning("a caller who waits alone was not brought back: %s", refused)
                return  # The call is over.
            except TwilioUnreachableError as unreachable:
                _log.warning("a caller who waits alone is not back yet: %s", unreachable)
            await asyncio.sleep(BRING_AGAIN_S)

    async def _ask(self, call_sid: str, request: Callable[[], Coroutine[Any, Any, Any]]) -> bool:
        try:
            async with asyncio.timeout(REST_S):
                await request()
        except (TwilioRefusedError, TwilioUnreachableError, TimeoutError) as error:
            extra = {"call_sid": call_sid}
            _log.warning(
                "Twilio refused or did not answer; closing the stream: %s", error, extra=extra
            )
            return False
        return True


async def _or_else(asked: Coroutine[Any, Any, bool], otherwise: Callable[[], None]) -> None:
    try:
        is_done = await asked
    except Exception:
        otherwise()  # a fault of ours must not keep the phone call open
        raise
    if not is_done:
        otherwise()
