"""Calls from browsers whose server stops while their data is looked up."""

from typing import Any

import pytest
from tests.calls.interruptions import Servers
from tests.whole_server import QUICK, configured

from offhook.calls.browser_calls import NotTakenError
from offhook.calls.lookup import LookupResult
from offhook.events.types import CallEnded


async def test_a_call_does_not_begin_in_a_server_that_stopped_during_its_lookup() -> None:
    now = Servers(configured("ws://127.0.0.1:1/"), QUICK).now
    registry, browser = now.calls.registry, now.calls.browser

    async def look_up_as_it_stops(agent: Any, call: Any) -> LookupResult:
        registry.is_draining = True
        registry.stop_all()
        return LookupResult()

    browser._look_up = look_up_as_it_stops
    with pytest.raises(NotTakenError, match="being stopped"):
        await browser.begin("", "ada", {}, 10)
    assert registry.live == {}
    assert now.agents == [], "no agent is dialled"
    assert [e.slug for e in now.events if isinstance(e, CallEnded)] == ["shut_down"]
