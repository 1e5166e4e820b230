"""What is judged, when, and again: a judge that was late blames nobody."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from offhook import yamlfile
from offhook.clock import Clock, LoopClock
from offhook.testing.scenarios import lateness, runner
from offhook.testing.scenarios.hearing import Hearing, NoWords
from offhook.testing.scenarios.lateness import Lateness, watching
from offhook.testing.scenarios.results import ScenarioResult
from offhook.testing.scenarios.runner import ScenarioRun, ScenarioServer, Target
from offhook.testing.scenarios.scenario import Loaded, Scenario, ScenarioStep

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


async def test_nobody_is_called_until_every_slow_house_of_the_round_is_open() -> None:
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


def test_a_little_late_is_not_too_much() -> None:
    assert not Lateness(worst=0.1, behind=0.5, watched=10).is_too_much
    assert Lateness(worst=0.3, behind=0.3, watched=10).is_too_much
    assert Lateness(worst=0.1, behind=2.0, watched=10).is_too_much


async def test_a_loop_that_is_held_to_the_end_is_late() -> None:
    async with watching() as late:
        await asyncio.sleep(0)
        hold()
    assert late.is_too_much
