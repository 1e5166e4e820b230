"""Runner of scenarios: runs several at once against their servers, and judges them.

Nothing that takes the processor for long runs while a call is judged: a server that is slow to open
is opened before. A scenario that failed while this machine was late runs again, alone.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Final

from offhook.clock import Clock
from offhook.errors import UserError
from offhook.testing.faults.fault import Fault, FaultyEnd
from offhook.testing.faults.rig import FaultRig
from offhook.testing.scenarios.caller import CallReport, SimulatedCaller
from offhook.testing.scenarios.deadlines import OverdueError
from offhook.testing.scenarios.hearing import Hearing
from offhook.testing.scenarios.judge import Judge, unreached
from offhook.testing.scenarios.lateness import Lateness, watching
from offhook.testing.scenarios.results import CallResult, Failure, ScenarioResult
from offhook.testing.scenarios.scenario import Loaded, PlacedCaller, ScenarioCaller
from offhook.testing.scenarios.wire_hearing import WireHearing
from offhook.testing.scenarios.word_matching import AgentVocabulary
from offhook.testing.simulator.speech.answer_delays import AnswerDelays
from offhook.testing.simulator.twilio.calls.ledger import NetworkLedger
from offhook.testing.simulator.twilio.calls.network import SimulatedNetwork
from offhook.testing.simulator.twilio.phone import place_call
from offhook.testing.simulator.twilio.stream import BROKEN
from offhook.twilio.signature import SharedKey

ATTEMPTS: Final = 3
"""Largest number of runs of a scenario that fails while this machine is late."""


@dataclass(frozen=True, slots=True)
class Target:
    """Server to call, and the credentials that sign the calls (phone.place_call)."""

    url: str
    auth_token: str | SharedKey | None = field(repr=False)
    account_sid: str
    public_url: str | None = None


@dataclass(frozen=True, slots=True)
class ScenarioServer:
    """Server of a scenario's calls, and the function that makes a Hearing for a CallSid."""

    target: Target
    listen: Callable[[str], Hearing]
    network: SimulatedNetwork | None = None
    """Network of the simulated account that can update the calls, if there is one."""
    place: Callable[[str, PlacedCaller, SimulatedCaller], Awaitable[CallReport]] | None = None
    """Function that has the server place a call. Raises UserError if it places none."""
    rig: FaultRig | None = None
    """Fault rig around the server, if the scenario has faults."""


@dataclass(frozen=True, slots=True)
class ScenarioRun:
    """A scenario that is ready to run, with its callers' audio and the agent's vocabulary."""

    loaded: Loaded
    sounds: Mapping[str, bytes]
    known: AgentVocabulary | None
    how: str
    server: Callable[[Clock], AbstractAsyncContextManager[ScenarioServer]]
    """Function that opens the scenario's server for as long as the scenario runs."""
    opens_slowly: bool = False
    """True if opening the server takes the processor for long."""


async def run(
    cases: Sequence[ScenarioRun],
    clock: Clock,
    *,
    jobs: int,
    attempts: int = ATTEMPTS,
    delays: AnswerDelays | None = None,
    began: Callable[[ScenarioRun], None] = lambda case: None,
    calling: Callable[[ScenarioRun, SimulatedCaller], None] = lambda case, caller: None,
    ended: Callable[[ScenarioResult], None] = lambda result: None,
) -> list[ScenarioResult]:
    """Run all scenarios, at most `jobs` at a time. Cancelling the task hangs up every call.

    A scenario that could not be judged runs again, up to `attempts` times in all. `delays` are of
    the speech engines. `began`, `calling` and `ended` are told of each scenario, of its callers and
    of its result.
    """
    delays = delays or AnswerDelays()
    results: dict[int, ScenarioResult] = {}
    slow = [index for index, case in enumerate(cases) if case.opens_slowly]
    quick = [index for index, case in enumerate(cases) if not case.opens_slowly]
    rounds = [slow[first : first + jobs] for first in range(0, len(slow), jobs)] or [[]]
    rounds[0] = [*rounds[0], *quick]

    async def one(index: int, free: asyncio.Semaphore, barrier: "_Barrier") -> None:
        async with free:
            began(cases[index])
            result = await _Run(cases[index], clock, delays, calling).run(barrier)
            if index in results:
                result = replace(result, attempts=results[index].attempts + 1)
            results[index] = result
            if result.is_judged or result.attempts >= attempts:
                ended(result)

    while rounds:
        indices = rounds.pop(0)
        free = asyncio.Semaphore(jobs)
        barrier = _Barrier(sum(cases[index].opens_slowly for index in indices))
        async with asyncio.TaskGroup() as group:
            for index in indices:
                group.create_task(one(index, free, barrier), name=cases[index].loaded.name)
        if not rounds:
            again = [index for index, result in results.items() if not result.is_judged]
            rounds = [[index] for index in again if results[index].attempts < attempts]
    return [results[index] for index in range(len(cases))]


class _Barrier:
    """Barrier for all callers until every server that opens slowly is open."""

    def __init__(self, slow: int) -> None:
        self._missing = slow
        self._open = asyncio.Event()
        if not slow:
            self._open.set()

    def opened(self) -> None:
        """Count a server that opens slowly as open, or as one that will not open."""
        self._missing -= 1
        if not self._missing:
            self._open.set()

    async def wait(self) -> None:
        """Wait until all servers that open slowly are open."""
        await self._open.wait()


