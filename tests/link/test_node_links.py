"""Links between nodes, over real sockets: who may open one, and what passes there."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx2
import msgspec
import pytest
import trustme
from tests.link.test_link import Orders, outcome
from tests.waiting import until

from offhook.clock import LoopClock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.link import client as client_module
from offhook.link.client import CallProcess
from offhook.link.messages import (
    LINE_MAX,
    NumberedOrder,
    PerformedOperation,
    PerformOperation,
    ReadMetrics,
)
from offhook.link.node_credential import (
    LINK_PATH,
    NODE_HEADER,
    NONCES_MAX,
    WINDOW_S,
    NodeCredentials,
    NodeRefusedError,
    code,
    make,
)
from offhook.link.node_lines import NodeLines
from offhook.link.node_links import NodeLinks, NotHereError
from offhook.link.node_listener import NodeListener
from offhook.link.orders import LinkOrders
from offhook.link.server import LinkServer
from offhook.link.streams import OfferedStreams
from offhook.net import websocket
from offhook.net.tls import MutualTls, mutual
from offhook.serving.listen import listen

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
PROCESS, OTHER_PROCESS = "a" * 32, "b" * 32
NOW_MS = 1_700_000_000_000
HANG_UP = PerformOperation.of("CA" + "1" * 32, "hang-up", {}, "ada")


class FleetClock:
    """The database's clock, in a test's hands."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.ahead_ms = 0

    def __call__(self) -> int:
        return NOW_MS + self.ahead_ms + round(1000 * (time.monotonic() - self.began))


class Rig:
    """A node with a listener, and what another node needs to open links to it."""

    def __init__(self, port: int, orders: Orders, server: LinkServer, scheme: str = "http") -> None:
        self.address = f"{scheme}://127.0.0.1:{port}"
        self.orders = orders
        self.server = server
        self.now_ms = FleetClock()
        self.links = NodeLinks("b", KEY, self.now_ms)
        self.streams: OfferedStreams
        self.listener: NodeListener

    def process(self, links: NodeLinks | None = None, process_id: str = PROCESS) -> CallProcess:
        return CallProcess.of(process_id, "a", self.address, links or self.links)

    async def upgrade(self, path: str, headers: dict[str, str]) -> int:
        """Ask for an upgrade; return the status of the answer."""
        try:
            socket = await websocket.connect(
                self.address.replace("http", "ws") + path,
                Raw(),
                headers=headers,
                timeout=240,
                max_size=2**20,
                tls=self.links.tls,
            )
        except websocket.UpgradeRefusedError as refused:
            return refused.status
        socket.abort()
        return 101


