"""A fleet for tests: real nodes over one PostgreSQL, a balancer, a simulated Twilio and an agent.

    async with fleet(tmp_path, url, nodes=("a", "b", "c"), balancer="haproxy") as fleet:
        call = await fleet.call()               # it talks
        fleet.node("a").kill()                  # or pause, wake, terminate, reload, start
        fleet.database("b").hold()              # or cut, restore: node b's way to the database
        await fleet.rows("select ...")          # what the database has

Without a balancer the simulated Twilio picks the node of each connection: `fleet.front.pick`.
"""

import asyncio
import itertools
import json
import random
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import trustme
from bench.fleet_proxies import NODES, fleet_proxy
from sqlalchemy.engine import URL
from tests.fleet.agent import PROMPT, FleetAgent, FleetSession, fleet_agent
from tests.fleet.node import NODE_PORT, OPERATOR_PORT, PORT, FleetNode, bytecode
from tests.fleet.places import Loopback, Place
from tests.fleet.programs import require
from tests.fleet.relay import Relay, relay
from tests.fleet.twilio import PUBLIC, FleetCaller, FleetHost
from tests.waiting import until
from tests.whole_server import ACCOUNT, TOKEN, fresh_sid

from offhook.clock import LoopClock
from offhook.testing.simulator.twilio.account.account import SimulatedAccount
from offhook.testing.simulator.twilio.account.resources import AccountNumber
from offhook.testing.simulator.twilio.account.server import serve
from offhook.testing.simulator.twilio.call_report import LegReport
from offhook.testing.simulator.twilio.calls.network import simulated_network
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson, book
from offhook.testing.simulator.twilio.phone import place_call

_RANDOM = random.SystemRandom()

NUMBER: Final = "+12025550100"
KEY: Final = "a-key-of-the-fleet-that-is-long-enough"
WALL: Final = Path(__file__).parent / "wall"
CLOSED_PORT: Final = NODE_PORT + 1
FRAMES: Final = 20
"""Frames after which a caller is in conversation."""


@dataclass(slots=True)
class FleetCall:
    """A call, its caller, and its task."""

    fleet: "Fleet"
    sid: str
    caller: FleetCaller
    task: asyncio.Task[LegReport[FleetCaller]]

    @property
    def report(self) -> LegReport[Any]:
        """What Twilio has seen of it until now."""
        return self.fleet.account.network.ledger.reports[self.sid]

    @property
    def sessions(self) -> list[FleetSession]:
        """Its sessions with the agent."""
        return self.fleet.agent.of(self.sid)

    async def heard(self, frames: int = FRAMES) -> None:
        """Wait until the caller has heard so many frames more, or the call is over."""
        wanted = self.caller.frames + frames
        await until(lambda: self.caller.frames >= wanted or self.task.done())
        assert self.caller.frames >= wanted, self.report.faults

    async def back(self, streams: int = 2) -> None:
        """Wait until the caller hears the agent in that many streams, one after another."""
        await until(lambda: len(self.caller.backs) >= streams or self.task.done())
        assert len(self.caller.backs) >= streams, self.report.faults

    async def hang_up(self) -> LegReport[FleetCaller]:
        """Have the caller hang up, and return the report of the call."""
        self.caller.hang_up()
        return await self.task


