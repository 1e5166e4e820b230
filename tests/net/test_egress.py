"""Where the server may connect: what an operator wrote, and hosts of the internet."""

import ast
import asyncio
import ipaddress
import re
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from tests.calls.test_lookup import AGENT, Target, agent, reply, target
from tests.sources import syntax_tree

import offhook
from offhook.deepgram.settings import accept
from offhook.net import egress, tls
from offhook.net.addresses import is_outside, is_public
from offhook.net.egress import ForbiddenAddressError
from offhook.yamlfile import InvalidFileError

SOURCES = Path(offhook.__file__).parent

CONNECTS = {
    # What connects, and where its address comes from.
    "deepgram/connection.py": ["websocket.connect"],  # deepgram.url, or --deepgram-url
    "dev/session.py": ["asyncio.open_connection"],  # where its own server listens
    "doctor/agent_session.py": ["websocket.connect"],  # likewise
    "doctor/examination.py": ["httpx2.AsyncClient"],  # egress.py's
    "doctor/public_url.py": ["httpx2.AsyncClient"],  # likewise
    "doctor/twilio.py": ["httpx2.AsyncClient"],  # likewise
    "net/egress.py": ["httpx2.AsyncClient"],  # else the address is checked
    "cli/api_client.py": ["httpx2.AsyncClient"],  # --url, or server.port on this machine
    "calls/lookup.py": ["httpx2.AsyncClient"],  # no client of its own: it is given egress.py's
    "serving/composition.py": ["httpx2.AsyncClient"],  # likewise
    "twilio/rest.py": ["httpx2.AsyncClient"],  # likewise
    "link/node_links.py": ["websocket.connect"],  # an address of the list of nodes
    "net/websocket.py": ["picows.ws_connect"],  # what its callers, above, say
}
"""Everything that opens a connection, but for the tools of rehearsal and bench, which call the
server that whoever runs them names."""

OPENER = re.compile(
    r"httpx2\.(Client|AsyncClient|get|post|put|delete|request|stream|HTTPTransport)"
    r"|(websocket|picows)\.(connect|ws_connect)"
    r"|(asyncio|loop|self\._loop)\.(open_connection|create_connection|open_unix_connection)"
    r"|socket\.create_connection|urllib\.request\..*|http\.client\..*|picows\.ws_connect"
    r"|(aiohttp|urllib3|websockets|httpcore2)\..*"
)
LIBRARIES = {"requests", "aiohttp", "urllib3", "websockets", "httpcore2"}
"""Any import of these counts: `requests` alone is a module of ours as well."""
NAMED = re.compile(
    "httpx2|websocket|picows|open_connection|create_connection|open_unix_connection|urllib|client"
    "|" + "|".join(LIBRARIES)
)
"""Without one of these a module opens nothing: to parse all takes a second."""


def opened(tree: ast.Module) -> list[str]:
    """What a module calls or passes on that can open a connection."""
    names = (ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    known = {name for name in names if OPENER.fullmatch(name)}
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if OPENER.fullmatch(f"{node.module}.{alias.name}") or node.module in LIBRARIES
    } | {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name in LIBRARIES
    }
    return sorted(known | imported)


def test_everything_that_opens_a_connection_is_known() -> None:
    found = {}
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES).as_posix()
        if name.startswith(("testing/", "bench/")):
            continue
        text = path.read_text("utf-8")
        if NAMED.search(text) and (opens := opened(syntax_tree(text))):
            found[name] = opens
    assert found == CONNECTS


