"""The call processes that an operator's process can ask: those of a data folder."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from offhook.calls.operations import no_live_call
from offhook.config.current_agents import ReloadReport
from offhook.errors import UserError
from offhook.link.client import AGAIN_S, CallProcess, LostError, node_away
from offhook.link.fleet_lookup import FleetLookup
from offhook.link.messages import (
    CallProcessState,
    LinkOrder,
    OpenedStream,
    OpenPhoneCall,
    PerformedOperation,
)
from offhook.link.node_links import NotHereError
from offhook.link.process_files import live_processes
from offhook.outbound.errors import TryLaterError
from offhook.outbound.requests import OutboundRequest, PlacedCall, PlacedCallState
from offhook.records.elsewhere import OwnedCall

LOOK_UPS: Final = 2
"""Look-ups of a call's process that is of another node: the call may move after the first."""

PHONE_S: Final = 10.0
"""Seconds that the begin of a call from a browser may take, with a lookup of 5 s at most."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ProcessStream:
    """A stream that a call process has offered."""

    process: CallProcess
    opened: OpenedStream


class CallProcesses:
    """The call processes of a data folder. There are several while one takes over from another.

    `journal` is the folder that has a folder for each process; `own` is a process that has no
    file there, because it shares this process. `fleet` finds the processes of other nodes, for
    calls that no process of this folder has; None without a fleet.

    Every method raises TryLaterError E-LINK-02 when no call process runs, and is needed.
    """

    def __init__(
        self, journal: Path, own: CallProcess | None = None, fleet: FleetLookup | None = None
    ) -> None:
        self._journal = journal
        self._own = own
        self._fleet = fleet
        self._known: dict[str, CallProcess] = {}

    def live(self) -> list[CallProcess]:
        """Return the processes that live, the newest first."""
        files = live_processes(self._journal)
        for gone in self._known.keys() - files.keys():
            self._known.pop(gone).close()
        for process_id, file in files.items():
            if process_id not in self._known:
                self._known[process_id] = CallProcess.at(file.control)
        own = [self._own] if self._own is not None else []
        return own + [self._known[process_id] for process_id in files]

    def close(self) -> None:
        """Close all connections."""
        for process in (self._own, *self._known.values()):
            if process is not None:
                process.close()
        self._known.clear()
        if self._fleet is not None:
            self._fleet.close()

    async def perform(
        self, call_sid: str, operation: str, arguments: Mapping[str, Any], by: str
    ) -> PerformedOperation:
        """Perform an operation on a call, in the process that has it, of whichever node.

        The process of another node that had the call a moment ago is asked at once. It refuses if
        it does not have the call in that epoch any more; then the owner is looked up.
        """
        hinted = None if self._fleet is None else self._fleet.hinted(call_sid)
        if hinted is not None:
            try:
                performed = await hinted.process.perform(
                    call_sid, operation, arguments, by, hinted.epoch
                )
                if performed.outcome == "done":
                    return performed
            except NotHereError:
                pass
            except LostError as lost:
                if lost.was_sent:
                    raise
        done = PerformedOperation("unknown")
        if self._fleet is None or self.live():
            process = await self._process_of(call_sid)
            done = await process.perform(call_sid, operation, arguments, by)
        if self._fleet is None or done.outcome == "done":
            return done

        async def perform(process: CallProcess) -> PerformedOperation | None:
            performed = await process.perform(call_sid, operation, arguments, by)
            return None if performed.outcome == "unknown" else performed

        try:
            return await self._elsewhere(self._fleet, call_sid, perform) or done
        except TryLaterError:
            if done.outcome == "over":  # The call has ended here, or has gone to who is away.
                return done
            raise

    def learn(self, owners: Mapping[str, OwnedCall]) -> None:
        """Take note of who has which live call of another node."""
        if self._fleet is not None:
            self._fleet.owners = owners

    async def place(self, request: OutboundRequest) -> PlacedCall:
        """Place a call with the newest process that is not draining, else with the newest.

        In a fleet, that of an idempotency key is placed by the node that has the key.
        """
        if self._fleet is not None and request.key is not None:
            found = await self._fleet.placing(request.key)
            if found is not None:
                try:
                    return await found.process.place(request)
                except NotHereError:
                    raise node_away(found.node) from None
        return await (await self._ready()).place(request)

    async def phone(self, order: OpenPhoneCall) -> ProcessStream:
        """Begin a call from a browser, with the process that would place a call."""
        process = await self._ready()
        return ProcessStream(process, await process.open_stream(order, PHONE_S))

    async def stream_of(self, call_sid: str, order: LinkOrder) -> ProcessStream:
        """Have the process that has a call, of whichever node, offer a stream of it."""

        async def offer(process: CallProcess) -> ProcessStream | None:
            try:
                return ProcessStream(process, await process.open_stream(order))
            except UserError as error:
                if error.code == no_live_call().code:
                    return None
                raise

        offered = None
        if self._fleet is None or self.live():
            offered = await offer(await self._process_of(call_sid))
        if offered is None and self._fleet is not None:
            offered = await self._elsewhere(self._fleet, call_sid, offer)
        if offered is None:
            raise no_live_call()
        return offered

    async def state(self, sid: str, seen: str | None, wait_s: float) -> PlacedCallState | None:
        """Return the state of a placed call, from the process that has it, of whichever node."""
        if self._fleet is not None and not await self._is_known(sid):
            with contextlib.suppress(TryLaterError, NotHereError):
                found = await self._fleet.knowing(sid)
                if found is not None:
                    return await found.process.state(sid, seen, wait_s)
        return await (await self._process_of(sid)).state(sid, seen, wait_s)

    async def metrics(self) -> list[str | None]:
        """Return the metrics of each process; None for one that does not answer within 2 s."""
        return [text for _, text in await _each(self.live(), lambda process: process.metrics())]

    async def states(self) -> list[CallProcessState | None]:
        """Return the state of each process; None for one that does not answer within 2 s."""
        found = await _each(self._some(), lambda process: process.process_state())
        return [state for _, state in found]

    async def reload(self) -> ReloadReport:
        """Read the agent files again in every process; return the report of the newest."""
        return (await asyncio.gather(*(process.reload() for process in self._some())))[0]

    def newest(self) -> CallProcess:
        """Return the newest process, whose agents new calls get."""
        return self._some()[0]

    def _some(self) -> list[CallProcess]:
        processes = self.live()
        if not processes:
            raise TryLaterError(
                "E-LINK-02",
                "No call process runs, so there are no live calls and none can be placed.",
                "Start offhook serve; one that is restarting is there in a moment.",
                AGAIN_S,
            )
        return processes

    async def _ready(self) -> CallProcess:
        """Return the newest process that is not draining, else the newest."""
        processes = self._some()
        if len(processes) > 1:
            states = await _each(processes, lambda process: process.process_state())
            ready = [p for p, state in states if state is not None and not state.is_draining]
            processes = ready or processes
        return processes[0]

    async def _is_known(self, call_sid: str) -> bool:
        """Return whether a process of this folder knows a call."""
        states = await _each(self.live(), lambda process: process.process_state(call_sid))
        return any(state is not None and state.knows_call for _, state in states)

    async def _elsewhere(
        self,
        fleet: FleetLookup,
        call_sid: str,
        ask: Callable[[CallProcess], Awaitable[_T | None]],
    ) -> _T | None:
        """Return what the process of another node answers that has a call; None: no node has it.

        `ask` returns None if the call is not there. A call may have moved since it was looked up:
        then it is looked up once more. Raises TryLaterError when its node does not answer.
        """
        ended = None
        for _ in range(LOOK_UPS):
            found = await fleet.owner(call_sid)
            if found is None:
                return None
            ended = None
            try:
                answer = await ask(found.process)
            except NotHereError:
                ended = found.node
                continue
            if answer is not None:
                return answer
        if ended is not None:
            raise node_away(ended)  # nobody has taken its calls over yet
        return None

    async def _process_of(self, call_sid: str) -> CallProcess:
        """Return the process that knows a call, else the newest."""
        processes = self._some()
        if len(processes) == 1:
            return processes[0]
        states = await _each(processes, lambda process: process.process_state(call_sid))
        return next((p for p, state in states if state and state.knows_call), processes[0])


async def _each(
    processes: Sequence[CallProcess], ask: Callable[[CallProcess], Awaitable[_T]]
) -> list[tuple[CallProcess, _T | None]]:
    """Return each process with its answer, all asked at once; None for one without an answer."""

    async def one(process: CallProcess) -> _T | None:
        with contextlib.suppress(UserError):
            return await ask(process)
        return None

    answers = await asyncio.gather(*map(one, processes))
    return list(zip(processes, answers, strict=True))