class Fleet:
    """What a test needs of a fleet that runs. `fleet` makes one."""

    def __init__(
        self,
        nodes: Mapping[str, FleetNode],
        databases: Mapping[str, Relay],
        front: FleetHost,
        account: SimulatedAccount,
        agent: FleetAgent,
        url: URL,
        place: Place,
    ) -> None:
        self.nodes = nodes
        self.front = front
        self.account = account
        self.agent = agent
        self.place = place
        self.calls: list[FleetCall] = []
        self._databases = databases
        self._url = url

    def node(self, name: str) -> FleetNode:
        return self.nodes[name]

    def database(self, name: str) -> Relay:
        """Return a node's way to the database."""
        return self._databases[name]

    @property
    def databases(self) -> Sequence[Relay]:
        return tuple(self._databases.values())

    async def call(self, *, talks: bool = True, from_: str = "+12025550142") -> FleetCall:
        """Place a call through the balancer, and wait until it talks."""
        sid, caller = fresh_sid(), FleetCaller()
        placed = place_call(
            self.front.url,
            caller,
            clock=self.account.network.clock,
            auth_token=TOKEN,
            account_sid=ACCOUNT,
            from_=from_,
            to=NUMBER,
            call_sid=sid,
            network=self.account.network,
            status_callback=f"{PUBLIC}/twilio/status",
        )
        # Not in a TaskGroup, in which one that goes wrong would end all: `drop_calls` ends it.
        task = asyncio.create_task(placed, name=f"call {sid}")  # noqa: TID251
        call = FleetCall(self, sid, caller, task)
        self.calls.append(call)
        if talks:
            await call.heard()
        return call

    async def talking(self, count: int, at_once: int = 10) -> list[FleetCall]:
        """Place that many calls, and wait until all of them talk."""
        room = asyncio.Semaphore(at_once)

        async def one() -> FleetCall:
            async with room:
                return await self.call()

        return list(await asyncio.gather(*(one() for _ in range(count))))

    async def drop_calls(self) -> None:
        """Cut all calls, and forget them. Raises what went wrong in them, as a group."""
        calls, self.calls = self.calls, []
        for call in calls:
            call.task.cancel()
        ends = await asyncio.gather(*(call.task for call in calls), return_exceptions=True)
        errors = [one for one in ends if isinstance(one, Exception)]
        if errors:
            raise ExceptionGroup("calls went wrong", errors)

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Ask the database, by a way of the test's own."""
        conninfo = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
            cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
            await cursor.execute(query, values or None)
            return await cursor.fetchall() if cursor.description else []

    async def owners(self) -> dict[str, str]:
        """Return the node of each live call, by the directory."""
        rows = await self.rows(
            "select c.call_sid, p.node from fleet_calls c join fleet_processes p"
            " on p.process_id = c.process_id where c.ended_at is null"
        )
        return {row["call_sid"]: row["node"] for row in rows}

    async def owner(self, call: FleetCall) -> FleetNode:
        """Return the node that has a call, by the directory."""
        return self.nodes[(await self.owners())[call.sid]]


def _pick(nodes: Mapping[str, FleetNode]) -> Any:
    turns = itertools.count()

    def pick(path: str) -> str:
        words = path.split("/")
        if words[1:3] == ["twilio", "n"] and len(words) > 3:
            named = nodes.get(words[3])
            if named is not None and named.is_running:
                return named.netloc
        all_of_them = list(nodes.values())
        living = [node for node in all_of_them if node.is_running] or all_of_them
        return living[next(turns) % len(living)].netloc

    return pick


def written(
    folder: Path,
    name: str,
    address: str,
    back: str,
    *,
    database: str,
    agent_url: str,
    api_url: str,
    count: int,
    routed: bool,
    max_sessions: int | None,
    server: Mapping[str, Any],
    agent: str,
    is_alone: bool,
    redacts: bool,
    is_found: bool,
) -> None:
    """Write a node's configuration."""
    config = {
        "server": {
            "host": address,
            "port": PORT,
            "public_url": PUBLIC,
            "capacity": 200,
            "max_lag_ms": 60_000,
            "operator_listen": f"{address}:{OPERATOR_PORT}",
            "operator_hosts": ["localhost", "127.0.0.1", address],
            **server,
        },
        "deepgram": {"url": agent_url, "max_sessions": max_sessions},
        "twilio": {"account_sid": ACCOUNT, "api_url": api_url},
        "records": {"database": database, "redact": {"emails": redacts}},
        "lines": {"default": "agent.yaml"},
        "outbound": {"caller_id": NUMBER},
        "fleet": {
            "node": name,
            "listen": f"{back}:{NODE_PORT}",
            "address": f"http://{back}:{NODE_PORT if is_found else CLOSED_PORT}",
            "routed": routed,
            "nodes": count,
        },
    }
    if is_alone:
        del config["fleet"]
    # A JSON document is a YAML document.
    (folder / "offhook.yaml").write_text(json.dumps(config))
    (folder / "agent.yaml").write_text(
        "settings:\n"
        "  listen: {provider: {type: deepgram, model: nova-3}}\n"
        "  think:\n"
        "    provider: {type: open_ai, model: gpt-4o-mini}\n"
        f'    prompt: "{PROMPT}"\n'
        "  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}\n"
        "  greeting: Hello!\n" + agent
    )


