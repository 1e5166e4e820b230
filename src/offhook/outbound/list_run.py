"""A run over a list: a bounded number of calls at once, each person once, stopped at any moment.

A running server places the calls, through its API. The server calls once for each key, so the
progress of a list (list_progress.py) says only which rows are finished. A row that was being called
when this process died is asked for again under its key, and the server looks the call up.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from offhook.errors import UserError
from offhook.outbound.contacts import Contact
from offhook.outbound.errors import TryLaterError, UncertainError
from offhook.outbound.list_progress import ListProgress

PATIENCE_S: Final = 15.0
"""Seconds until a row may be rung beyond which it is left for another run."""

REFUSALS_MAX: Final = 5
"""Consecutive refusals of Twilio after which the account is at fault, not the numbers."""

EVERYBODYS: Final = frozenset(
    {"E-OUT-01", "E-OUT-02", "E-OUT-03", "E-OUT-09", "E-TW-02", "E-OUT-19", "E-OUT-20"}
)
"""Codes of problems that every other row would have too: the run ends with them."""

TWILIOS: Final = "E-TW-03"


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """The outcome of a call: its status, and its ending once it is over."""

    status: str
    final: bool
    slug: str | None = None
    words: str | None = None


class OutboundApi(Protocol):
    """The API of the running server."""

    async def place(self, to: str, variables: Mapping[str, str], zone: str | None, key: str) -> str:
        """Return the CallSid of the call under that key.

        Raises UserError, TryLaterError and UncertainError.
        """

    async def outcome_of(self, sid: str, seen: str | None) -> CallOutcome:
        """Return the outcome of a call, as soon as its status is not `seen`. Raises UserError."""


@dataclass(frozen=True, slots=True)
class NotCalled:
    """A row that was not rung in this run, and why."""

    person: Contact
    problem: UserError


@dataclass(slots=True)
class ListReport:
    """Results of a run over a list."""

    total: int = 0
    before: int = 0
    """Rows that earlier runs finished."""

    live: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """Counts of the outcomes of this run's calls: slug, or Twilio's status."""

    refused: list[NotCalled] = field(default_factory=list)
    """Rows that must not be called, or that Twilio refuses."""

    later: list[NotCalled] = field(default_factory=list)
    """Rows that may be called later, by another run."""

    stopped: bool = False

    @property
    def done(self) -> int:
        """Number of rows that are finished."""
        return self.before + self.outcomes.total()

    @property
    def whole(self) -> bool:
        """True if every row is finished."""
        return self.done == self.total


class ListRun:
    """A run over a list. The variables of a row override `variables`.

    `changed` is called whenever the report has changed.
    """

    def __init__(
        self,
        people: Sequence[Contact],
        progress: ListProgress,
        asking: OutboundApi,
        *,
        at_once: int,
        variables: Mapping[str, str] | None = None,
        changed: Callable[[ListReport], None] = lambda _: None,
    ) -> None:
        self.report = ListReport(total=len(people))
        self._people = people
        self._progress = progress
        self._asking = asking
        self._places = asyncio.Semaphore(at_once)
        self._variables = dict(variables or {})
        self._changed = changed
        self._refusals = 0
        self._stopping = asyncio.Event()
        self.problem: UserError | None = None
        """The problem that ended the run, because every other row would have it too."""

    def stop(self) -> None:
        """Place no more calls; live calls go on to their end."""
        self.report.stopped = True
        self._stopping.set()

    async def run(self) -> ListReport:
        """Call the rows of the list. When cancelled, live calls go on; another run resumes."""
        async with asyncio.TaskGroup() as group:
            for person in self._people:
                if self._progress.outcome(person.number) is not None:
                    self.report.before += 1
                    continue
                await self._places.acquire()
                if self._stopping.is_set():
                    break
                group.create_task(self._one(person), name=f"line {person.line}")
        return self.report

    async def _one(self, person: Contact) -> None:
        self.report.live += 1
        self._changed(self.report)
        try:
            await self._ring(person)
        except TryLaterError as not_now:
            self.report.later.append(NotCalled(person, not_now))
        except UserError as problem:
            self._on_problem(person, problem)
        finally:
            self.report.live -= 1
            self._places.release()
            self._changed(self.report)

    async def _ring(self, person: Contact) -> None:
        sid = self._progress.sid(person.number)
        if sid is None:
            self._progress.ringing(person.number)
            sid = await self._place(person)
            if sid is None:
                return
            self._progress.placed(person.number, sid)
        self._refusals = 0
        known = await self._asking.outcome_of(sid, None)
        while not known.final:
            known = await self._asking.outcome_of(sid, known.status)
        outcome = known.slug or known.status
        self._progress.over(person.number, outcome)
        self.report.outcomes[outcome] += 1

    async def _place(self, person: Contact) -> str | None:
        """Place a row's call and return its CallSid; None: the run stops and leaves the row.

        Raises TryLaterError when it must wait.
        """
        key = self._progress.key(person.number)
        while True:
            try:
                given = {**self._variables, **person.variables}
                return await self._asking.place(person.number, given, person.zone, key)
            except TryLaterError as not_now:
                if not_now.after_s > PATIENCE_S and not isinstance(not_now, UncertainError):
                    raise
                if await self._stopped_within(not_now.after_s):
                    return None

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass
        return self._stopping.is_set()

    def _on_problem(self, person: Contact, problem: UserError) -> None:
        self._refusals += problem.code == TWILIOS
        if problem.code not in EVERYBODYS:
            self.report.refused.append(NotCalled(person, problem))
        if problem.code in EVERYBODYS or self._refusals >= REFUSALS_MAX:
            self.problem = self.problem or problem
            self._stopping.set()
