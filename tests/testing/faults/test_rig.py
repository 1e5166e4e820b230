"""The fault rig over real sockets: what the server sees of an end that commits a fault."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx2
import pytest
from tests.waiting import until

from offhook.clock import LoopClock
from offhook.net import websocket
from offhook.testing.faults.armed import ArmedFaults
from offhook.testing.faults.fault import MOMENTS, FaultyEnd, read
from offhook.testing.faults.frames import BINARY, FrameReader, make
from offhook.testing.faults.proxy import (
    Peer,
    Upstream,
    fault_proxy,
    moments,
    moments_of_rest,
)
from offhook.testing.faults.rig import FaultRig, fault_rig
from offhook.testing.simulator.deepgram import server as standin
from offhook.testing.simulator.deepgram.script import Script, Stage
from offhook.testing.simulator.deepgram.standin import SessionPhase, StandIn

SETTINGS = json.dumps(
    {
        "type": "Settings",
        "audio": {
            "input": {"encoding": "mulaw", "sample_rate": 8000},
            "output": {"encoding": "mulaw", "sample_rate": 8000, "container": "none"},
        },
        "agent": {
            "listen": {"provider": {"type": "deepgram", "model": "nova-3"}},
            "think": {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}, "prompt": "Hi."},
            "speak": {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}},
            "greeting": "Hello! How can I help you today?",
        },
    }
).encode()
AGENT = Script(welcome=Stage(after_ms=0), settings=Stage(after_ms=0))


class Server:
    """The server's end of an agent's socket, which sends Settings at Welcome."""

    def __init__(self) -> None:
        self.channel: websocket.Channel
        self.texts: list[bytes] = []
        self.audio = 0
        self.closed: websocket.Closed | None = None

    def on_open(self, socket: websocket.Channel) -> None:
        self.channel = socket

    def on_text(self, text: bytes) -> None:
        self.texts.append(text)
        if b'"Welcome"' in text:
            self.channel.send_text(SETTINGS)

    def on_binary(self, data: bytes) -> None:
        self.audio += len(data)

    def on_writable(self, writable: bool) -> None: ...

    def on_close(self, closed: websocket.Closed) -> None:
        self.closed = closed

    def has(self, text: bytes) -> bool:
        return any(text in one for one in self.texts)


@asynccontextmanager
async def rigged(*specs: str) -> AsyncIterator[tuple[FaultRig, list[StandIn]]]:
    """A stand-in with a rig in front of it; no task may be left behind."""
    clock = LoopClock(asyncio.get_running_loop())
    sessions: list[StandIn] = []
    agent = await standin.serve("127.0.0.1", 0, AGENT, clock, sessions.append)
    faults = [read(spec) for spec in specs]
    async with fault_rig(faults, clock, agent_url=agent.url, server_port=1) as rig:
        yield rig, sessions
    assert [task for task in asyncio.all_tasks() if task.get_name() == "fault proxy"] == []
    await agent.close()


async def dialled(rig: FaultRig) -> Server:
    server = Server()
    await websocket.connect(
        rig.agent_url,
        server,
        headers={"Authorization": "Token any"},
        timeout=60,
        max_size=2**20,
    )
    return server


@pytest.mark.parametrize(
    ("spec", "received", "seen"),
    [
        ("agent:close@audio", 1005, b'"SettingsApplied"'),
        ("agent:close=1011@audio+50", 1011, b'"SettingsApplied"'),
        ("agent:close=4321@0.1", 4321, b'"Welcome"'),
        ("agent:close=1001@applied", 1001, b'"Welcome"'),
        ("agent:drop@audio", None, b'"SettingsApplied"'),
        ("agent:reset@audio", None, b'"SettingsApplied"'),
        ("agent:noise@applied", None, b'"Welcome"'),
        ("agent:error=SERVER_GOING_AWAY@audio", 1005, b'"SERVER_GOING_AWAY"'),
    ],
)
async def test_the_server_sees_how_the_agent_ends(
    spec: str, received: int | None, seen: bytes
) -> None:
    async with rigged(spec) as (rig, sessions):
        server = await dialled(rig)
        await until(lambda: server.closed is not None)
        assert server.closed is not None
        assert server.closed.received == received
        assert server.has(seen)
        # The agent's own end is over, too.
        await until(lambda: sessions[0].phase is SessionPhase.OVER)
        assert rig.armed.never() == []
        assert (await dialled(rig)).closed is None, "a fault happens once"


@pytest.mark.parametrize("spec", ["agent:status=503", "agent:refuse", "agent:status=429@dial"])
async def test_an_opening_is_refused_as_often_as_was_said(spec: str) -> None:
    async with rigged(f"{spec}*2") as (rig, _):
        for _ in range(2):
            with pytest.raises((websocket.UpgradeRefusedError, websocket.UnreachableError)):
                await dialled(rig)
        assert (await dialled(rig)).closed is None


async def test_messages_are_lost_added_and_swapped() -> None:
    specs = (
        "agent:garbage=2@applied",
        "agent:unknown@applied",
        "agent:error-open=X@applied",
        "agent:warning=Y@applied",
    )
    async with rigged(*specs) as (rig, _):
        server = await dialled(rig)
        await until(lambda: server.audio > 0)
        told = [json.loads(one) for one in server.texts if one.endswith(b"}")]
        kinds = [one["type"] for one in told]
        assert kinds[:5] == ["Welcome", "SomethingNew", "Error", "Warning", "SettingsApplied"]
        assert [one["code"] for one in told[2:4]] == ["X", "Y"]
        assert sum(not one.endswith(b"}") for one in server.texts) == 2
        assert server.closed is None
    async with rigged("agent:mute@applied") as (rig, sessions):
        server = await dialled(rig)
        await until(lambda: bool(sessions) and sessions[0].audio_sent > 0)
        assert [json.loads(one)["type"] for one in server.texts] == ["Welcome"]
    async with rigged("agent:reorder@applied") as (rig, _):
        server = await dialled(rig)
        await until(lambda: server.audio > 0)
        kinds = [json.loads(one)["type"] for one in server.texts]
        assert kinds[:2] == ["Welcome", "ConversationText"]
        assert "SettingsApplied" in kinds


async def test_a_stall_a_delay_and_a_dribble_lose_nothing() -> None:
    for spec in ("agent:stall=0.2@applied", "agent:latency=200@applied", "agent:dribble=90000"):
        async with rigged(spec) as (rig, sessions):
            server = await dialled(rig)
            await until(partial(server.has, b'"AgentAudioDone"'))
            assert server.audio == sessions[0].audio_sent
            assert server.closed is None


async def test_who_is_gone_half_open_hears_nothing_and_says_nothing() -> None:
    async with rigged() as (rig, sessions):
        server = await dialled(rig)
        await until(lambda: server.audio > 0)
        assert rig.strike(read("agent:half-open"))
        await until(lambda: sessions[0].closed is not None)
        server.channel.send_text(b'{"type":"KeepAlive"}')
        assert server.closed is None
        server.channel.abort()
        await until(lambda: not rig.strike(read("agent:drop")))


async def test_a_flood_is_read_at_the_servers_pace() -> None:
    async with rigged() as (rig, _):
        server = await dialled(rig)
        await until(lambda: server.audio > 0)
        before = server.audio
        assert rig.strike(read("agent:flood=60"))
        await until(lambda: server.audio >= before + 60 * 8000)


async def test_a_fault_can_be_of_one_call_alone() -> None:
    async with rigged() as (rig, _):
        first, second = await dialled(rig), await dialled(rig)
        await until(lambda: first.audio > 0 and second.audio > 0)
        assert not rig.strike(read("agent:drop"), {"another"})
        ids = {json.loads(first.texts[0])["request_id"]}
        assert rig.strike(read("agent:drop"), ids)
        await until(lambda: first.closed is not None)
        assert second.closed is None


async def test_webhooks_are_doubled_and_answered_otherwise() -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b" ")[1] + b" " + await reader.readexactly(3))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    faults = ["webhook:doubled@after", "webhook:status=502@voice", "webhook:refuse@status"]
    clock = LoopClock(asyncio.get_running_loop())
    armed = ArmedFaults(clock, [read(spec) for spec in [*faults, "webhook:late=0.05@after"]])
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        fault_proxy(Upstream("127.0.0.1", port), clock, armed, Peer.TWILIO) as proxy,
        httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as http,
    ):
        url = f"http://127.0.0.1:{proxy.port}/twilio"
        assert (await http.post(f"{url}/after", content=b"a=1")).text == "ok"
        assert asked == [b"/twilio/after a=1"] * 2
        assert (await http.post(f"{url}/voice?x=1", content=b"a=2")).status_code == 502
        assert asked[2:] == [b"/twilio/voice?x=1 a=2"], "the server had it all the same"
        with pytest.raises(httpx2.TransportError):
            await http.post(f"{url}/status", content=b"a=3")
        assert (await http.post(f"{url}/status", content=b"a=4")).text == "ok"
        assert armed.never() == []
        assert len(armed.happened) == 4
    server.close()


def test_the_moments_of_a_request_are_those_of_its_path_and_of_its_fields() -> None:
    assert moments("/twilio/voice", "CallSid=CA1") == ["voice"]
    assert moments("/twilio/n/b/amd?place=3", "AnsweredBy=human") == ["amd"]
    assert moments("/twilio/after?person=7", "Digits=1") == ["after", "keys", "person"]
    assert moments("/twilio/after?last", "Digits=&RecordingSid=RE1") == [
        "after",
        "keys",
        "recording",
    ]
    assert moments("/twilio/stream-status", "StreamEvent=stream-error") == ["stream-status"]
    assert set(MOMENTS[FaultyEnd.WEBHOOK]) >= {"voice", "amd", "keys", "recording", "person"}


async def test_rest_requests_are_refused_and_done_without_an_answer() -> None:
    clock = LoopClock(asyncio.get_running_loop())
    specs = ["rest:lost@place", "rest:status=503@change", "rest:refuse@read"]
    armed = ArmedFaults(clock, [read(spec) for spec in specs])
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r")[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    api = Upstream("127.0.0.1", server.sockets[0].getsockname()[1])
    async with (
        fault_proxy(api, clock, armed, Peer.REST_API) as proxy,
        httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as http,
    ):
        calls = f"http://127.0.0.1:{proxy.port}/2010-04-01/Accounts/AC1/Calls"
        with pytest.raises(httpx2.TransportError):
            await http.post(f"{calls}.json")
        assert asked == [b"POST /2010-04-01/Accounts/AC1/Calls.json HTTP/1.1"], "it is done"
        assert (await http.post(f"{calls}/CA1.json")).status_code == 503
        with pytest.raises(httpx2.TransportError):
            await http.get(f"{calls}/CA1.json")
        assert len(asked) == 1, "a request that is refused does nothing"
        assert (await http.post(f"{calls}/CA1.json")).text == "ok"
        assert armed.never() == []
    server.close()


def test_the_moments_of_a_rest_request_are_those_of_its_resource() -> None:
    path = "/2010-04-01/Accounts/AC1"
    assert moments_of_rest("POST", f"{path}/Calls.json") == ["place"]
    assert moments_of_rest("POST", f"{path}/Calls/CA1.json") == ["change"]
    assert moments_of_rest("GET", f"{path}/Calls/CA1.json") == ["read"]
    assert moments_of_rest("GET", f"{path}/Calls.json?To=%2B1") == ["read"]
    assert moments_of_rest("GET", f"{path}/IncomingPhoneNumbers.json") == []
    assert set(MOMENTS[FaultyEnd.REST]) == {"place", "change", "read"}


def test_frames_are_read_from_any_pieces() -> None:
    sizes = (0, 1, 125, 126, 65535, 65536)
    sent = [make(BINARY, bytes(i % 251 for i in range(size)), masked=True) for size in sizes]
    reader = FrameReader()
    stream = b"".join(sent)
    frames = [
        frame for at in range(0, len(stream), 997) for frame in reader.feed(stream[at : at + 997])
    ]
    assert [len(frame.payload) for frame in frames] == list(sizes)
    assert [frame.raw for frame in frames] == sent
    assert frames[3].payload == bytes(i % 251 for i in range(126))