class Raw:
    """The client's end of a link in a test's hands."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.closed: asyncio.Future[websocket.Closed] = asyncio.get_running_loop().create_future()

    def on_open(self, socket: websocket.Channel) -> None:
        self.socket = socket

    def on_text(self, text: bytes) -> None:
        self.got.append(text)

    def on_binary(self, data: bytes) -> None:
        self.got.append(data)

    def on_writable(self, writable: bool) -> None:
        pass

    def on_close(self, closed: websocket.Closed) -> None:
        self.closed.set_result(closed)


@asynccontextmanager
async def node(tls: ssl.SSLContext | None = None) -> AsyncIterator[Rig]:
    async with asyncio.TaskGroup() as group:
        orders = Orders()
        streams = OfferedStreams(LoopClock(asyncio.get_running_loop()))
        sock = listen("127.0.0.1", 0)
        clock: list[FleetClock] = []
        server = LinkServer(
            cast("LinkOrders", orders), ServerTasks(group), streams, lambda: clock[0]()
        )
        rig = Rig(sock.getsockname()[1], orders, server, "http" if tls is None else "https")
        clock.append(rig.now_ms)
        credentials = NodeCredentials((KEY,), PROCESS, lambda: ("a", "b"), rig.now_ms)
        rig.streams = streams
        rig.listener = NodeListener(sock, credentials, server.attend, tls=tls)
        rig.listener.open()
        try:
            yield rig
        finally:
            rig.listener.close()
            server.close()


# --- the credential ------------------------------------------------------------------------------


def credentials(now_ms: int = NOW_MS, *keys: bytes) -> NodeCredentials:
    return NodeCredentials(keys or (KEY,), PROCESS, lambda: ("a", "b"), lambda: now_ms)


def refusal(checks: NodeCredentials, header: str) -> str:
    with pytest.raises(NodeRefusedError) as refused:
        checks.check(header)
    return refused.value.why


def test_a_right_credential_is_good_once() -> None:
    made, checks = make(KEY, "b", PROCESS, NOW_MS), credentials()
    sender, keys = checks.check(made.header)
    assert (sender, keys) == ("b", made.keys)
    assert keys.of_client != keys.of_server
    assert refusal(checks, made.header) == "replayed"
    assert checks.check(make(KEY, "b", PROCESS, NOW_MS).header)[1] != keys


@pytest.mark.parametrize("late_ms", [-1000 * WINDOW_S, 1000 * WINDOW_S])
def test_a_credential_is_good_for_a_while(late_ms: int) -> None:
    credentials(NOW_MS + late_ms).check(make(KEY, "b", PROCESS, NOW_MS).header)
    late_ms += 1 if late_ms > 0 else -1
    header = make(KEY, "b", PROCESS, NOW_MS).header
    assert refusal(credentials(NOW_MS + late_ms), header) == "expired"


def test_a_nonce_is_kept_for_as_long_as_its_credential_may_be_good() -> None:
    now = [NOW_MS]
    checks = NodeCredentials((KEY,), PROCESS, lambda: ("b",), lambda: now[0])
    early = make(KEY, "b", PROCESS, NOW_MS + 1000 * WINDOW_S).header
    checks.check(early)
    now[0] = NOW_MS + 2000 * WINDOW_S
    checks.check(make(KEY, "b", PROCESS, now[0]).header)
    assert refusal(checks, early) == "replayed"
    now[0] += 1
    checks.check(make(KEY, "b", PROCESS, now[0]).header)
    assert refusal(checks, early) == "expired"


def test_with_too_many_nonces_nobody_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offhook.link.node_credential.NONCES_MAX", 3)
    assert NONCES_MAX > 10_000
    checks = credentials()
    for _ in range(3):
        checks.check(make(KEY, "b", PROCESS, NOW_MS).header)
    assert refusal(checks, make(KEY, "b", PROCESS, NOW_MS).header) == "replayed"


def test_every_key_of_a_rotation_is_good() -> None:
    old, new = make(OTHER_KEY, "b", PROCESS, NOW_MS), make(KEY, "b", PROCESS, NOW_MS)
    both = credentials(NOW_MS, KEY, OTHER_KEY)
    assert both.check(old.header)[1] == old.keys
    assert both.check(new.header)[1] == new.keys
    assert refusal(credentials(), old.header) == "wrong"


def altered(at: int, part: str) -> str:
    """Return a right credential with another part in one place."""
    parts = make(KEY, "b", PROCESS, NOW_MS).header.split()
    parts[at] = part
    return " ".join(parts)


BAD: dict[str, tuple[Callable[[], str], str]] = {
    "none": (lambda: "", "malformed"),
    "a blank": (lambda: make(KEY, "b", PROCESS, NOW_MS).header + " ", "malformed"),
    "capitals": (lambda: make(KEY, "b", PROCESS, NOW_MS).header.upper(), "malformed"),
    "another version": (lambda: altered(0, "v2"), "malformed"),
    "no name": (lambda: altered(1, "../b"), "malformed"),
    "a negative time": (lambda: altered(3, f"-{NOW_MS}"), "malformed"),
    "another key": (lambda: make(OTHER_KEY, "b", PROCESS, NOW_MS).header, "wrong"),
    "an empty key": (lambda: make(b"", "b", PROCESS, NOW_MS).header, "wrong"),
    "another sender": (lambda: altered(1, "a"), "wrong"),
    "another target": (lambda: altered(2, OTHER_PROCESS), "wrong"),
    "another time": (lambda: altered(3, str(NOW_MS + 1)), "wrong"),
    "another nonce": (lambda: altered(4, "A" * 22), "wrong"),
    "another code": (lambda: altered(5, "0" * 64), "wrong"),
    "late": (lambda: make(KEY, "b", PROCESS, NOW_MS - 1000 * WINDOW_S - 1).header, "expired"),
    "early": (lambda: make(KEY, "b", PROCESS, NOW_MS + 3000 * WINDOW_S).header, "expired"),
    "of 1970": (lambda: make(KEY, "b", PROCESS, 0).header, "expired"),
    "for another": (lambda: make(KEY, "b", OTHER_PROCESS, NOW_MS).header, "foreign"),
    "of no node": (lambda: make(KEY, "c", PROCESS, NOW_MS).header, "unknown"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_credential_is_refused(what: str) -> None:
    header, why = BAD[what]
    assert refusal(credentials(), header()) == why


# --- the listener --------------------------------------------------------------------------------

PATHS = (
    *(LINK_PATH, LINK_PATH + "/", LINK_PATH + "?a=1", LINK_PATH + "%0a", "//node/v1/link"),
    *("/", "/node", "/node/v1", "/node/v1/orders", "/node/v1/streams/x", "/healthz", "/readyz"),
    *("/twilio", "/twilio/voice", "/twilio/n/a/voice", "/metrics", "/api/v1/calls", "/docs"),
)


async def test_one_path_is_served_and_no_bad_credential_opens_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent = {what: bad for what, bad in BAD.items() if what != "a blank"}  # HTTP trims it
    async with node() as a:
        for path in PATHS:
            for header, why in sent.values():
                headers = {NODE_HEADER: header()} if header() else {}
                status = await a.upgrade(path, headers)
                wanted = {"foreign": 421}.get(why, 403) if path == LINK_PATH else 404
                assert status == wanted, (path, why)
        good = make(KEY, "b", PROCESS, a.now_ms()).header
        for path in PATHS[1:]:
            assert await a.upgrade(path, {NODE_HEADER: good}) == 404, path
        assert await a.upgrade(LINK_PATH, {NODE_HEADER: good}) == 101
        assert await a.upgrade(LINK_PATH, {NODE_HEADER: good}) == 403, "replayed"
        assert a.orders.got == []
        refused = [line for line in caplog.messages if line.startswith("E-LINK-08")]
        assert len(refused) == 1 + len(sent)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
async def test_no_request_but_an_upgrade_is_served(method: str) -> None:
    async with node() as a, httpx2.AsyncClient(trust_env=False, verify=False, timeout=240) as http:
        for path in PATHS:
            headers = {NODE_HEADER: make(KEY, "b", PROCESS, a.now_ms()).header}
            answer = await http.request(method, a.address + path, headers=headers)
            assert answer.status_code == 404, (method, path)


# --- what passes on a link -----------------------------------------------------------------------


async def test_an_order_is_obeyed_and_answered() -> None:
    async with node() as a:
        a.orders.answer = lambda _: PerformedOperation("done", "the call is over")
        process = a.process()
        done = await process.perform(HANG_UP.call_sid, "hang-up", {}, "ada")
        assert done == PerformedOperation("done", "the call is over")
        assert a.orders.got[0] == HANG_UP
        process.close()


async def test_a_long_result_passes() -> None:
    async with node() as a:
        a.orders.answer = lambda _: "x" * (LINE_MAX - 1000)
        process = a.process()
        assert len(await process.metrics()) == LINE_MAX - 1000
        process.close()


async def test_an_order_that_is_given_up_is_withdrawn() -> None:
    async with node() as a, asyncio.TaskGroup() as group:
        a.orders.answer = lambda order: asyncio.Event().wait() if order == HANG_UP else None
        process = a.process()
        asking = group.create_task(process.perform(HANG_UP.call_sid, "hang-up", {}, "ada"))
        await until(lambda: HANG_UP in a.orders.got)
        asking.cancel()
        await until(lambda: a.orders.cancelled == [HANG_UP])
        process.close()


async def test_a_stream_passes_both_ways() -> None:
    async with node() as a:
        theirs, ours = Raw(), Raw()
        process = a.process()
        token = a.streams.offer(theirs, lambda: None)
        channel = await process.join(token, ours)
        channel.send_text(b'{"to": "them"}')
        await until(lambda: theirs.got == [b'{"to": "them"}'])
        theirs.socket.send_text(b'{"to": "us"}')
        await until(lambda: ours.got == [b'{"to": "us"}'])
        theirs.socket.close(1000, "the call is over")
        closed = await ours.closed
        assert (closed.received, closed.reason) == (1000, "the call is over")
        again = Raw()
        await process.join(token, again)
        assert (await again.closed).received == 1008
        process.close()


async def test_another_process_at_the_address_is_not_the_one_that_was_meant() -> None:
    async with node() as a:
        process = a.process(process_id=OTHER_PROCESS)
        with pytest.raises(NotHereError):
            await process.metrics()
        assert a.orders.got == []


@pytest.mark.parametrize("links", [{"key": OTHER_KEY}, {"node": "c"}])
async def test_a_refused_node_learns_that_nothing_was_done(links: dict[str, Any]) -> None:
    async with node() as a:
        process = a.process(replace(a.links, **links))
        error = await outcome(process.perform(HANG_UP.call_sid, "hang-up", {}, "ada"))
        assert (error.code, "Nothing was done" in error.what) == ("E-LINK-07", True)


async def test_an_order_that_comes_too_late_is_refused_and_never_run() -> None:
    async with node() as a:
        process = a.process()
        await outcome(process.metrics())  # the link is open
        a.orders.got.clear()
        holds_ms = round(1000 * (client_module.BEGIN_S - client_module.MARGIN_S))

        def before() -> int:
            return a.now_ms() - holds_ms - 1

        late = a.process(replace(a.links, now_ms=before))
        error = await outcome(late.perform(HANG_UP.call_sid, "hang-up", {}, "ada"))
        assert error.code == "E-LINK-06"
        assert HANG_UP not in a.orders.got
        late.close()
        process.close()


async def test_a_node_that_reads_nothing_is_given_up_and_reads_no_order_later() -> None:
    """As of a node that is stopped: its system accepts, and holds what is sent."""
    async with node() as a:
        process = a.process()
        await outcome(process.metrics())
        a.orders.got.clear()
        (connection,) = a.server._connections
        cast("NodeLines", connection.lines).read(False)
        began = time.monotonic()
        error = await outcome(process.perform(HANG_UP.call_sid, "hang-up", {}, "ada"))
        assert error.code == "E-LINK-07"
        assert time.monotonic() - began >= client_module.BEGIN_S * 0.9
        cast("NodeLines", connection.lines).read(True)
        await until(lambda: not a.server._connections)
        assert HANG_UP not in a.orders.got
        process.close()


async def test_an_ended_node_is_not_reached() -> None:
    async with node() as a:
        process = a.process()
    error = await outcome(process.metrics())
    assert error.code == "E-LINK-07"


# --- forged lines --------------------------------------------------------------------------------

Forge = Callable[[bytes, bytes, bytes], list[bytes]]


def forged(message: bytes) -> bytes:
    return bytes([message[0] ^ 1]) + message[1:]


FORGED: dict[str, Forge] = {
    "a changed code": lambda first, second, key: [forged(first)],
    "a changed line": lambda first, second, key: [first[:-2] + b" }"],
    "no code": lambda first, second, key: [first[16:]],
    "nothing": lambda first, second, key: [b""],
    "a line twice": lambda first, second, key: [first, first],
    "a line left out": lambda first, second, key: [second],
    "lines in another order": lambda first, second, key: [second, first],
    "the other side's key": lambda first, second, key: [code(key, 1, first[16:]) + first[16:]],
}


@pytest.mark.parametrize("what", FORGED)
async def test_a_forged_line_is_not_obeyed_and_ends_the_link(what: str) -> None:
    async with node() as a:
        made = make(KEY, "b", PROCESS, a.now_ms())
        raw = Raw()
        socket = await websocket.connect(
            a.address.replace("http", "ws") + LINK_PATH,
            raw,
            headers={NODE_HEADER: made.header},
            timeout=240,
            max_size=2**20,
        )
        lines = [msgspec.json.encode(NumberedOrder(number, ReadMetrics())) for number in (1, 2)]
        first, second = (
            code(made.keys.of_client, number, line) + line
            for number, line in enumerate(lines, start=1)
        )
        messages = FORGED[what](first, second, made.keys.of_server)
        for message in messages:
            socket.send_binary(message)
        closed = await raw.closed
        assert closed.received == 1002
        assert len(a.orders.got) == (1 if what == "a line twice" else 0)


# --- mutual TLS ----------------------------------------------------------------------------------


def contexts(folder: Path, ca: trustme.CA, name: str = "127.0.0.1") -> MutualTls:
    """Contexts of a node whose certificate that authority has signed for that name."""
    issued = ca.issue_cert(name)
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    return mutual(folder / "cert.pem", folder / "key.pem", folder / "ca.pem")


async def test_links_over_mutual_tls(tmp_path: Path) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    right, foreign = contexts(tmp_path, ours), contexts(tmp_path, theirs)
    unnamed = contexts(tmp_path, ours, "10.9.9.9")
    bare = ssl.create_default_context()
    ours.configure_trust(bare)
    async with node(right.server) as a:
        a.orders.answer = lambda _: "metrics"
        process = a.process(replace(a.links, tls=right.client))
        assert await process.metrics() == "metrics"
        process.close()
        a.orders.got.clear()
        for context in (foreign.client, bare):
            refused = a.process(replace(a.links, tls=context))
            assert (await outcome(refused.metrics())).code == "E-LINK-07"
            refused.close()
        assert a.orders.got == []
    async with node(unnamed.server) as a:  # the certificate is of another host
        process = a.process(replace(a.links, tls=right.client))
        assert (await outcome(process.metrics())).code == "E-LINK-07"
        assert a.orders.got == []
