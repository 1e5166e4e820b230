"""Live calls without legs: an entry whose session does as it is told, and notes it."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from tests.whole_server import ACCOUNT, configured

from offhook.call.inputs import Input
from offhook.call.requests import CallRequest
from offhook.calls.call_entry import CallEntry
from offhook.calls.call_updates import CallUpdates
from offhook.calls.handoff import StreamHandoff
from offhook.calls.session import Session
from offhook.clock import Clock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config.app_config import WEBHOOKS
from offhook.deepgram.messages import UpdatePrompt

SID = "CA" + "1" * 32


class FakeSession:
    """A session that answers requests with `reply`, or not before it is told to."""

    def __init__(self, reply: tuple[bool, str] | None = (True, "it is done")) -> None:
        self.reply = reply
        self.has_stream = self.has_agent = True
        self.requests: list[CallRequest] = []
        self.inputs: list[Input] = []
        self.changes: list[tuple[str, Any]] = []
        self.recording: list[bool] = []
        self.is_recorded = True

    def ask(self, request: CallRequest, replied: Callable[[bool, str], None]) -> int:
        self.requests.append(request)
        if self.reply is not None:
            replied(*self.reply)
        return len(self.requests)

    async def until_known(self) -> None:
        """No pause of the process: the call is known to be here."""

    def receive(self, message: Input) -> None:
        self.inputs.append(message)

    def change(self, part: str, block: Any) -> UpdatePrompt:
        self.changes.append((part, block))
        return UpdatePrompt(f"a change of {part}")

    def set_recording(self, is_on: bool) -> bool:
        self.recording.append(is_on)
        return self.is_recorded


def live_entry(
    clock: Clock, session: FakeSession | None = None, *, sid: str = SID, token: str | None = "token"
) -> CallEntry:
    """An entry of a live call, with a handoff that nothing is asked of."""
    agent = configured("ws://127.0.0.1:1/").lines["default"]
    by = cast("Any", "bin" if token is None else "webhook")
    entry = CallEntry(sid, agent, ACCOUNT, token, clock.now(), by, WEBHOOKS)
    entry.session = cast("Session", session or FakeSession())
    updates = CallUpdates(None, ServerTasks(asyncio.TaskGroup()))
    entry.handoff = StreamHandoff(
        entry, cast("Any", None), updates, clock, lambda sid, event: None, lambda sid: "a token"
    )
    return entry