def test_no_url_has_a_variable_in_it(tmp_path: Path) -> None:
    text = AGENT.replace(
        "provider: {type: open_ai, model: gpt-4o-mini}\n",
        """\
provider: {type: open_ai, model: gpt-4o-mini}
    endpoint: {url: "https://llm.example/{{customer}}", headers: {}}
    functions:
      - {name: f, description: d, endpoint: {url: "https://f.example/{{customer}}", method: post}}
""",
    )
    made = agent(tmp_path, "{url: 'https://crm.example/{{customer}}'}", text)
    desk = made.lines["default"]
    values = {"customer": "x@169.254.169.254/", "debt": "1"}
    lookup = desk.filled(values).lookup
    assert lookup is not None
    assert lookup.url == "https://crm.example/{{customer}}"
    message = desk.settings.message(fill=lambda text: text.replace("{{customer}}", "Ada")).decode()
    assert "https://llm.example/{{customer}}" in message
    assert "https://f.example/{{customer}}" in message
    assert made.addresses == ("https://crm.example/{{customer}}",)


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
        *("192.168.1.1", "169.254.169.254", "100.100.100.200", "192.0.0.192", "198.18.0.1"),
        *("224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
        *("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "2002:7f00:1::"),
        *("64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1::1", "2001::1", "2001:db8::1"),
    ],
)
def test_addresses_that_are_not_of_the_internet(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::"]
)
def test_addresses_of_the_internet(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses())
def test_nothing_special_is_public(address: Any) -> None:
    if is_public(address):
        assert address.is_global
        special = address.is_private or address.is_loopback or address.is_multicast
        assert not special


