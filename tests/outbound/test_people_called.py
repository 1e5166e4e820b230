"""People and machines that are rung on a simulated account, by a real server, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.api.desk import Desk, desk
from tests.outbound.twilio_api import PUBLIC, US, configured_for
from tests.waiting import until
from tests.whole_server import ACCOUNT, ASK, GREET, HANG_UP, TOKEN, caller

from offhook.clock import LoopClock
from offhook.events.types import AgentSaid, CallBilled, CallerSaid
from offhook.outbound import outbound_calls
from offhook.testing.simulator.twilio.account.account import RestFault, SimulatedAccount
from offhook.testing.simulator.twilio.account.resources import AccountNumber
from offhook.testing.simulator.twilio.account.server import serve
from offhook.testing.simulator.twilio.call_report import CallParty, LegReport
from offhook.testing.simulator.twilio.calls.network import (
    Callbacks,
    SimulatedNetwork,
    simulated_network,
)
from offhook.testing.simulator.twilio.calls.people import MachineGreeting, SimulatedPerson, book
from offhook.testing.simulator.twilio.webhooks import RehearsedHost

ADA = "+12025550142"
LEAVE = {"answering_machine": "leave_message", "message": "Dear {{name}}, please ring back."}
AWKWARD = Callbacks(late_s=0.1, twice=True, out_of_order=True)


class Town:
    """Whoever can be rung, and the desk that rings them."""

    def __init__(self, network: SimulatedNetwork, account: SimulatedAccount, desk: Desk) -> None:
        self.network = network
        self.account = account
        self.desk = desk

    async def ring(self, key: str = "key", to: str = ADA) -> Any:
        body = {"to": to, "agent": "seed", "variables": {"name": "Ada"}}
        headers = {"Idempotency-Key": key}
        answer = await self.desk.ask("/api/v1/calls", method="POST", body=body, headers=headers)
        return answer.json()

    async def over(self, sid: str) -> LegReport[CallParty]:
        await until(lambda: self.network.legs[sid].over)
        state: dict[str, Any] = {"final": False, "status": "queued"}
        async with asyncio.timeout(240):
            while not state["final"]:
                path = f"/api/v1/calls/{sid}/status?seen={state['status']}&wait_s=10"
                state = (await self.desk.ask(path)).json()
        return self.network.ledger.reports[sid]


@asynccontextmanager
async def town(
    folder: Path,
    people: Mapping[str, SimulatedPerson],
    callbacks: Callbacks = Callbacks(),  # noqa: B008 - it is frozen
    **options: Any,
) -> AsyncIterator[Town]:
    clock = LoopClock(asyncio.get_running_loop())
    nowhere = RehearsedHost("http://127.0.0.1:1/twilio/voice", TOKEN, PUBLIC)
    async with simulated_network(ACCOUNT, nowhere, clock, book(people), callbacks) as network:
        account = SimulatedAccount(network, TOKEN, numbers=[AccountNumber(US)])
        async with (
            serve(account) as origin,
            desk(folder, change=configured_for(origin), **options) as made,
        ):
            network.host = RehearsedHost(f"{made.whole.origin}/twilio/voice", TOKEN, PUBLIC)
            yield Town(network, account, made)


@pytest.mark.parametrize("callbacks", [Callbacks(), AWKWARD], ids=["as they come", "awkward"])
async def test_a_person_talks_with_the_agent(tmp_path: Path, callbacks: Callbacks) -> None:
    ada = SimulatedPerson(after_s=0.3, caller=lambda: caller(GREET, ASK, GREET, HANG_UP))
    async with town(tmp_path, {ADA: ada}, callbacks) as made:
        sid = (await made.ring())["call_sid"]
        report = await made.over(sid)
        assert report.faults == []
        # Twilio's question after the stream may settle the call; the bill comes with the callback.
        await until(lambda: any(isinstance(e, CallBilled) for e in made.desk.whole.events(sid)))
        events = made.desk.whole.events(sid)
        assert any(isinstance(event, CallerSaid) for event in events)
        assert sum(isinstance(event, AgentSaid) for event in events) >= 2
        assert made.desk.whole.endings(sid) == ["caller_hung_up"]
        assert [e.status for e in events if isinstance(e, CallBilled)] == ["completed"]
        assert len(made.network.ledger.rung) == 1
        # Nobody waits for a verdict: the agent is heard at once.
        answered = report.answered_at
        assert report.streams[0].started_at - answered < 1.0


async def test_a_machine_is_hung_up_on(tmp_path: Path) -> None:
    machine = SimulatedPerson(after_s=0.1, machine=MachineGreeting(greeting_s=4.0))
    async with town(tmp_path, {ADA: machine}, AWKWARD) as made:
        sid = (await made.ring())["call_sid"]
        report = await made.over(sid)
        assert made.desk.whole.endings(sid) == ["machine_answered"]
        assert report.ended_at - report.answered_at < 4.0


async def test_a_machine_gets_the_message_after_its_tone(tmp_path: Path) -> None:
    machine = SimulatedPerson(after_s=0.1, machine=MachineGreeting(greeting_s=3.0))
    async with town(tmp_path, {ADA: machine}, AWKWARD, outbound=LEAVE) as made:
        sid = (await made.ring())["call_sid"]
        report = await made.over(sid)
        assert made.desk.whole.endings(sid) == ["message_left"]
        said = [verb.text for verb in report.verbs if verb.name == "Say"]
        assert said == ["Dear Ada, please ring back."]
        [message] = [span for span in report.line if span.sound == "say"]
        assert message.began - report.answered_at >= 3.4  # the greeting and the tone are over
        assert made.network.ledger.redirected == []


async def test_a_machine_that_answers_into_the_announcement_gets_the_message_too(
    tmp_path: Path,
) -> None:
    machine = SimulatedPerson(after_s=0.1, machine=MachineGreeting(greeting_s=2.5))
    announcement = "This call may be monitored, so that we can learn from what went wrong in it."
    async with town(tmp_path, {ADA: machine}, outbound=LEAVE, announcement=announcement) as made:
        sid = (await made.ring())["call_sid"]
        report = await made.over(sid)
        assert made.desk.whole.endings(sid) == ["message_left"]
        said = [verb.text for verb in report.verbs if verb.name == "Say"]
        assert said[-1] == "Dear Ada, please ring back."
        assert len(made.network.ledger.redirected) == 1


@pytest.mark.parametrize(
    ("person", "slug"),
    [
        (SimulatedPerson("busy", after_s=0.1), "line_busy"),
        (SimulatedPerson("declines", after_s=0.1), "line_busy"),
        (SimulatedPerson("no-answer", after_s=0.5), "not_answered"),
        (SimulatedPerson("failed"), "call_failed"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_whoever_is_not_reached(tmp_path: Path, person: SimulatedPerson, slug: str) -> None:
    async with town(tmp_path, {ADA: person}, AWKWARD) as made:
        sid = (await made.ring())["call_sid"]
        await made.over(sid)
        assert made.desk.whole.endings(sid) == [slug]


async def test_a_creation_without_an_answer_rings_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound_calls, "LOOKS_S", (0.05,))
    async with town(tmp_path, {ADA: SimulatedPerson("busy", after_s=0.3)}) as made:
        made.account.faults.append(RestFault(503, acted=True))
        sid = (await made.ring())["call_sid"]
        await made.over(sid)
        assert (await made.ring()) == {"call_sid": sid, "again": True}
        assert len(made.network.ledger.rung_at(ADA)) == 1


async def test_too_many_requests_are_repeated_and_ring_once(tmp_path: Path) -> None:
    async with town(tmp_path, {ADA: SimulatedPerson("busy", after_s=0.1)}) as made:
        made.account.faults += [RestFault(429, 20429), RestFault(429, 20429)]
        sid = (await made.ring())["call_sid"]
        await made.over(sid)
        assert len(made.network.ledger.rung) == 1


@pytest.mark.parametrize(("code", "word"), [(21215, "country"), (21219, "trial")])
async def test_what_twilio_refuses_is_told_in_words(tmp_path: Path, code: int, word: str) -> None:
    async with town(tmp_path, {}) as made:
        made.account.refused = {ADA: code}
        told = await made.ring()
        assert told["code"] == "E-TW-03"
        assert word in told["detail"]
        assert made.network.ledger.rung == []