class _Run:
    """A single run of a scenario."""

    def __init__(
        self,
        case: ScenarioRun,
        clock: Clock,
        delays: AnswerDelays,
        calling: Callable[[ScenarioRun, SimulatedCaller], None],
    ) -> None:
        self._case = case
        self._calling = calling
        self._clock = clock
        self._delays = delays
        self._calls: dict[str, CallResult] = {}
        self._failures: list[Failure] = []
        self._late = Lateness()
        self._judge = Judge(case.known.meant if case.known is not None else None)

    async def run(self, barrier: _Barrier) -> ScenarioResult:
        case = self._case
        if not case.opens_slowly:
            await barrier.wait()
        # Also while the server opens and closes: one that was not in time may not be at fault.
        async with watching(self._delays) as around:
            try:
                await self._with_server(barrier)
            except* OverdueError as overdue:
                told = [Failure(f"{each.code} {each.what}") for each in _leaves(overdue)]
                self._failures += told
                self._late = around
        late = self._late
        people = case.loaded.scenario.people
        found = {name: self._calls[name] for name in people if name in self._calls}
        return ScenarioResult(
            case.loaded,
            found,
            case.how,
            self._failures,
            late=late if late.is_too_much else None,
        )

    async def _with_server(self, barrier: _Barrier) -> None:
        """Open the server, call it, and close it. Raises OverdueError, alone or in a group."""
        case = self._case
        async with AsyncExitStack() as opened:
            try:
                server = await opened.enter_async_context(case.server(self._clock))
            finally:
                if case.opens_slowly:
                    barrier.opened()
            await barrier.wait()
            self._late = await self._all_called(server)
            never = [] if server.rig is None else server.rig.armed.never()
            # Nothing passes unseen: a fault that did not happen was not survived.
            self._failures += [Failure(f"{fault} did not happen") for fault in never]

    async def _all_called(self, server: ScenarioServer) -> Lateness:
        async def call(name: str, person: ScenarioCaller) -> None:
            try:
                self._calls[name] = await self._call(server, name, person)
            except UserError as problem:
                if person.placed is None:  # a target that cannot be called ends the command
                    raise
                where = self._case.loaded.place(*self._case.loaded.person_at(name))
                self._failures.append(Failure(f"{problem.code} {problem.what}", where))

        async with watching(self._delays) as late, asyncio.TaskGroup() as group:
            for name, person in self._case.loaded.scenario.people.items():
                group.create_task(call(name, person), name=f"caller {name}")
        return late

    async def _call(self, server: ScenarioServer, name: str, person: ScenarioCaller) -> CallResult:
        target = server.target
        call_sid = "CA" + secrets.token_hex(16)
        hearing = server.listen(call_sid if person.placed is None else person.from_)
        caller = SimulatedCaller(
            person.steps,
            self._case.sounds.__getitem__,
            noise_dbfs=person.noise_dbfs,
            echo=None if person.echo is None else person.echo.settings,
            hearing=hearing,
            satisfied=self._judge.is_satisfied,
            strike=self._strike(server, hearing, call_sid),
        )
        self._calling(self._case, caller)
        if person.placed is not None:
            assert server.place is not None  # a server with placed callers can place calls
            report = await server.place(person.from_, person.placed, caller)
            return await self._result(server, name, person, report, hearing)
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
            network=server.network,
        )
        return await self._result(server, name, person, report, hearing)

    def _strike(
        self, server: ScenarioServer, hearing: Hearing, call_sid: str
    ) -> Callable[[Fault], bool]:
        """Return the function that commits a fault on the caller's own connections."""
        rig = server.rig
        if rig is None:
            return lambda fault: False
        if len(self._case.loaded.scenario.people) == 1:
            return rig.strike
        requests = hearing.request_ids if isinstance(hearing, WireHearing) else frozenset()
        return lambda fault: rig.strike(fault, {call_sid, *requests})

    async def _result(
        self,
        server: ScenarioServer,
        name: str,
        person: ScenarioCaller,
        report: CallReport,
        hearing: Hearing,
    ) -> CallResult:
        broken = server.rig is not None and FaultyEnd.STREAM in server.rig.ends
        failures = [
            Failure(fault)
            for fault in report.faults_on_the_line
            if not (broken and fault.startswith(f"{BROKEN} "))  # it was broken on purpose
        ]
        if not report.streams and person.placed is None:
            failures.append(Failure("no stream was opened"))
        try:
            await hearing.finish()
        except UserError as problem:
            failures.append(Failure(f"{problem.code} {problem.what}"))
        wire = hearing if isinstance(hearing, WireHearing) else None
        ledger = server.network.ledger if server.network is not None else None
        failures += self._judged(name, person, report, wire, ledger)
        return CallResult(name, report, failures, wire)

    def _judged(
        self,
        name: str,
        person: ScenarioCaller,
        report: CallReport,
        wire: WireHearing | None,
        ledger: NetworkLedger | None,
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


def _leaves(group: BaseExceptionGroup[OverdueError]) -> Iterator[OverdueError]:
    """Yield the errors of a group, and of the groups within it."""
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each
