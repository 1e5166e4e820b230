"""Leg of a simulated call: its state, its work, its status callbacks and its sounds."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from uuid import uuid4

import httpx2

from offhook.clock import Timer
from offhook.testing.simulator.twilio.call_report import (
    CallParty,
    DebuggerNote,
    LegReport,
    LineSpan,
    Sound,
)
from offhook.testing.simulator.twilio.calls import dates
from offhook.testing.simulator.twilio.calls.network import SimulatedNetwork
from offhook.testing.simulator.twilio.calls.people import RINGS_S, SimulatedPerson
from offhook.testing.simulator.twilio.ending import Ending
from offhook.testing.simulator.twilio.webhooks import Request, WebhookError

Work: TypeAlias = Callable[[], Coroutine[Any, Any, Ending]]
"""Work of a leg until its end; cancelled when other work replaces it."""

Direction: TypeAlias = Literal["inbound", "outbound-api", "outbound-dial"]
Event: TypeAlias = Literal["initiated", "ringing", "answered", "completed"]
RingOutcome: TypeAlias = Literal["answered", "busy", "no-answer", "failed"]

STATUS_CALLBACK_FAILURE: Final = 15003

SETUP_S: Final = 0.5
"""Seconds from the request for a call to its ringing."""

_SIP: Final = {"completed": "200", "busy": "486", "no-answer": "487", "canceled": "487"}


@dataclass(frozen=True, slots=True)
class StatusSubscription:
    """Subscription to a leg's status callbacks: URL, method and events."""

    url: str
    method: str = "POST"
    events: frozenset[str] = frozenset({"completed"})


