"""What tests of fleets rely on: a balanced Twilio, and a way to the database that can be broken."""

import asyncio

import httpx2
import psycopg
import pytest
from sqlalchemy.engine import URL
from tests.fleet.harness import unix_socket
from tests.fleet.places import Loopback
from tests.fleet.relay import relay
from tests.fleet.twilio import FleetHost

from offhook.testing.simulator.twilio.account.server import on_loopback
from offhook.testing.simulator.twilio.webhooks import Request


async def test_each_attempt_of_a_request_is_balanced() -> None:
    from starlette.applications import Starlette
    from starlette.requests import Request as Asked
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def fails(request: Asked) -> PlainTextResponse:
        return PlainTextResponse("", 503)

    async def answers(request: Asked) -> PlainTextResponse:
        return PlainTextResponse("well")

    def node(answer: object) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])  # type: ignore[arg-type]

    async with (
        on_loopback(node(fails), "a node that fails") as bad,
        on_loopback(node(answers), "a node that answers") as good,
        httpx2.AsyncClient(trust_env=False, verify=False) as http,
    ):
        turns = iter([bad, bad, good])
        host = FleetHost("127.0.0.1:1", lambda path: next(turns).removeprefix("http://"))
        url = "https://voice.example.com/twilio/after#rc=5&rp=all"
        answer = await host.send(http, Request(url, parameters={"CallSid": "CA1"}))
    assert answer.text == "well"
    (asked,) = host.wrong()
    assert (asked.path, asked.call_sid, asked.status) == ("/twilio/after", "CA1", 200)
    assert len(asked.failures) == 1


async def test_a_relay_holds_cuts_and_restores(database: URL) -> None:
    async with relay(unix_socket(database)) as way:
        host, port = way.address
        target = f"host={host} port={port} user=postgres dbname={database.database}"

        async def ask(connection: psycopg.AsyncConnection[tuple[int]]) -> int:
            cursor = await connection.execute("select 1")
            row = await cursor.fetchone()
            assert row is not None
            return row[0]

        async with await psycopg.AsyncConnection.connect(target) as connection:
            assert await ask(connection) == 1
            way.hold()
            async with asyncio.TaskGroup() as group:
                asked = group.create_task(ask(connection))
                done, _ = await asyncio.wait([asked], timeout=0.2)
                assert not done, "nothing passes"
                way.restore()
            assert asked.result() == 1
            way.cut()
            with pytest.raises(psycopg.OperationalError):
                await ask(connection)
        with pytest.raises(psycopg.OperationalError):
            await psycopg.AsyncConnection.connect(target)
        way.restore()
        async with await psycopg.AsyncConnection.connect(target) as connection:
            assert await ask(connection) == 1


def test_addresses_of_fleets_differ() -> None:
    place, other = Loopback(), Loopback()
    found = [place.join("a"), place.join("b")]
    assert len({*found, other.join("a")}) == 3
    assert all(one.startswith("127.") for one in found)
