"""The front desk does what its scenarios expect, and one with a fault in it is found out."""

import asyncio
from pathlib import Path

import pytest
from tests.rehearsal.trial import front_desk
from tests.rehearsal.trial.front_desk import DIALOGUE, SCENARIOS, Senses
from tests.rehearsal.trial.knowing import KnowingEars

from offhook.rehearsal.clip_voice import ClipVoice
from offhook.rehearsal.trial.account import Result
from offhook.twilio.leg import CallerLeg


@pytest.fixture
def senses() -> Senses:
    return Senses(KnowingEars, ClipVoice())


@pytest.mark.timeout(240)
async def test_every_scenario_passes(senses: Senses) -> None:
    results = await front_desk.rehearse([SCENARIOS], senses)
    assert len(results) >= 20
    assert front_desk.told(results) == ""


MUTATIONS = {
    "hours.yaml": ("nine in the morning until six", "nine in the morning until five"),
    "booking-at-once.yaml": (
        "  book_table:  ",
        "  book_table:\n    arguments: {day: $day, time: $time}\n    #",
    ),
    "order-status.yaml": ("arguments: {number: $digits}", "arguments: {}"),
    "said-again.yaml": ("  again: {repeat: true}", "  again: {say: goodbye, end: true}"),
}
"""What is wrong, by the scenario that finds it: the hours; a slot lost; another; the agent hangs up
too early."""


@pytest.mark.timeout(120)
async def test_a_front_desk_with_a_fault_in_it_is_caught(senses: Senses) -> None:
    right = DIALOGUE.read_text()

    async def caught(name: str, change: tuple[str, str]) -> Result:
        dialogue = front_desk.mutated(right, change)
        (result,) = await front_desk.rehearse([SCENARIOS / name], senses, dialogue=dialogue)
        return result

    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(caught(name, change)) for name, change in MUTATIONS.items()]
    assert [run.result().name for run in runs if run.result().passed] == []


@pytest.mark.timeout(120)
async def test_a_server_that_does_not_stop_the_agent_is_caught(
    senses: Senses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CallerLeg, "clear", lambda leg: None)
    paths = [SCENARIOS / "interrupted-by-a-word.yaml", SCENARIOS / "interrupted-twice.yaml"]
    results = await front_desk.rehearse(paths, senses)
    for result in results:
        assert any("the agent was silent" in failure.what for failure in result.all_failures)


def test_there_are_twenty_of_every_kind() -> None:
    files = sorted(Path(SCENARIOS).glob("*.yaml"))
    barge_ins = [file for file in files if "barge_in" in file.read_text()]
    assert len(files) >= 20
    assert len(barge_ins) >= 5
