"""Which process of a fleet answers a request of Twilio's, in memory."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from offhook.calls.forwarded import ForwardedWebhook, WebhookAnswer
from offhook.fleet.places import CallPlace, DirectoryAwayError, FleetProcess
from offhook.webhooks.elsewhere import KnownSubjects, OtherNodes

SID, LEG = "CA" + "1" * 32, "CA" + "2" * 32
OURS, OLD, NEW, B, C = "0" * 32, "1" * 32, "2" * 32, "b" * 32, "c" * 32
THERE = WebhookAnswer(200, "<Response/>", "text/xml")


def process(
    process_id: str,
    node: str,
    *,
    alive: bool = True,
    draining: bool = False,
    live: int = 0,
    capacity: int = 10,
) -> FleetProcess:
    mine = process_id == OURS
    return FleetProcess(process_id, node, "http://x", alive, draining, live, capacity, mine)


FLEET = [
    process(OURS, "a"),
    process(OLD, "b", draining=True),
    process(B, "b", live=5),
    process(C, "c", live=2),
]


class Fleet:
    """Other processes in a test's hands; `knows` are those that know what is asked."""

    def __init__(self, *knows: str, processes: list[FleetProcess] = FLEET) -> None:
        self.asked: list[str] = []
        self.knows = knows
        self.place: CallPlace | None = None
        self.is_away = False
        self.live: set[str] = set()
        self.people: set[str] = set()
        self.is_draining = False
        calls = SimpleNamespace(
            registry=SimpleNamespace(find=self._known, pending_lookup=lambda _: None),
            transfers=SimpleNamespace(knows=lambda person: person in self.people),
        )
        self.registry = calls.registry
        known = KnownSubjects(cast("Any", calls), None)
        self.others = OtherNodes(
            "a",
            cast("Any", calls),
            known,
            processes=lambda: processes,
            find=self._find,
            forward=self._forward,
        )

    def _known(self, call_sid: str) -> str | None:
        return call_sid if call_sid in self.live else None

    async def _find(self, call_sid: str) -> CallPlace | None:
        if self.is_away:
            raise DirectoryAwayError
        return self.place

    async def _forward(self, process_id: str, webhook: ForwardedWebhook) -> WebhookAnswer | None:
        self.asked.append(process_id)
        return THERE if process_id in self.knows else None

    async def ask(self, name: Any, node: str = "", **form: str) -> bool:
        """Ask; return whether another process has answered."""
        self.registry.is_draining = self.is_draining
        webhook = ForwardedWebhook(name, {"CallSid": SID, **form}, "https://x")
        return await self.others.answer(webhook, node) is not None


def at(process_id: str, *, mine: bool = False) -> CallPlace:
    values: dict[str, Any] = dict.fromkeys(CallPlace._fields, False)
    return CallPlace(**{**values, "call_sid": SID, "process_id": process_id, "is_mine": mine})


@pytest.mark.parametrize("name", ["status", "stream-status", "amd"])
async def test_a_report_about_a_call_goes_to_its_owner(name: str) -> None:
    fleet = Fleet(C)
    fleet.place = at(C)
    assert await fleet.ask(name, "b")
    assert fleet.asked == [C]
    fleet.live.add(SID)
    assert not await fleet.ask(name, "b"), "it is ours"
    assert fleet.asked == [C]


@pytest.mark.parametrize("place", [at(""), at(OURS, mine=True)])
async def test_a_report_about_nobodys_call_is_answered_here(place: CallPlace) -> None:
    fleet = Fleet(B, C)
    fleet.place = place
    assert not await fleet.ask("status", "b")
    assert fleet.asked == []


@pytest.mark.parametrize("is_away", [True, False])
async def test_a_report_about_a_call_without_a_place_goes_to_the_node_in_its_path(
    is_away: bool,
) -> None:
    fleet = Fleet(B)
    fleet.is_away = is_away
    assert await fleet.ask("status", "b")
    assert fleet.asked == [B]
    assert not await fleet.ask("status"), "there is no node in the path"


@pytest.mark.parametrize("query", [{"person": "p"}, {"placing": "x" * 16}])
async def test_a_leg_is_of_the_node_in_its_path(query: dict[str, str]) -> None:
    fleet = Fleet(OLD)
    assert await fleet.ask("status", "b", **query)
    assert fleet.asked == [B, OLD], "the newest process first; it does not know the person"
    fleet.asked.clear()
    assert not await fleet.ask("status", "a", **query)
    assert fleet.asked == [], "this node has no other process"
    fleet.people.add("p")
    if "person" in query:
        assert not await fleet.ask("status", "b", **query)
        assert fleet.asked == [], "the person is called for a caller of ours"


async def test_a_call_of_another_is_left_to_the_flow_of_its_caller() -> None:
    fleet = Fleet(C)
    fleet.place = at(C)
    assert not await fleet.ask("after", "c")
    assert not await fleet.ask("voice", "c")
    assert fleet.asked == []


async def test_a_draining_process_has_others_take_new_calls() -> None:
    fleet = Fleet(C)
    fleet.is_draining = True
    assert await fleet.ask("voice", "a")
    assert fleet.asked == [C], "it has the most room"
    fleet = Fleet(B)
    fleet.is_draining = True
    assert await fleet.ask("voice", "a")
    assert fleet.asked == [C, B]
    fleet.live.add(SID)
    assert not await fleet.ask("voice", "a"), "it is a repetition of our own call's"


async def test_no_process_takes_a_new_call_that_is_full_dead_or_drains() -> None:
    fleet = Fleet(
        OLD,
        NEW,
        B,
        C,
        processes=[
            process(OURS, "a"),
            process(OLD, "b", draining=True),
            process(NEW, "b", alive=False),
            process(B, "b", live=10),
            process(C, "c", capacity=0),
        ],
    )
    fleet.is_draining = True
    assert not await fleet.ask("voice", "a")
    assert fleet.asked == []