class Leg:
    """Leg of a call, which keeps its data after its end."""

    def __init__(
        self,
        network: SimulatedNetwork,
        report: LegReport[CallParty],
        *,
        from_: str,
        to: str,
        direction: Direction,
        person: SimulatedPerson,
        parent: "Leg | None" = None,
        told: StatusSubscription | None = None,
    ) -> None:
        self.network = network
        self.report = report
        self.sid = report.call_sid
        self.from_ = from_
        self.to = to
        self.direction = direction
        self.person = person
        self.parent = parent
        self.told = told
        self.status = "queued"
        self.answered_by: str | None = None
        self.made = self.changed_at = dates.now()
        self.started_at = self.made if direction == "inbound" else None
        self.ended_at: datetime | None = None
        self.time_limit_s: float | None = None
        self._next: Ending | Work | None = None
        self._running: asyncio.Task[Ending] | None = None
        self._over = False
        self._timers: list[Timer] = []
        self._keys = iter(person.keys)
        self._sequence = 0
        self._held: Request | None = None
        self._posting = asyncio.Lock()
        network.legs[self.sid] = self
        network.ledger.reports[self.sid] = report

    @property
    def form(self) -> dict[str, str]:
        """Parameters that every request about this leg has (twilio.md §4.1)."""
        form = {
            "AccountSid": self.report.account_sid,
            "CallSid": self.sid,
            "From": self.from_,
            "To": self.to,
            "Caller": self.from_,
            "Called": self.to,
            "CallStatus": self.status,
            "Direction": self.direction,
            "ApiVersion": "2010-04-01",
        }
        if self.parent is not None:
            form["ParentCallSid"] = self.parent.sid
        return form

    @property
    def over(self) -> bool:
        """True once the call has ended."""
        return self._over

    # --- work ---

    async def run(self, work: Work) -> Ending:
        """Run `work`, or work that replaces it, to the end. Cancelling it sends no callback."""
        try:
            while True:
                if (ending := self._taken()) is not None:
                    return ending
                async with asyncio.TaskGroup() as group:
                    self._running = running = group.create_task(work(), name=f"leg {self.sid}")
                if self._next is None:
                    return running.result()
                if callable(self._next):
                    work, self._next = self._next, None
        finally:
            for timer in self._timers:
                timer.cancel()

    def _taken(self) -> Ending | None:
        """Return the ending that was requested; None if none was."""
        return self._next if isinstance(self._next, str) else None

    def change(self, work: Work) -> bool:
        """Replace the work of the leg. Return False if the leg is not in progress."""
        if self.status != "in-progress" or not self._stopped():
            return False
        self._next = work
        return True

    def end(self, ending: Ending) -> bool:
        """End the leg. Return False if it was over already."""
        if not self._stopped():
            return False
        self._next = ending
        return True

    def _stopped(self) -> bool:
        if self._over or isinstance(self._next, str):
            return False
        if self._running is not None:
            if self._running.done():
                return False
            if self._next is None:
                self._running.cancel()
        return True

    # --- state ---

    def became(self, status: Literal["initiated", "ringing"]) -> None:
        """Enter a state before the answer, and post its callback."""
        self._set(status)
        self.tell(status)

    def answer(self) -> None:
        """Note that the leg is answered. Calling this again has no effect."""
        if not math.isnan(self.report.answered_at):
            return
        now = self.network.clock.now()
        self.report.answered_at = now
        self.started_at = dates.now()
        self._set("in-progress")
        self.tell("answered")
        if self.person.hang_up_after_s is not None:
            self.at(self.person.hang_up_after_s, lambda: self.end("caller_hung_up"))
        if self.time_limit_s is not None:
            self.at(self.time_limit_s, lambda: self.end("out_of_time"))

    def at(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call `callback` after `seconds`, unless the leg is over by then."""
        when = self.network.clock.now() + seconds
        self._timers.append(self.network.clock.call_at(when, lambda: _ignored(callback())))

    def finish(self, ending: Ending, status: str) -> None:
        """End the leg with `status`, one of Twilio's final ones."""
        report = self.report
        self._over = True
        report.ending = ending
        report.caller.call_ended()
        report.ended_at = self.network.clock.now()
        if math.isnan(report.answered_at):
            report.answered_at = report.ended_at
        self.ended_at = dates.now()
        self._set(status)
        self.tell("completed")

    @property
    def seconds(self) -> int:
        """Duration from answer to end in seconds, rounded up as Twilio bills it."""
        return math.ceil(self.report.ended_at - self.report.answered_at)

    def _set(self, status: str) -> None:
        self.status = status
        self.changed_at = dates.now()

    # --- sounds ---

    @contextmanager
    def hears(self, sound: Sound) -> Iterator[None]:
        """Note a sound that is on the line for the duration of the block."""
        began = self.network.clock.now()
        try:
            yield
        finally:
            self.report.line.append(LineSpan(sound, began, self.network.clock.now()))

    def pressed(self) -> str:
        """Return what the person presses at a <Gather>, if anything."""
        return next(self._keys, "")

    async def talk(self) -> None:
        """Talk for the seconds that this leg's person talks, or until the other side hangs up."""
        if self.person.talks_s is not None:
            await self.network.passed(self.person.talks_s)
        else:
            await asyncio.Event().wait()  # for the other side to hang up

    async def ring(self, timeout_s: float) -> RingOutcome:
        """Ring the person of this leg for at most `timeout_s`, and return the outcome."""
        does, after_s = self.person.does, self.person.after_s
        if does == "failed":
            return "failed"
        self.became("ringing")
        rings = timeout_s if does == "no-answer" else RINGS_S
        rings = rings if after_s is None else after_s
        await self.network.passed(min(rings, timeout_s))
        if does == "no-answer" or (does == "answers" and rings > timeout_s):
            return "no-answer"
        return "answered" if does == "answers" else "busy"

    # --- requests ---

    async def ask(self, request: Request) -> httpx2.Response:
        """Send a request about this leg; attempts that are repeated are noted as remarks.

        Raises WebhookError when there is no answer.
        """
        network = self.network
        return await network.host.send(network.http, request, lambda text: self.note(None, text))

    def tell(self, event: Event) -> None:
        """Post a status callback, if the subscription includes the event (§4.3)."""
        told = self.told
        if told is None or event not in told.events:
            return
        form = self.form | {
            "Timestamp": dates.rfc2822(dates.now()),
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(self._sequence),
        }
        self._sequence += 1
        if event == "completed":
            form["CallDuration"] = str(self.seconds)
            form["SipResponseCode"] = _SIP.get(self.status, "404")
            if self.status == "completed":
                form["Duration"] = str(math.ceil(self.seconds / 60))
            if self.answered_by is not None:
                form["AnsweredBy"] = self.answered_by
        request = Request(told.url, told.method, form)
        if self.network.callbacks.out_of_order and event != "completed" and self._held is None:
            self._held = request
            return
        self.post(request)
        if self._held is not None:
            held, self._held = self._held, None
            self.post(held)

    def post(self, request: Request) -> None:
        """Post a callback about this leg in the background, after earlier callbacks."""
        name = f"callback {request.url}"
        self.network.group.create_task(self._deliver(request), name=name)

    async def _deliver(self, request: Request) -> None:
        how, host = self.network.callbacks, self.network.host
        if host.dialled(request.url) is None:
            self.note(None, f"{request.url} is another host's: not contacted")
            return
        if how.late_s:
            await self.network.passed(how.late_s)
        async with self._posting:
            for _ in range(2 if how.twice else 1):
                try:
                    response = await self.ask(request)
                except WebhookError as failed:
                    self.note(failed.code, str(failed))
                    continue
                if response.status_code >= 400:
                    text = f"{request.url} answered {response.status_code}"
                    self.note(STATUS_CALLBACK_FAILURE, text)

    def note(self, code: int | None, text: str) -> None:
        """Add an entry that Twilio's debugger would show to the report."""
        self.report.notes.append(DebuggerNote(code, text))


def _ignored(_: object) -> None:
    """Ignore what a timer's callback returns."""


def new_sid(prefix: str) -> str:
    """Make a new SID: two letters and 32 hex digits."""
    return prefix + uuid4().hex


def final_status(ending: Ending) -> str:
    """Return Twilio's final status of a leg that was answered, or of an inbound call."""
    by: Mapping[Ending, str] = {"rejected": "busy", "application_error": "failed"}
    return by.get(ending, "completed")
