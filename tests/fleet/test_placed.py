"""Calls that one node places, and whose stream another one gets: two servers, one database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy.engine import URL
from tests.api.desk import desk
from tests.api.test_phone import page_of
from tests.fleet.directories import url_text
from tests.outbound.test_outbound_calls import Office
from tests.outbound.twilio_api import ADA, TwilioApi, outbound, twilio_api
from tests.page import ConsolePage
from tests.waiting import until, until_it
from tests.whole_server import GREET, HANG_UP, QUICK

from offhook.config import Config
from offhook.config.fleet_settings import FleetSettings
from offhook.events.types import CallBegan, CallBilled, CallStarted, CallTakenOver
from offhook.serving.joined_fleet import JoinedFleet


@asynccontextmanager
async def node(
    name: str, folder: Path, api: TwilioApi, database: URL, **options: Any
) -> AsyncIterator[Office]:
    """A node of a fleet, in this process."""

    def joined(config: Config) -> Config:
        settings = FleetSettings(
            node=name, listen="127.0.0.1:0", nodes=2, keys=(SecretStr("k" * 32),)
        )
        agents = {"default": config.lines["default"].model_copy(update={"name": "seed"})}
        return replace(outbound(api)(config), fleet=settings, lines=agents)

    (folder / name).mkdir()
    async with desk(folder / name, url=url_text(database), change=joined, **options) as made:
        yield Office(api, made)


async def until_they_know_each_other(*nodes: Office) -> None:
    """Wait until each node has all of them in its list, by which it believes their requests."""

    def do_they() -> bool:
        joined = [office.desk.whole.server._joined for office in nodes]
        return all(one and len(one.parts.directory.processes) == len(nodes) for one in joined)

    await until(do_they)


async def test_a_placed_calls_stream_and_reports_reach_another_node_before_twilios_answer(
    tmp_path: Path, database: URL
) -> None:
    """And nothing is dialled for which all nodes together have no session left."""
    options: dict[str, Any] = {"max_sessions": 2}
    options["outbound"] = {"answering_machine": "hang_up"}
    async with (
        twilio_api() as api,
        node("a", tmp_path, api, database, **options) as a,
        node("b", tmp_path, api, database, **options) as b,
    ):
        await until_they_know_each_other(a, b)
        streams = []

        async def talk(sid: str) -> None:
            api.after = None
            streams.append(await b.phone.stream(sid))
            await until(lambda: any(isinstance(e, CallStarted) for e in b.desk.whole.events(sid)))

        api.after = talk
        sid = await a.place()
        assert a.desk.whole.events(sid) == [], "it is b's"
        kinds = [type(event) for event in b.desk.whole.events(sid)]
        assert (kinds.count(CallBegan), kinds.count(CallTakenOver)) == (1, 0)
        # Twilio reports to the node that has placed the call; its owner hears it.
        await a.phone.report(sid, "in-progress")
        for office in (a, b):
            assert (await office.state(sid))["status"] == "in-progress"
        # There is one session more for both nodes, and it is taken before the number is dialled.
        second = await b.place()
        refused = await a.ask()
        assert (refused.status_code, refused.json()["code"]) == (429, "E-OUT-12")
        assert "agent sessions" in refused.text
        assert "Retry-After" in refused.headers
        assert api.calls.keys() == {sid, second}, "nobody is rung who would have no agent"
        await b.phone.report(second, "no-answer")
        await a.phone.verdict(sid, "machine_start")
        assert b.desk.whole.endings(sid) == ["machine_answered"]
        await streams[0].end()
        await a.phone.report(sid, "completed", CallDuration="3")
        assert [type(event) for event in b.desk.whole.events(sid)].count(CallBilled) == 1
        assert a.desk.whole.events(sid) == []

        async def is_placed() -> bool:
            return (await a.ask()).status_code == 201

        await until_it(is_placed)
        assert [form["To"] for form in api.forms.values()] == [[ADA]] * 3


async def test_a_call_from_a_browser_takes_a_session_of_all_nodes(
    tmp_path: Path, database: URL
) -> None:
    options: dict[str, Any] = {"max_sessions": 2, "script": QUICK}
    async with (
        twilio_api() as api,
        node("a", tmp_path, api, database, **options) as a,
        node("b", tmp_path, api, database, **options) as b,
    ):
        await until_they_know_each_other(a, b)
        pages = [page_of(office.desk) for office in (a, b)]
        opened = await pages[0].open_phone()
        directory = joined_of(a).parts.directory
        assert await directory.add_leg(opened.call_sid), "there is room for a roll-over"
        refused = await pages[1].post("/api/v1/phone-calls", {})
        assert (refused.status_code, refused.json()["code"]) == (429, "E-PHONE-03")
        assert "no agent session left" in refused.text
        assert (await b.ask()).json()["code"] == "E-OUT-12", "nor is a number dialled"
        assert b.desk.whole.server.calls.registry.live == {}
        assert joined_of(b).parts.directory.held.sids == ()
        await directory.return_leg(opened.call_sid)
        second = await pages[1].open_phone()
        call = await pages[1].dial(second, GREET, HANG_UP)
        await until(lambda: call.ended.is_set())
        await until_it(lambda: room_at(pages[0]))


async def room_at(page: ConsolePage) -> bool:
    return (await page.post("/api/v1/phone-calls", {})).status_code == 201


def joined_of(office: Office) -> JoinedFleet:
    joined = office.desk.whole.server._joined
    assert joined is not None
    return joined
