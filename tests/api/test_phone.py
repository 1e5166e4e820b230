"""Calls from the console's softphone, over real sockets."""

from pathlib import Path

from tests.api.desk import TOKEN, Desk, desk
from tests.page import ConsolePage
from tests.whole_server import ASK, GREET, HANG_UP, QUICK, texts

from offhook.events.types import AgentSaid, CallBegan, CallerSaid


def page_of(d: Desk) -> ConsolePage:
    return ConsolePage(d.url, d.whole.http, {"Authorization": f"Bearer {TOKEN}"})


async def test_a_call_from_the_browser_is_a_call_like_every_other(tmp_path: Path) -> None:
    async with desk(tmp_path, script=QUICK) as d:
        call = await page_of(d).call(GREET, ASK, GREET, HANG_UP, name="Ada")
        await d.whole.until_ended()
        events = d.whole.events(call.call_sid)
        assert d.whole.endings() == ["caller_hung_up"]
        assert texts(events, CallerSaid)
        assert texts(events, AgentSaid)
        assert call.stream.echoes, "marks come back"
        (began,) = [event for event in events if isinstance(event, CallBegan)]
        assert (began.by, began.from_, began.direction) == ("browser", "API token", "inbound")
        await d.until_stored()
        record = (await d.ask(f"/api/v1/calls/{call.call_sid}")).json()
        assert record["call"]["came_by"] == "browser"
        assert record["variables"]["name"] == "Ada"
