"""The other call processes of one machine's server, while one takes another's place.

The public socket is one for all of them, so Twilio's requests come to any. What concerns a call of
another one is answered there; a call that another one waits for, or has given up, is taken here.
Why it is so: docs/design/processes.md.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias

from offhook.calls.forwarded import ForwardedWebhook, WebhookAnswer
from offhook.calls.interrupted import InterruptedCalls
from offhook.calls.places import TakenCall
from offhook.calls.registry import CallRegistry
from offhook.journal.live_files import LiveCallFile
from offhook.twilio.messages import Start
from offhook.webhooks.elsewhere import Forward, KnownSubjects

Release: TypeAlias = Callable[[str, str, str], Awaitable[bool]]
"""Function that has the process of an id give a call up to this one, if that call waits for the
stream that has a token. Returns whether it did."""


class SiblingProcesses:
    """The other call processes of the same supervisor.

    Args:
        calls: The calls of this process.
        known: Decides whether this process knows what a request is about.
        interrupted: Goes on with calls that another process had.
        find: Returns the ids of the other processes, the newest first. Blocks for less than a ms.
        forward: Has a process answer a request.
        release: Has a process give a call up to this one.
        adopt: Opens the file of a call that was given up to this process.

    Attributes:
        is_watching: True if another process may come at any time.
    """

    def __init__(
        self,
        calls: CallRegistry,
        known: KnownSubjects,
        interrupted: InterruptedCalls,
        *,
        find: Callable[[], Sequence[str]],
        forward: Forward,
        release: Release,
        adopt: Callable[[str], LiveCallFile | None],
    ) -> None:
        self.is_watching = False
        self._calls = calls
        self._known = known
        self._interrupted = interrupted
        self._find = find
        self._forward = forward
        self._release = release
        self._adopt = adopt
        self._ids: Final[list[str]] = []

    def look(self) -> None:
        """See which other processes there are."""
        self._ids[:] = self._find()

    @property
    def ids(self) -> Sequence[str]:
        """Ids of the other processes, the newest first."""
        if self.is_watching:
            self.look()
        return tuple(self._ids)

    async def answer(self, webhook: ForwardedWebhook) -> WebhookAnswer | None:
        """Return the answer of another process to a request; None: this one is to answer.

        A call that another one has given up to this one goes on here first.
        """
        if not (self._ids or self.is_watching) or self._known.knows(webhook):
            return None
        if self._adopt_call(webhook.form["CallSid"]):
            return None
        for process_id in self.ids:
            answer = await self._forward(process_id, webhook)
            if answer is not None:
                return answer
        return None

    def prepare(self, start: Start) -> Coroutine[Any, Any, str | None] | None:
        """Return what takes the call of a stream from a process that waits for it, if any does."""
        details = start.start
        token = details.custom_parameters.get("token")
        if token is None or not (self._ids or self.is_watching):
            return None
        if self._calls.find(details.call_sid) is not None:
            return None
        return self._take(details.call_sid, token)

    async def _take(self, call_sid: str, token: str) -> None:
        """Take a call; whether its stream is admitted is decided afterwards, as ever."""
        for process_id in self.ids:
            released = await self._release(process_id, call_sid, token)
            # A slow process may have given the call up although its answer came too late.
            if self._adopt_call(call_sid) or released:
                return

    def _adopt_call(self, call_sid: str) -> bool:
        """Go on with a call that was given up to this process; return whether there was one."""
        if self._calls.find(call_sid) is not None:
            return False
        file = self._adopt(call_sid)
        return file is not None and self._interrupted.go_on(TakenCall(file.call_sid, file.lines))
