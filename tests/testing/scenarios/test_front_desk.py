"""The front desk does what its scenarios expect, and one with a fault in it is found out."""

import asyncio
from pathlib import Path

import pytest
from tests.failures import TOO_BUSY
from tests.testing.dialogue.openai_server import calls, openai, texts
from tests.testing.scenarios import front_desk
from tests.testing.scenarios.front_desk import DIALOGUE, SCENARIOS

from offhook.call.phrases import Phrases
from offhook.testing.simulator.dialogue.completions import Model
from offhook.testing.simulator.dialogue.model_policy import thinking
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech import installed
from offhook.twilio.stream import CallerLeg

HERE = Path(__file__).parent

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


@pytest.mark.long
@pytest.mark.limit(900)  # what fails while this machine is late runs again, alone
async def test_every_scenario_passes_and_every_mutation_is_caught() -> None:
    right = DIALOGUE.read_text()
    async with front_desk.speech_engines() as engines, asyncio.TaskGroup() as group:
        good = group.create_task(front_desk.run([SCENARIOS], front_desk.desk(engines)))
        mutated = {
            name: group.create_task(
                front_desk.run(
                    [SCENARIOS / name],
                    front_desk.desk(engines, front_desk.mutated(right, change)),
                    attempts=1,
                )
            )
            for name, change in MUTATIONS.items()
        }
    assert front_desk.told(good.result()) == ""
    caught = {name: [result.passed for result in run.result()] for name, run in mutated.items()}
    assert caught == {name: [False] for name in MUTATIONS}


@pytest.mark.long
async def test_a_server_that_does_not_stop_the_agent_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CallerLeg, "clear", lambda leg: None)
    names = ("interrupted-by-a-word.yaml", "interrupted-by-a-question.yaml")
    async with front_desk.speech_engines() as engines:
        paths = [SCENARIOS / name for name in names]
        results = await front_desk.run(paths, front_desk.desk(engines), attempts=1)
    judged = [result for result in results if result.late is None]
    if not judged:
        pytest.skip(f"{TOO_BUSY} to judge")
    assert [result.name for result in judged if result.passed] == []
    failures = [failure.what for result in judged for failure in result.all_failures]
    assert any("the agent was silent" in failure for failure in failures), failures


async def test_the_twentieth_scenario_goes_through_a_language_model() -> None:
    booking = '{"day": "friday", "time": "19:00", "people": 2}'
    async with openai() as server, front_desk.speech_engines() as engines:
        server.plans = [
            texts("We are open from nine to six. ", "The kitchen closes at five. " * 3),
            texts("Of course, what else?"),
            calls(("call_1", "book_table", booking)),
            texts("It is booked ", "for you."),
        ]
        async with thinking(front_desk.desk(engines), Model(server.url, "small")) as agent:
            results = await front_desk.run([HERE / "a_model.yaml"], agent)
        assert front_desk.told(results) == ""
        asked = server.requests[-1]["messages"]
    assert asked[-1]["role"] == "tool"
    assert "table" in asked[-1]["content"]


@pytest.mark.skipif(installed.missing() is not None, reason="there is no recogniser here")
async def test_from_outside_the_words_are_recognised_in_what_the_caller_hears(
    tmp_path: Path,
) -> None:
    path = tmp_path / "outside.yaml"
    path.write_text(
        f"dialogue: {DIALOGUE.resolve()}\n"
        "steps:\n"
        "  - wait_for_agent\n"
        "  - say: Are you open on Saturday?\n"
        "  - expect: {matches: '(ten|four|afternoon)', means: hours, timeout: 8}\n"
        "  - hang_up\n"
        "expect: {absent: what time, turns: 2}\n"
    )
    async with front_desk.speech_engines() as engines:
        (result,) = await front_desk.run([path], front_desk.desk(engines), outside=True)
    assert result.how.startswith("recognised in the caller's audio")
    heard = " ".join(line.text for line in result.calls["caller"].lines() if line.who == "agent")
    assert "we close at four" in heard or "saturday" in heard
    assert [str(failure) for failure in result.all_failures] == []


def test_the_desk_knows_what_the_server_says_after_a_loss() -> None:
    """Else it would answer that it cannot help with that, in the scenario of the lost agent."""
    assert f"    - {' '.join(words(Phrases().go_on))}\n" in DIALOGUE.read_text()


def test_there_are_twenty_of_every_kind() -> None:
    files = sorted(SCENARIOS.glob("*.yaml"))
    assert len(files) >= 20
    assert sum("barge_in" in file.read_text() for file in files) >= 5
