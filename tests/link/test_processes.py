"""The process that has a call, of whichever node, as an operator's process finds it, in memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from tests.link.test_link import REQUEST, outcome

from offhook.calls.operations import no_live_call
from offhook.link.client import CallProcess, LostError, node_away
from offhook.link.fleet_lookup import FleetLookup, FoundProcess, HintedProcess, away
from offhook.link.messages import (
    CallProcessState,
    OpenedStream,
    OpenOperatorStream,
    PerformedOperation,
)
from offhook.link.node_links import NotHereError
from offhook.link.processes import LOOK_UPS, CallProcesses
from offhook.outbound.requests import OutboundRequest, PlacedCall, PlacedCallState

SID = "CA" + "1" * 32
DONE, OVER, UNKNOWN = (PerformedOperation(cast("Any", one)) for one in ("done", "over", "unknown"))
STATE = PlacedCallState(SID, "ringing", False, None, None, None)
LISTEN = OpenOperatorStream(SID, "listening", "ada")


class Process:
    """A call process that answers everything with one result, or raises it."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.asked = 0

    async def perform(self, *_: Any) -> PerformedOperation:
        return cast("PerformedOperation", self._answer())

    async def open_stream(self, _: object) -> OpenedStream:
        if self._answer() in (OVER, UNKNOWN):
            raise no_live_call()
        return OpenedStream(SID, "token")

    async def process_state(self, _: str = "") -> CallProcessState:
        return CallProcessState(False, 0, self.result == DONE)

    async def state(self, *_: Any) -> PlacedCallState | None:
        return STATE if self._answer() == DONE else None

    async def place(self, _: OutboundRequest) -> PlacedCall:
        self._answer()
        return PlacedCall(SID, False)

    def close(self) -> None:
        pass

    def _answer(self) -> Any:
        self.asked += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def lost(*, was_sent: bool) -> LostError:
    """Return the error of a process that does not answer, or whose socket took no connection."""
    error = LostError("E-LINK-07", "The node does not answer.", "Ask again.", 1.0)
    error.was_sent = was_sent
    return error


class Lookup:
    """A look-up whose owners are given one after the other; an error is raised."""

    def __init__(self, *owners: Any) -> None:
        self.owners = [*owners]
        self.hint: Process | None = None

    def hinted(self, _: str) -> HintedProcess | None:
        return None if self.hint is None else HintedProcess(cast("CallProcess", self.hint), 3)

    async def owner(self, _: str) -> FoundProcess | None:
        return self._next()

    async def knowing(self, _: str) -> FoundProcess | None:
        return self._next()

    async def placing(self, _: str) -> FoundProcess | None:
        return self._next()

    def close(self) -> None:
        pass

    def _next(self) -> FoundProcess | None:
        owner = self.owners.pop(0)
        if isinstance(owner, Exception):
            raise owner
        return None if owner is None else FoundProcess("b", cast("CallProcess", owner))


def processes(folder: Path, own: Process | None, *owners: Any) -> CallProcesses:
    fleet = cast("FleetLookup", Lookup(*owners))
    return CallProcesses(folder, cast("CallProcess | None", own), fleet)


async def perform(folder: Path, own: Process | None, *owners: Any) -> Any:
    found = processes(folder, own, *owners)
    return await outcome(found.perform(SID, "mute", {"on": True}, "ada"))


async def test_a_call_of_this_node_is_not_looked_up(tmp_path: Path) -> None:
    assert await perform(tmp_path, Process(DONE)) == DONE


@pytest.mark.parametrize(
    ("result", "asked"),
    [
        (DONE, (1, 0, 0)),
        (UNKNOWN, (1, 1, 1)),
        (OVER, (1, 1, 1)),
        (NotHereError(), (1, 1, 1)),
        (lost(was_sent=False), (1, 1, 1)),
    ],
)
async def test_the_process_that_had_a_call_a_moment_ago_is_asked_first(
    tmp_path: Path, result: Any, asked: tuple[int, int, int]
) -> None:
    """If the call has left it, the owner is looked up as without the hint."""
    hint, own, owner = Process(result), Process(UNKNOWN), Process(DONE)
    lookup = Lookup(owner)
    lookup.hint = hint
    found = CallProcesses(tmp_path, cast("CallProcess", own), cast("FleetLookup", lookup))
    assert await found.perform(SID, "mute", {"on": True}, "ada") == DONE
    assert (hint.asked, own.asked, owner.asked) == asked


