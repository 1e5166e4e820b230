"""Going through a list with a server in a test's hands: how many at once, what stops it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.waiting import settled, until

from offhook.errors import UserError
from offhook.outbound import list_run
from offhook.outbound.contacts import Contact
from offhook.outbound.errors import TryLaterError, UncertainError
from offhook.outbound.list_progress import ListProgress
from offhook.outbound.list_run import CallOutcome, ListRun


def people(count: int) -> list[Contact]:
    return [Contact(n + 2, f"+1202555{n:04}", None, {"n": str(n)}) for n in range(count)]


class Server:
    """An Asking that answers as its `problems` say, by number, and ends calls when it is told."""

    def __init__(self) -> None:
        self.rung: list[str] = []
        self.given: list[dict[str, str]] = []
        self.keys: dict[str, str] = {}
        self.live = 0
        self.most = 0
        self.ends = asyncio.Event()
        self.ends.set()
        self.problems: dict[str, list[UserError]] = {}

    async def place(self, to: str, variables: Mapping[str, str], zone: str | None, key: str) -> str:
        await asyncio.sleep(0)
        if self.problems.get(to):
            raise self.problems[to].pop(0)
        if key not in self.keys:
            self.keys[key] = f"CA{to}"
            self.rung.append(to)
            self.given.append(dict(variables))
            self.live += 1
            self.most = max(self.most, self.live)
        return self.keys[key]

    async def outcome_of(self, sid: str, seen: str | None) -> CallOutcome:
        await asyncio.sleep(0)
        if seen is None:
            return CallOutcome("ringing", final=False)
        await self.ends.wait()
        self.live -= 1
        return CallOutcome("busy", True, "line_busy", "busy")


def run(folder: Path, server: Server, those: list[Contact], at_once: int = 3) -> ListRun:
    progress = ListProgress(folder / "people.csv", "seed")
    return ListRun(those, progress, server, at_once=at_once, variables={"n": "x", "shop": "Ours"})


async def test_everybody_is_rung_once_and_so_many_at_once(tmp_path: Path) -> None:
    server = Server()
    report = await run(tmp_path, server, people(20)).run()
    assert server.rung == [person.number for person in people(20)]
    assert server.most == 3
    assert server.given[7] == {"n": "7", "shop": "Ours"}
    assert report.whole
    assert dict(report.outcomes) == {"line_busy": 20}


async def test_whoever_was_rung_before_is_not_rung_again(tmp_path: Path) -> None:
    server = Server()
    with ListProgress(tmp_path / "people.csv", "seed") as progress:
        await ListRun(people(5), progress, server, at_once=2).run()
    with ListProgress(tmp_path / "people.csv", "seed") as progress:
        report = await ListRun(people(8), progress, server, at_once=2).run()
    assert len(server.rung) == 8
    assert (report.before, report.outcomes.total(), report.whole) == (5, 3, True)


async def test_stopped_it_rings_nobody_else_and_the_live_ones_end(tmp_path: Path) -> None:
    server = Server()
    server.ends.clear()
    going = run(tmp_path, server, people(20))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(going.run())
        await until(lambda: len(server.rung) == 3)
        going.stop()
        await settled()
        assert not running.done()
        server.ends.set()
        report = await running
    assert len(server.rung) == 3
    assert (report.outcomes.total(), report.stopped, report.whole) == (3, True, False)


async def test_cancelled_in_mid_call_the_next_run_goes_on_with_the_same_calls(
    tmp_path: Path,
) -> None:
    server = Server()
    server.ends.clear()
    with ListProgress(tmp_path / "people.csv", "seed") as progress:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(ListRun(people(9), progress, server, at_once=4).run())
            await until(lambda: len(server.rung) == 4)
            running.cancel()
    server.ends.set()
    with ListProgress(tmp_path / "people.csv", "seed") as progress:
        report = await ListRun(people(9), progress, server, at_once=4).run()
    assert len(server.rung) == len(set(server.rung)) == 9
    assert (report.before, report.whole) == (0, True)


async def test_refused_rows_are_told_and_the_others_are_rung(tmp_path: Path) -> None:
    server = Server()
    those = people(4)
    server.problems[those[1].number] = [UserError("E-OUT-11", "barred", "")]
    report = await run(tmp_path, server, those).run()
    assert [(row.person.line, row.problem.code) for row in report.refused] == [(3, "E-OUT-11")]
    assert len(server.rung) == 3
    assert not report.whole


async def test_a_row_that_must_wait_for_long_is_left_and_one_that_need_not_is_rung(
    tmp_path: Path,
) -> None:
    server = Server()
    those = people(3)
    server.problems[those[0].number] = [TryLaterError("E-OUT-10", "night", "", 3600)]
    server.problems[those[1].number] = [TryLaterError("E-OUT-12", "full", "", 0.01)] * 3
    report = await run(tmp_path, server, those).run()
    assert [row.person.line for row in report.later] == [2]
    assert set(server.rung) == {those[1].number, those[2].number}


async def test_an_uncertain_row_is_asked_for_again_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_run, "PATIENCE_S", 0.01)
    server = Server()
    [one] = people(1)
    server.problems[one.number] = [UncertainError("E-OUT-14", "uncertain", "", 0.05)] * 3
    report = await run(tmp_path, server, [one]).run()
    assert report.whole


@pytest.mark.parametrize("code", sorted(list_run.EVERYBODYS))
async def test_what_every_row_would_have_ends_the_run(tmp_path: Path, code: str) -> None:
    server = Server()
    those = people(50)
    server.problems = {person.number: [UserError(code, "", "")] for person in those}
    going = run(tmp_path, server, those)
    await going.run()
    assert going.problem is not None
    assert going.problem.code == code
    assert sum(not left for left in server.problems.values()) <= 4


async def test_refusals_one_after_the_other_are_the_accounts(tmp_path: Path) -> None:
    server = Server()
    those = people(50)
    server.problems = {person.number: [UserError("E-TW-03", "", "")] for person in those}
    going = run(tmp_path, server, those, at_once=1)
    await going.run()
    assert going.problem is not None
    assert sum(not left for left in server.problems.values()) == list_run.REFUSALS_MAX
