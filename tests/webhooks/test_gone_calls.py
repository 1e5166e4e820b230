"""A request about a call that is here still, though another process of the fleet has it by now."""

from types import SimpleNamespace
from typing import Any

import pytest

from offhook.calls.forwarded import ForwardedWebhook, WebhookAnswer
from offhook.webhooks.call_flow import CallFlow

SID = "CA" + "1" * 32
ELSEWHERE = WebhookAnswer(200, "from the process that has it", "text/xml")


class Fleet:
    """A process of a fleet that has one call, which another one may have taken unnoticed."""

    def __init__(self, *, is_after_due: bool, is_gone: bool) -> None:
        self._live: dict[str, Any] = {SID: SimpleNamespace(is_after_due=is_after_due)}
        self._is_gone = is_gone
        self.confirmed = 0
        self.flow: Any = SimpleNamespace(
            _fleet=self,
            _interrupted=None,
            _registry=SimpleNamespace(live=self._live, find=self._live.get, pending_lookup={}.get),
        )

    async def confirm(self, call_sid: str) -> None:
        self.confirmed += 1
        if self._is_gone:
            del self._live[call_sid]

    async def resolve(self, webhook: ForwardedWebhook) -> WebhookAnswer:
        return ELSEWHERE

    async def asked(self) -> WebhookAnswer | None:
        form = {"CallSid": SID}
        return await CallFlow.resolve(self.flow, ForwardedWebhook("after", form, "https://x"))


async def test_what_comes_after_a_stream_that_another_process_had_is_asked_there() -> None:
    fleet = Fleet(is_after_due=False, is_gone=True)
    assert await fleet.asked() == ELSEWHERE


@pytest.mark.parametrize(("is_after_due", "times"), [(False, 1), (True, 0)])
async def test_a_call_that_is_here_is_answered_here(is_after_due: bool, times: int) -> None:
    fleet = Fleet(is_after_due=is_after_due, is_gone=False)
    assert await fleet.asked() is None
    assert fleet.confirmed == times, "not where its own stream has ended"
