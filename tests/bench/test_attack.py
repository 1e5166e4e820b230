"""bench.attack: its traffic is sent, and ends no call. What it measures needs cores of its own."""

import argparse
import asyncio
import importlib
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from tests.waiting import until
from tests.whole_server import GREET, TOKEN, configured, whole_server

from offhook.bench.load import sockets
from offhook.bench.load.caller import LoadCaller
from offhook.bench.load.process import Load
from offhook.events.types import AgentConnected
from offhook.testing.scenarios.scenario import ScenarioStep

attack = importlib.import_module("bench.attack")  # no part of what is checked for its types

BYTES_S = 200_000
SECONDS = 0.2


async def test_each_kind_of_hostile_traffic_is_sent_and_ends_no_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attack, "AT_ONCE", dict.fromkeys(attack.AT_ONCE, 20))
    monkeypatch.setattr(attack, "CONNECTIONS", 4)
    monkeypatch.setattr(attack, "SLOW_S", 0.01)
    monkeypatch.setattr(attack, "ROUND_S", 0.01)
    async with whole_server() as h, asyncio.TaskGroup() as group:
        caller = group.create_task(h.call(GREET, ScenarioStep(wait=600)))
        await until(lambda: any(isinstance(each, AgentConnected) for each in h.events()))
        for kind in attack.KINDS:
            while True:  # on a busy machine a turn may be over before anything was sent
                stranger = attack.Stranger(h.server.port, kind, BYTES_S, SECONDS)
                await stranger.attack()
                sends = kind not in (attack.SILENT, attack.ENDING)
                if stranger.sent if sends else stranger.connections:
                    break
        assert h.endings() == []
        assert (await h.http.get(f"{h.origin}/healthz")).status_code == 200
        caller.cancel()


async def test_each_kind_of_traffic_at_a_port_with_tls_is_sent_and_ends_no_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(attack, "AT_ONCE", dict.fromkeys(attack.AT_ONCE, 20))
    monkeypatch.setattr(attack, "CONNECTIONS", 4)
    monkeypatch.setattr(attack, "VOLLEY_S", 0.05)
    chain = tmp_path / "chain.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(chain)
    config = configured("ws://127.0.0.1:9")
    tls = {"tls_cert": chain, "tls_key": chain}
    config = replace(config, server=config.server.model_copy(update=tls))
    async with whole_server(config=config) as h:
        load = Load(20, idle=False)
        load.tls = sockets.unchecked()
        caller = LoadCaller("1", load, 10)
        await caller.call(h.server.port, TOKEN, "bin")
        await until(lambda: any(isinstance(each, AgentConnected) for each in h.events()))
        for kind in attack.TLS_KINDS:
            while True:
                stranger = attack.Stranger(h.server.port, kind, BYTES_S, SECONDS)
                await stranger.attack()
                if stranger.connections if kind == attack.SHAKING else stranger.sent:
                    break
        assert h.endings() == []
        assert not caller.closed.is_set()
        answer = await h.http.get(f"https://127.0.0.1:{h.server.port}/healthz")
        assert answer.status_code == 200
        caller.hang_up()
        await h.until_ended()


def given(**more: float) -> argparse.Namespace:
    return argparse.Namespace(**{"rate": 1_000_000, "seconds": 8.0, **more})


@pytest.mark.parametrize(
    ("kind", "sent", "connections", "is_enough"),
    [
        ("forms of 64 KB", 7_200_000, 100, True),
        ("forms of 64 KB", 7_100_000, 100, False),
        ("small forms, shaped signature", 10_000, 1844, True),
        ("small forms, shaped signature", 10_000, 1800, False),
        (attack.SILENT, 0, 900, True),
        (attack.SILENT, 0, 899, False),
        (attack.SLOW, 10_000, 899, False),
        ("headers byte by byte", 100, 58, True),
        ("headers byte by byte", 100, 57, False),
    ],
)
def test_what_did_not_come_is_not_judged(
    kind: str, sent: int, connections: int, is_enough: bool
) -> None:
    """By the rate, or as many bad connections as the server takes in a second, or as are held."""
    assert attack.was_enough(kind, sent, connections, given()) is is_enough
    judged = attack.Judged(kind, 1.0, 1.0, 0.0, has_come=is_enough)
    assert judged.verdict is (True if is_enough else None)
    assert is_enough or judged.why_not == "too little was sent"


async def test_memory_is_what_there_was_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack, "LOOK_S", 0.0)
    going_on = asyncio.Event()
    seen = iter([10.0, 90.0, 30.0])

    def rss_mb(pid: int) -> float:
        found = next(seen, None)
        if found is None:
            going_on.set()
        return found or 20.0

    monkeypatch.setattr(attack, "rss_mb", rss_mb)

    async def work() -> None:
        await going_on.wait()

    async with asyncio.TaskGroup() as group:
        assert await attack.peak_mb(1, group.create_task(work())) == 90.0


def test_kinds_with_a_port_or_a_pace_of_their_own_are_there() -> None:
    assert (
        attack.KINDS | attack.TLS_KINDS
    ).keys() >= attack.OPERATORS | attack.HELD | attack.AT_ONCE.keys()
