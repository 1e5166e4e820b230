"""Timers of warm transfers: what is asked again, and what a fault in one ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from tests.calls.fake_session import SID, live_entry
from tests.waiting import settled, until

from offhook.call.handoff_actions import JoinConference
from offhook.calls.call_entry import CalledPerson, CallEntry
from offhook.calls.call_updates import CallUpdates
from offhook.calls.handoff import StreamHandoff
from offhook.calls.transfers import ALONE_S, LOOK_S, Transfers, _At, _WarmTransfer
from offhook.concurrency.server_tasks import ServerTasks
from offhook.policy.dial_policy import DialPolicy, DialRules
from offhook.testing.virtual_clock import VirtualClock
from offhook.twilio.errors import TwilioRefusedError, TwilioUnreachableError
from offhook.twilio.rest import RestCall, TwilioRest

LEG = "CA" + "7" * 32


class FakeRest:
    """Twilio's REST API: it answers questions about the person's leg with `statuses`, in turn."""

    def __init__(self, *statuses: str | Exception) -> None:
        self.statuses = [*statuses]
        self.looks = 0
        self.redirected: list[str] = []
        self.hung_up: list[str] = []

    async def fetch_call(self, sid: str) -> RestCall:
        self.looks += 1
        status = self.statuses.pop(0)
        if isinstance(status, Exception):
            raise status
        return RestCall(sid=sid, status=status)

    async def hang_up(self, sid: str) -> None:
        self.hung_up.append(sid)

    async def update_call(self, sid: str, *, url: str) -> None:
        self.redirected.append(sid)


class Meeting:
    """A caller who was sent to a conference with a person who has accepted."""

    def __init__(self, rest: FakeRest, group: asyncio.TaskGroup) -> None:
        self.rest = rest
        self.clock = VirtualClock()
        self.broken: list[tuple[str, str]] = []
        tasks = ServerTasks(group, lambda sid, what: self.broken.append((sid, what)))
        updates = CallUpdates(cast("TwilioRest", rest), tasks)
        policy = DialPolicy(DialRules())
        self.transfers = Transfers(
            cast("Any", None), policy, updates, self.clock, lambda sid, e: None
        )
        self.entry: CallEntry = live_entry(self.clock)
        self.entry.handoff = StreamHandoff(
            self.entry,
            self.transfers,
            updates,
            self.clock,
            lambda sid, event: None,
            lambda sid: "a token",
        )
        self.warm = _WarmTransfer(self.entry, "ann", "id", "agent", LEG, _At.ACCEPTED)
        self.transfers._warm["id"] = self.transfers._of_call[SID] = self.warm
        self.entry.handoff.action = JoinConference("ann", self.warm.conference)
        self.entry.handoff.count = 1
        assert self.transfers.meet(SID)

    def die(self, *, has_begun: bool) -> None:
        """Go on with the call as the next process does."""
        self.transfers._forget(self.warm)
        handoff = self.entry.handoff
        handoff.resume(1, handoff.action, has_begun=has_begun, is_returning=False)
        self.transfers.resume(self.entry, CalledPerson("id", LEG))

    async def look(self, seconds: float) -> None:
        """Have Twilio be asked, as `seconds` pass."""
        looks = self.rest.looks
        self.clock.run(seconds - 0.1)
        await settled()
        assert self.rest.looks == looks
        self.clock.run(0.2)
        await until(lambda: self.rest.looks == looks + 1)
        await settled()


@asynccontextmanager
async def meeting(*statuses: str | Exception) -> AsyncIterator[Meeting]:
    async with asyncio.TaskGroup() as group:
        yield Meeting(FakeRest(*statuses), group)


async def test_twilio_is_asked_again_until_it_says_whether_the_person_is_there() -> None:
    silence = TwilioUnreachableError("no answer in time", sent=True)
    refusals = (silence, TwilioRefusedError(503, None), silence, silence, silence, silence)
    async with meeting(*refusals, "completed") as met:
        for seconds in (*LOOK_S, LOOK_S[-1]):
            await met.look(seconds)
            assert not met.rest.redirected
            assert not met.broken
        await met.look(LOOK_S[-1])
        met.clock.run(ALONE_S + 0.1)
        await until(lambda: met.rest.redirected == [SID])


async def test_a_person_who_is_there_is_not_asked_about_again() -> None:
    async with meeting("in-progress") as met:
        await met.look(LOOK_S[0])
        met.clock.run(4 * 3600)
        await settled()
        assert met.rest.looks == 1
        assert not met.rest.redirected


@pytest.mark.parametrize("over", ["the report comes", "the call ends"])
async def test_nothing_is_asked_again_once_the_transfer_is_settled(over: str) -> None:
    async with meeting(TwilioRefusedError(503, None)) as met:
        await met.look(LOOK_S[0])
        if over == "the call ends":
            met.transfers.call_over(SID, caller_is_gone=False)
        else:
            met.transfers.status("id", LEG, "completed")
        met.clock.run(4 * 3600)
        await settled()
        assert met.rest.looks == 1


async def test_after_the_process_died_a_caller_whose_person_is_gone_is_brought_back() -> None:
    async with meeting("completed") as met:
        met.die(has_begun=True)
        await until(lambda: met.rest.looks == 1)
        await settled()
        met.clock.run(ALONE_S + 0.1)
        await until(lambda: met.rest.redirected == [SID])


@pytest.mark.parametrize(("status", "is_there"), [("completed", False), ("in-progress", True)])
async def test_after_the_process_died_a_caller_meets_a_person_who_is_still_there(
    status: str, is_there: bool
) -> None:
    async with meeting(status, status) as met:
        met.die(has_begun=False)
        await until(lambda: met.rest.looks == 1)
        await settled()
        assert met.entry.person == CalledPerson("id", LEG)
        assert met.transfers.meet(SID) is is_there


@pytest.mark.parametrize("has_left", [True, False])
async def test_of_a_call_that_goes_on_elsewhere_a_person_stays_whom_the_caller_has_left_for(
    has_left: bool,
) -> None:
    async with meeting() as met:
        met.warm.at = _At.ACCEPTED
        if not has_left:
            met.entry.handoff.action = None
        met.transfers.let_go(SID)
        await settled()
        assert met.rest.hung_up == ([] if has_left else [LEG])
        assert not met.transfers.is_asking(SID)


def _give_up(met: Meeting) -> Callable[[], None]:
    return lambda: met.transfers._give_up(met.warm)


def _look(met: Meeting) -> Callable[[], None]:
    return lambda: met.transfers._look(met.warm)


def _bring_back(met: Meeting) -> Callable[[], None]:
    return met.entry.handoff.bring_back


@pytest.mark.parametrize("callback", [_give_up, _look, _bring_back])
async def test_a_fault_in_a_timer_of_a_transfer_ends_its_call_and_brings_the_caller_back(
    callback: Callable[[Meeting], Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with meeting() as met:

        def broken(*_: Any, **__: Any) -> Any:
            raise ZeroDivisionError

        # One of these is what the callback does first.
        monkeypatch.setattr(met.transfers, "_fail", broken)
        monkeypatch.setattr(met.transfers, "_look_after", broken)
        monkeypatch.setattr(type(met.entry.session), "receive", broken)
        met.transfers._arm(met.warm, 1.0, callback(met))
        met.clock.run(2.0)
        assert met.broken == [(SID, "ZeroDivisionError")]
        # As the end of the call does, before Twilio is asked.
        met.entry.handoff.clear()
        await settled()
        assert met.rest.redirected == ([SID] if callback is _bring_back else [])
