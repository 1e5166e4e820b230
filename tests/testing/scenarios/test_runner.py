"""What is judged, when, and again: a judge that was late blames nobody."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from offhook import yamlfile
from offhook.clock import Clock, LoopClock
from offhook.concurrency.thread_job import in_thread
from offhook.errors import UserError
from offhook.testing.scenarios import hearing, lateness, runner
from offhook.testing.scenarios.caller import CallReport
from offhook.testing.scenarios.deadlines import OverdueError, within
from offhook.testing.scenarios.hearing import Hearing, NoWords
from offhook.testing.scenarios.lateness import Lateness, watching
from offhook.testing.scenarios.results import ScenarioResult
from offhook.testing.scenarios.runner import ScenarioRun, ScenarioServer, Target
from offhook.testing.scenarios.scenario import Loaded, Scenario, ScenarioStep
from offhook.testing.simulator.speech.answer_delays import AnswerDelays

TARGET = Target("http://127.0.0.1:1/nobody", None, "AC" + "0" * 32)


def case(
    listen: Callable[[str], Hearing] = lambda sid: NoWords(),
    server: Callable[[Clock], AbstractAsyncContextManager[ScenarioServer]] | None = None,
    *,
    slow: bool = False,
) -> ScenarioRun:
    """A scenario whose only call reaches nobody, which is a failure."""
    document = yamlfile.parse("steps: [hang_up]", Path("a.yaml"))
    loaded = Loaded(Scenario(steps=(ScenarioStep.model_validate("hang_up"),)), document)

    @asynccontextmanager
    async def opened(clock: Clock) -> AsyncIterator[ScenarioServer]:
        yield ScenarioServer(TARGET, listen)

    return ScenarioRun(loaded, {}, None, "", server or opened, slow)


async def run(
    *cases: ScenarioRun,
    jobs: int = 4,
    attempts: int = runner.ATTEMPTS,
    ended: list[ScenarioResult] | None = None,
) -> list[ScenarioResult]:
    told: list[ScenarioResult] = [] if ended is None else ended
    clock = LoopClock(asyncio.get_running_loop())
    return await runner.run(cases, clock, jobs=jobs, attempts=attempts, ended=told.append)


def hold() -> None:
    """Let the loop do nothing for longer than a judge may be late."""
    time.sleep(2 * lateness.HELD_S)


def holding(times: int) -> Callable[[str], Hearing]:
    """Hold the loop at the beginning of so many calls."""
    left = [times]

    def listen(sid: str) -> Hearing:
        left[0] -= 1
        if left[0] >= 0:
            hold()
        return NoWords()

    return listen


async def test_a_failure_while_the_judge_was_late_is_not_the_agents() -> None:
    ended: list[ScenarioResult] = []
    (result,) = await run(case(holding(99)), ended=ended)
    assert not result.passed
    assert not result.is_judged
    assert result.attempts == runner.ATTEMPTS
    assert result.late is not None
    assert result.late.worst >= lateness.HELD_S
    assert ended == [result]


async def test_it_runs_again_when_all_others_are_over_and_is_judged_then() -> None:
    live: list[str] = []
    beside: list[int] = []

    class Listed(NoWords):
        def __init__(self, name: str) -> None:
            live.append(name)
            beside.append(len(live))

        async def finish(self) -> None:
            live.pop()

    late = holding(1)

    def listen(sid: str) -> Hearing:
        late(sid)
        return Listed("late")

    ended: list[ScenarioResult] = []
    await run(case(listen), case(lambda sid: Listed("other")), ended=ended)
    assert [result.attempts for result in ended if result.attempts > 1]
    assert beside[-1] == 1
    assert len(ended) == 2


async def test_nobody_is_called_until_every_slow_server_of_the_round_is_open() -> None:
    happened: list[str] = []

    @asynccontextmanager
    async def slow(clock: Clock) -> AsyncIterator[ScenarioServer]:
        happened.append("opening")
        await asyncio.sleep(0)
        hold()
        happened.append("open")
        yield ScenarioServer(TARGET, calling)

    def calling(sid: str) -> Hearing:
        happened.append("calling")
        return NoWords()

    cases = [case(calling), *(case(server=slow, slow=True) for _ in range(3)), case(calling)]
    results = await run(*cases, jobs=2, attempts=1)  # this machine may be late, too
    assert [result.loaded for result in results] == [one.loaded for one in cases]
    first, second = happened.index("calling"), len(happened) - 1 - happened[::-1].index("open")
    assert happened[:first].count("open") == 2
    assert happened[second + 1 :] == ["calling"]


async def test_a_failure_while_speech_engines_were_late_is_not_the_agents() -> None:
    delays = AnswerDelays(iter(range(1000)).__next__)

    def listen(sid: str) -> Hearing:
        delays.ask(usual_s=0.0).answered(0.0)
        return NoWords()

    clock = LoopClock(asyncio.get_running_loop())
    (result,) = await runner.run([case(listen)], clock, jobs=1, delays=delays)
    assert not result.passed
    assert not result.is_judged
    assert result.attempts == runner.ATTEMPTS
    assert "speech engines up to 1.0 s" in str(result.late)


@pytest.mark.parametrize("step", ["open", "close"])
async def test_a_server_that_hangs_is_a_failure_of_its_scenario_and_holds_no_other(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = asyncio.Event()

    @asynccontextmanager
    async def hanging(clock: Clock) -> AsyncIterator[ScenarioServer]:
        async with asyncio.TaskGroup():  # so that the error comes in a group
            if step == "open":
                async with within(0.01, "Opening the records"):
                    await hangs.wait()
            yield ScenarioServer(TARGET, lambda sid: NoWords())
            async with within(0.01, "Opening the records"):
                await hangs.wait()

    cases = [case(server=hanging, slow=True), case(slow=True), case()]
    bad, *others = await run(*cases, attempts=1)
    told = [str(failure) for failure in bad.failures]
    assert told == ["E-REH-07 Opening the records took longer than 0.01 s."]
    assert len(bad.calls) == (step == "close"), "a call that was made is in the result"
    assert [len(other.calls) for other in others] == [1, 1]
    assert all("E-REH-07" not in str(each) for other in others for each in other.all_failures)


async def test_a_call_that_the_server_does_not_place_fails_its_scenario_alone() -> None:
    async def refuse(*_: object) -> CallReport:
        raise UserError("E-OUT-12", "As many calls as may be are ringing.", "Ask again.")

    @asynccontextmanager
    async def opened(clock: Clock) -> AsyncIterator[ScenarioServer]:
        yield ScenarioServer(TARGET, lambda sid: NoWords(), place=refuse)

    scenario = Scenario.model_validate(
        {
            "config": "x.yaml",
            "script": {"turns": []},
            "placed": {"agent": "a"},
            "steps": ["hang_up"],
            "telephones": {"+12025550142": {}},
        }
    )
    plain = case(server=opened)
    placed = replace(plain, loaded=replace(plain.loaded, scenario=scenario))
    refused, other = await run(placed, case(), attempts=1)
    assert ["E-OUT-12 As many" in str(each) for each in refused.failures] == [True]
    assert refused.calls == {}
    assert other.calls


async def test_words_that_never_come_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "WORDS_S", 0.01)
    pending = hearing.PendingWords()
    pending._begin()
    with pytest.raises(OverdueError, match="Recognising what the caller heard took longer"):
        await pending.finish()
    pending._end()
    await pending.finish()


async def test_work_in_a_thread_raises_what_it_raised_and_may_be_left_behind() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0, "rehearsal")
    free = threading.Event()
    with pytest.raises(OverdueError):
        async with within(0.01, "It"):
            await in_thread(free.wait, "rehearsal")
    (thread,) = [each for each in threading.enumerate() if each.name == "rehearsal"]
    assert thread.daemon
    free.set()
    thread.join()


async def test_a_time_limit_of_the_block_itself_is_not_taken_for_the_deadline() -> None:
    with pytest.raises(TimeoutError):
        async with within(60, "It"):
            raise TimeoutError


def test_a_little_late_is_not_too_much() -> None:
    assert not Lateness(worst=0.1, behind=0.5, watched=10, answers=0.2).is_too_much
    assert Lateness(watched=10, answers=0.3).is_too_much
    assert Lateness(worst=0.3, behind=0.3, watched=10).is_too_much
    assert Lateness(worst=0.1, behind=2.0, watched=10).is_too_much


async def test_a_loop_that_is_held_to_the_end_is_late() -> None:
    async with watching() as late:
        await asyncio.sleep(0)
        hold()
    assert late.is_too_much