async def test_what_may_have_been_done_where_the_call_was_is_not_done_again(tmp_path: Path) -> None:
    lookup = Lookup(Process(DONE))
    lookup.hint = Process(lost(was_sent=True))
    found = CallProcesses(tmp_path, None, cast("FleetLookup", lookup))
    error = await outcome(found.perform(SID, "mute", {"on": True}, "ada"))
    assert error.code == "E-LINK-07"
    assert len(lookup.owners) == 1, "nobody was looked up"


@pytest.mark.parametrize("own", [Process(UNKNOWN), Process(OVER), None])
async def test_a_call_of_another_node_is_asked_there(tmp_path: Path, own: Process | None) -> None:
    there = Process(DONE)
    assert await perform(tmp_path, own, there) == DONE
    assert there.asked == 1


async def test_a_call_that_has_moved_is_looked_up_once_more(tmp_path: Path) -> None:
    assert await perform(tmp_path, Process(UNKNOWN), Process(UNKNOWN), Process(DONE)) == DONE
    ended = Process(NotHereError())
    assert await perform(tmp_path, Process(UNKNOWN), ended, Process(DONE)) == DONE
    assert LOOK_UPS == 2
    assert await perform(tmp_path, Process(UNKNOWN), *[Process(UNKNOWN)] * LOOK_UPS) == UNKNOWN


async def test_a_call_that_no_node_has_is_not_live(tmp_path: Path) -> None:
    assert await perform(tmp_path, Process(UNKNOWN), None) == UNKNOWN
    assert await perform(tmp_path, Process(OVER), None) == OVER


async def test_a_node_that_is_away_is_said(tmp_path: Path) -> None:
    error = await perform(tmp_path, Process(UNKNOWN), *[Process(NotHereError())] * LOOK_UPS)
    assert error.code == "E-LINK-07"
    error = await perform(tmp_path, Process(UNKNOWN), Process(node_away("b")))
    assert error.code == "E-LINK-07"
    error = await perform(tmp_path, Process(UNKNOWN), away())
    assert error.code == "E-LINK-09"
    assert await perform(tmp_path, Process(OVER), away()) == OVER


async def test_a_stream_is_offered_by_the_process_of_the_call(tmp_path: Path) -> None:
    there = Process(DONE)
    stream = await processes(tmp_path, Process(UNKNOWN), there).stream_of(SID, LISTEN)
    assert stream.process is cast("Any", there)
    error = await outcome(processes(tmp_path, Process(UNKNOWN), None).stream_of(SID, LISTEN))
    assert error.code == no_live_call().code


async def test_the_state_of_a_placed_call_is_of_the_process_that_knows_it(tmp_path: Path) -> None:
    asked: Callable[[CallProcesses], Any] = lambda found: found.state(SID, None, 0)  # noqa: E731
    own = Process(DONE)
    assert await asked(processes(tmp_path, own)) == STATE
    assert await asked(processes(tmp_path, Process(UNKNOWN), Process(DONE))) == STATE
    assert await asked(processes(tmp_path, Process(UNKNOWN), None)) is None
    lost = Process(node_away("b"))
    assert await asked(processes(tmp_path, Process(UNKNOWN), lost)) is None


async def test_a_key_is_placed_by_the_node_that_has_it(tmp_path: Path) -> None:
    own, there = Process(DONE), Process(DONE)
    await processes(tmp_path, own, there).place(REQUEST)
    assert (own.asked, there.asked) == (0, 1)
    await processes(tmp_path, own, None).place(REQUEST)
    assert (own.asked, there.asked) == (1, 1)
    error = await outcome(processes(tmp_path, own, Process(NotHereError())).place(REQUEST))
    assert error.code == "E-LINK-07"
    assert own.asked == 1, "another node's key is never placed here"
