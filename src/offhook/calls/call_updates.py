"""Updates of phone calls by REST: ended, or sent to /twilio/after, where there are credentials.

Without credentials the stream is closed, upon which Twilio asks /twilio/after by itself; a TwiML
Bin has no such address, so that its callers can only be hung up on (twilio.md §2.4, §5.4).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from offhook.concurrency.server_tasks import ServerTasks
from offhook.twilio.errors import TwilioRefusedError, TwilioUnreachableError
from offhook.twilio.rest import TwilioRest

_log: Final = logging.getLogger("offhook.call_updates")

_T = TypeVar("_T")

BRING_TRIES: Final = 5
BRING_AGAIN_S: Final = 3.0
"""How often, and how many seconds apart, Twilio is asked to bring a caller back."""

REST_S: Final = 4.0
"""How long Twilio's answer is waited for, until the stream is closed instead."""


class CallUpdates:
    """Updates of all calls; requests to Twilio are among the server's `tasks`."""

    def __init__(self, rest: TwilioRest | None, tasks: ServerTasks) -> None:
        self.rest: Final = rest
        self._tasks = tasks

    def hang_up(self, call_sid: str, otherwise: Callable[[], None]) -> None:
        """End the phone call; `otherwise` is called when Twilio cannot be asked for that."""
        if self.rest is None:
            otherwise()
        else:
            _ = self.start(call_sid, self._ask(partial(self.rest.hang_up, call_sid), otherwise))

    def send_to(self, call_sid: str, url: str, otherwise: Callable[[], None]) -> None:
        """Have Twilio ask `url` what comes next, which ends the stream."""
        if self.rest is None:
            otherwise()
        else:
            request = partial(self.rest.update_call, call_sid, url=url)
            _ = self.start(call_sid, self._ask(request, otherwise))

    def bring_back(self, call_sid: str, url: str, is_wanted: Callable[[], bool]) -> None:
        """Have Twilio ask `url` about a caller whom it lets wait, as long as that `is_wanted`."""
        _ = self.start(call_sid, self._bring_back(call_sid, url, is_wanted))

    def start(self, call_sid: str, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T | None]:
        """Do something about a call in a task of its own. It returns None when it failed."""
        return self._tasks.start("line", work, call_sid=call_sid)

    async def _bring_back(self, call_sid: str, url: str, is_wanted: Callable[[], bool]) -> None:
        for _ in range(BRING_TRIES):
            if self.rest is None or not is_wanted():
                return
            try:
                await self.rest.update_call(call_sid, url=url)
                return
            except TwilioRefusedError as refused:
                _log.warning("a caller who waits alone was not brought back: %s", refused)
                return  # The call is over.
            except TwilioUnreachableError as unreachable:
                _log.warning("a caller who waits alone is not back yet: %s", unreachable)
            await asyncio.sleep(BRING_AGAIN_S)

    async def _ask(
        self, request: Callable[[], Coroutine[Any, Any, Any]], otherwise: Callable[[], None]
    ) -> None:
        try:
            async with asyncio.timeout(REST_S):
                await request()
        except (TwilioRefusedError, TwilioUnreachableError, TimeoutError) as error:
            _log.warning("Twilio was asked in vain, so the stream is closed: %s", error)
            otherwise()
        except Exception:
            otherwise()  # a fault of ours must not hold the caller on the line
            raise