@asynccontextmanager
async def fleet(
    folder: Path,
    database: URL,
    *,
    nodes: Sequence[str] = ("a", "b", "c"),
    balancer: str | None = "haproxy",
    place: Place | None = None,
    routed: bool = True,
    max_sessions: int | None = None,
    limit: int | None = None,
    server: Mapping[str, Any] = {},
    wall: Mapping[str, float] = {},
    start: bool = True,
    agent_file: str = "",
    people: Mapping[str, SimulatedPerson] = {},
    is_alone: bool = False,
    redacts: bool = False,
    lost: str = "",
) -> AsyncIterator[Fleet]:
    """Run a fleet in a folder, over a database that is reached by a Unix socket.

    `balancer` is haproxy or nginx, by the files of deploy/, or None: then `Fleet.front.pick`
    chooses. `max_sessions` is the nodes' budget, `limit` that of the agent. `server` overrides keys
    of `server:`. `wall` are the seconds by which the wall clocks of nodes are ahead. `agent_file`
    is added to the agent's file; `people` can be called. `is_alone`: there is no `fleet:`.
    `redacts`: every event passes through the thread that redacts. `lost` is a node that the others
    do not reach.
    """
    place = place or Loopback()
    clock = LoopClock(asyncio.get_running_loop())
    made: dict[str, FleetNode] = {}
    async with AsyncExitStack() as stack:
        agent = await stack.enter_async_context(fleet_agent(clock, place.host, limit))
        databases = {}
        front_port = _own_port()
        addresses = {name: place.join(name) for name in nodes}
        front = FleetHost(f"127.0.0.1:{front_port}", _pick(made) if balancer is None else None)
        network = await stack.enter_async_context(
            simulated_network(ACCOUNT, front, clock, book(people))
        )
        account = SimulatedAccount(network, TOKEN, numbers=[AccountNumber(NUMBER)])
        api_url = await stack.enter_async_context(serve(account))
        trusted: dict[str, str] = {}
        if place.host != "127.0.0.1":  # credentials go to other machines over TLS alone
            tls, trusted = _authority(folder, place.host)
            rest = relay(int(api_url.rpartition(":")[2]), place.host, tls)
            api_url = "https://{}:{}".format(*(await stack.enter_async_context(rest)).address)
        if balancer is not None:
            require(balancer)
            (folder / "balancer").mkdir()
        for name in nodes:
            way = await stack.enter_async_context(relay(unix_socket(database), place.back_host))
            databases[name] = way
            own = folder / name
            own.mkdir()
            way_host, way_port = way.address
            written(
                own,
                name,
                addresses[name],
                place.back(name),
                database=f"postgresql://postgres@{way_host}:{way_port}/{database.database}",
                agent_url=agent.url,
                api_url=api_url,
                count=len(nodes),
                routed=routed,
                max_sessions=max_sessions,
                server=server,
                agent=agent_file,
                is_alone=is_alone,
                redacts=redacts,
                is_found=name != lost,
            )
            environ = {
                "DEEPGRAM_API_KEY": "any",
                "TWILIO_AUTH_TOKEN": TOKEN,
                "OFFHOOK_FLEET_KEY": KEY,
                "OFFHOOK_API_TOKEN": TOKEN,
                **bytecode(),
                **trusted,
            }
            if name in wall:
                environ |= {"PYTHONPATH": str(WALL), "WALL_CLOCK_AHEAD_S": str(wall[name])}
            made[name] = FleetNode(name, own, addresses[name], environ, place.command(name))
        try:
            if start:
                await _started(made)
            if balancer is not None:
                # Its file has three nodes: at the addresses of those that are left out is nothing.
                at = dict.fromkeys(NODES, "127.0.0.1:1")
                at |= {name: node.netloc for name, node in made.items()}
                proxy = fleet_proxy(balancer, folder / "balancer", front_port, at)
                await stack.enter_async_context(proxy)
            running = Fleet(made, databases, front, account, agent, database, place)
            try:
                yield running
            finally:
                await running.drop_calls()
        finally:
            for node in made.values():
                with suppress(ProcessLookupError):
                    await node.killed()
        told = [node.name for node in made.values() if KEY in node.log]
        assert told == [], "nodes whose log has the fleet's key"


async def _started(nodes: Mapping[str, FleetNode]) -> None:
    first, *others = nodes.values()
    await first.start()  # it makes the database's tables
    async with asyncio.TaskGroup() as group:
        for node in others:
            group.create_task(node.start())


def _authority(folder: Path, host: str) -> tuple[ssl.SSLContext, dict[str, str]]:
    """Return the TLS of an address, and the environment of those who trust it."""
    authority = trustme.CA()
    path = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context, {"SSL_CERT_FILE": str(path)}


def _own_port() -> int:
    """Return a port that is free, and that nobody is given who asks for any."""
    while True:
        port = _RANDOM.randrange(20_000, 32_000)
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)):
                return port


def unix_socket(url: URL) -> str:
    """Return the path of the socket of a database."""
    host = url.query.get("host")
    assert isinstance(host, str), f"{url!r} is not reached by a Unix socket"
    return f"{host}/.s.PGSQL.{url.port or 5432}"
