"""bench.attack: its traffic is sent, and ends no call. What it measures needs cores of its own."""

import asyncio
import importlib

import pytest
from tests.waiting import until
from tests.whole_server import GREET, whole_server

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
