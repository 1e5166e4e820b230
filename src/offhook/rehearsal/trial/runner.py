"""Runs scenarios against a server, several at once, and judges them."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from offhook.clock import Clock
from offhook.errors import Problem
from offhook.rehearsal.caller import Caller
from offhook.rehearsal.hearing import Hearing
from offhook.rehearsal.phone import place_call
from offhook.rehearsal.report import CallReport
from offhook.rehearsal.scenario import Loaded, Person, Placed
from offhook.rehearsal.switchboard.board import Board
from offhook.rehearsal.switchboard.ledger import Ledger
from offhook.rehearsal.trial.account import CallResult, Failure, Result
from offhook.rehearsal.trial.from_the_wire import FromTheWire
from offhook.rehearsal.trial.judge import Judge, unreached
from offhook.rehearsal.trial.known import Known


@dataclass(frozen=True, slots=True)
class Target:
    """Who is called, and how the calls are signed (phone.place_call)."""

    url: str
    auth_token: str | None = field(repr=False)
    account_sid: str
    public_url: str | None = None


class Listening(Protocol):
    """Whoever makes words of what one caller hears, until the call is judged."""

    hearing: Hearing
    wire: FromTheWire | None

    async def finish(self) -> None:
        """Wait for what is still to be known. Raises Problem when it cannot be."""


@dataclass(frozen=True, slots=True)
class House:
    """Where a scenario's calls go, and who listens to the one with a CallSid."""

    target: Target
    listen: Callable[[str], Listening]
    board: Board | None = None
    """Of the simulated account that the calls are on, where there is one that can act on them."""
    place: Callable[[str, Placed, Caller], Awaitable[CallReport]] | None = None
    """Has somebody called; what became of it. Raises Problem when no call is placed."""


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario that is to run: what its caller can say, and what is known of the agent."""

    loaded: Loaded
    sounds: Mapping[str, bytes]
    known: Known | None
    how: str
    house: Callable[[Clock], AbstractAsyncContextManager[House]]
    """Opened when it begins, and closed when it is over."""


async def run(
    cases: Sequence[Case],
    clock: Clock,
    *,
    jobs: int,
    began: Callable[[Case], None] = lambda case: None,
    ended: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Run them all, at most `jobs` at a time. Cancelling it hangs up every call."""
    results: dict[int, Result] = {}
    free = asyncio.Semaphore(jobs)

    async def one(index: int, case: Case) -> None:
        async with free:
            began(case)
            results[index] = await _Trial(case, clock).run()
            ended(results[index])

    async with asyncio.TaskGroup() as group:
        for index, case in enumerate(cases):
            group.create_task(one(index, case), name=case.loaded.name)
    return [results[index] for index in range(len(cases))]


class _Trial:
    """One scenario while it runs."""

    def __init__(self, case: Case, clock: Clock) -> None:
        self._case = case
        self._clock = clock
        self._judge = Judge(case.known.meant if case.known is not None else None)

    async def run(self) -> Result:
        people = self._case.loaded.scenario.people
        calls: dict[str, CallResult] = {}

        async def call(name: str, person: Person) -> None:
            calls[name] = await self._call(house, name, person)

        async with self._case.house(self._clock) as house, asyncio.TaskGroup() as group:
            for name, person in people.items():
                group.create_task(call(name, person), name=f"caller {name}")
        return Result(self._case.loaded, {name: calls[name] for name in people}, self._case.how)

    async def _call(self, house: House, name: str, person: Person) -> CallResult:
        target = house.target
        call_sid = "CA" + secrets.token_hex(16)
        listening = house.listen(call_sid if person.placed is None else person.from_)
        caller = Caller(
            person.steps,
            self._case.sounds.__getitem__,
            noise_dbfs=person.noise_dbfs,
            hearing=listening.hearing,
            satisfied=self._judge.is_satisfied,
        )
        if person.placed is not None:
            assert house.place is not None  # a house that is to call somebody can
            report = await house.place(person.from_, person.placed, caller)
            return await self._result(house, name, person, report, listening)
        report = await place_call(
            target.url,
            caller,
            clock=self._clock,
            auth_token=target.auth_token,
            account_sid=target.account_sid,
            from_=person.from_,
            to=person.to,
            call_sid=call_sid,
            public_url=target.public_url,
            time_limit_s=self._case.loaded.scenario.time_limit_s,
            board=house.board,
        )
        return await self._result(house, name, person, report, listening)

    async def _result(
        self, house: House, name: str, person: Person, report: CallReport, listening: Listening
    ) -> CallResult:
        failures = [Failure(fault) for fault in report.faults_on_the_line]
        if not report.streams and person.placed is None:
            failures.append(Failure("no stream was opened"))
        try:
            await listening.finish()
        except Problem as problem:
            failures.append(Failure(f"{problem.code} {problem.what}"))
        ledger = house.board.ledger if house.board is not None else None
        failures += self._judged(name, person, report, listening.wire, ledger)
        return CallResult(name, report, failures, listening.wire)

    def _judged(
        self,
        name: str,
        person: Person,
        report: CallReport,
        wire: FromTheWire | None,
        ledger: Ledger | None,
    ) -> list[Failure]:
        caller, here = report.caller, self._case.loaded.person_at(name)
        place = self._case.loaded.place
        failures = [
            Failure(
                failed.what,
                place(*here, "steps", failed.number - 1),
                failed.at - report.answered_at,
            )
            for failed in caller.failed
        ]
        for index, exchange in caller.expected.items():
            expected = person.steps[index].expect
            assert expected is not None  # the caller keeps those that expect something
            failures += [
                Failure(
                    what,
                    place(*here, "steps", index, "expect"),
                    exchange.began - report.answered_at,
                )
                for what in self._judge.turn(expected, caller, exchange)
            ]
        missed = unreached(person.steps, caller)
        if missed is not None:
            what = f"the call was over before this: {report.ending.replace('_', ' ')}"
            failures.append(Failure(what, place(*here, "steps", missed)))
        if person.expect is not None:
            server = wire.ending if wire is not None else None
            failures += [
                Failure(what, place(*here, "expect"))
                for what in self._judge.call(person.expect, report, server, ledger)
            ]
        return failures