@pytest.mark.parametrize(
    ("url", "outside"),
    [
        ("https://llm.example.com/v1", True),
        ("https://8.8.8.8/", True),
        ("https://[2606:4700::1111]/", True),
        ("http://169.254.169.254/latest", False),
        ("http://metadata.google.internal/", False),
        ("http://127.1/", False),
        ("http://0x7f000001/", False),
        ("http://2130706433/", False),
        ("http://localhost:8080/", False),
        ("http://a.localhost./", False),
        ("http://[::1]/", False),
        ("http://[fe80::1%25eth0]/", False),
        ("http://user@10.0.0.1/", False),
        ("http://postgres/", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_urls_that_lead_outside(url: str, outside: bool) -> None:
    assert is_outside(url) is outside


@pytest.mark.parametrize("part", ["think", "speak"])
def test_a_change_over_the_api_has_deepgram_ask_nobody_inside(part: str) -> None:
    def block(url: str) -> dict[str, Any]:
        provider = {"type": "open_ai", "model": "gpt-4o-mini"}
        if part == "speak":
            provider = {"type": "deepgram", "model": "aura-2-thalia-en"}
        return {"provider": provider, "endpoint": {"url": url, "headers": {}}}

    settings = accept({"think": {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}}})[0]
    inside = "http://169.254.169.254/latest/meta-data/"
    for bad in (block(inside), [block("https://llm.example.com/"), block(inside)]):
        with pytest.raises(InvalidFileError, match="not a host of the internet") as refused:
            settings.change(part, bad)  # type: ignore[arg-type]
        assert "169.254" not in str(refused.value)
    settings.change(part, block("https://llm.example.com/v1"))  # type: ignore[arg-type]
    if part == "think":
        function = {"name": "f", "description": "d", "endpoint": {"url": inside, "method": "get"}}
        with pytest.raises(InvalidFileError, match="not a host of the internet"):
            settings.change("think", {**block("https://llm.example.com/"), "functions": [function]})


# --- requests ------------------------------------------------------------------------------------


class Names:
    """A name server in a test's hands: each question gets the next of its answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self.connected: list[str] = []
        monkeypatch.setattr(egress, "_resolved", self.resolved)

    async def resolved(self, host: str, port: int | None) -> list[str]:
        self.asked.append(host)
        answers = self.answers[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "LOCALHOST."),
        *("[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"),
    ],
)
async def test_this_machine_is_not_reached_however_it_is_written(host: str) -> None:
    async with target() as t, egress.client(()) as http:
        port = httpx2.URL(t.url).port
        with pytest.raises((httpx2.ConnectError, httpx2.InvalidURL)):
            await http.post(f"http://{host}:{port}/who", json={})
        assert t.asked == []


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "https://10.0.0.7/"],
)
async def test_metadata_and_private_networks_are_not_reached(url: str) -> None:
    async with egress.client(()) as http:
        with pytest.raises(ForbiddenAddressError) as refused:
            await http.get(url)
    assert "169" not in str(refused.value)


async def test_what_the_operator_wrote_is_reached() -> None:
    async with target() as t, egress.client((t.url,)) as http:
        assert (await http.post(t.url, json={})).status_code == 200
        assert (await http.post(t.url.replace("/who", "/other"), json={})).status_code == 200
        port = httpx2.URL(t.url).port
        with pytest.raises(ForbiddenAddressError):  # another origin, though the same machine
            await http.post(f"http://localhost:{port}/who", json={})
    async with target() as other, egress.client((t.url,)) as http:
        with pytest.raises(ForbiddenAddressError):
            await http.post(other.url, json={})


async def test_a_redirect_leads_nowhere_else() -> None:
    async with target() as inner, target() as t:
        t.answer = reply(b"", "307 Temporary Redirect", f"Location: {inner.url}\r\n")
        async with egress.client((t.url,)) as http:
            assert (await http.post(t.url, json={})).status_code == 307
            with pytest.raises(ForbiddenAddressError):
                await http.post(t.url, json={}, follow_redirects=True)
        assert inner.asked == []


@asynccontextmanager
async def internet(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Target, Names]]:
    """A host of the internet, and a name server. What is connected to 93.184.216.34 is it."""
    async with target() as t:
        port = httpx2.URL(t.url).port
        names = Names(monkeypatch)
        direct = httpx2.AsyncHTTPTransport.handle_async_request

        async def connect(self: Any, request: httpx2.Request) -> httpx2.Response:
            names.connected.append(request.url.host)
            if request.url.host == "93.184.216.34":
                request.url = request.url.copy_with(host="127.0.0.1", port=port)
            return await direct(self, request)

        monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", connect)
        yield t, names


async def test_a_name_is_resolved_once_and_what_was_checked_is_connected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with internet(monkeypatch) as (t, names), egress.client(()) as http:
        names.answers["rebind.example"] = [["93.184.216.34"], ["127.0.0.1"]]
        answer = await http.post("http://rebind.example/who", json={})
        assert answer.status_code == 200
        assert names.asked == ["rebind.example"]
        assert names.connected == ["93.184.216.34"]
        assert b"host: rebind.example" in t.headers[0].lower()
        with pytest.raises(ForbiddenAddressError):  # the next answer of that name server
            await http.post("http://rebind.example/who", json={})


async def test_one_bad_address_among_good_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    async with internet(monkeypatch) as (t, names), egress.client(()) as http:
        names.answers["both.example"] = [["93.184.216.34", "10.0.0.1"]]
        names.answers["none.example"] = [[]]
        for host in ("both.example", "none.example"):
            with pytest.raises(ForbiddenAddressError):
                await http.post(f"http://{host}/who", json={})
        assert t.asked == []


async def test_tls_is_checked_against_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("good.example").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    made = Target()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setattr(egress, "is_public", lambda _: True)
    names = Names(monkeypatch)
    names.answers["good.example"] = names.answers["bad.example"] = [["127.0.0.1"]]
    try:
        async with egress.client((), verify=trusting) as http:
            answer = await http.post(f"https://good.example:{port}/who", json={})
            assert answer.status_code == 200
            with pytest.raises(httpx2.ConnectError, match="CERTIFICATE"):
                await http.post(f"https://bad.example:{port}/who", json={})
    finally:
        server.close()
        await server.wait_closed()


def counted_loading(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the thread of each loading of the authorities."""
    threads: list[int] = []
    load = tls.verifying

    def watched() -> ssl.SSLContext:
        threads.append(threading.get_ident())
        return load()

    monkeypatch.setattr(tls, "verifying", watched)
    return threads


async def test_the_authorities_are_loaded_beside_the_loop_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = counted_loading(monkeypatch)
    async with egress.client(("https://127.0.0.1:9",)) as http:
        asked = (http.get("https://127.0.0.1:9/") for _ in range(3))
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [httpx2.ConnectError] * 3, "nothing is there"
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_a_request_without_tls_needs_no_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = counted_loading(monkeypatch)
    async with target() as t, egress.client((t.url,)) as http:
        assert (await http.post(t.url, json={})).status_code == 200
    assert threads == []


async def test_authorities_that_cannot_be_loaded_fail_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> ssl.SSLContext:
        raise FileNotFoundError

    monkeypatch.setattr(tls, "verifying", broken)
    async with egress.client(("https://127.0.0.1",)) as http:
        with pytest.raises(httpx2.ConnectError, match="authorities"):
            await http.get("https://127.0.0.1/")
