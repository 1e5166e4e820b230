"""The call processes that an operator's process can ask: those of a data folder."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from offhook.config.current_agents import ReloadReport
from offhook.errors import UserError
from offhook.link.client import AGAIN_S, CallProcess
from offhook.link.messages import (
    CallProcessState,
    LinkOrder,
    OpenedStream,
    OpenPhoneCall,
    PerformedOperation,
)
from offhook.link.process_files import live_processes
from offhook.outbound.call_tracker import PlacedCallState
from offhook.outbound.errors import TryLaterError
from offhook.outbound.outbound_calls import OutboundRequest, PlacedCall

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ProcessStream:
    """A stream that a call process has offered."""

    process: CallProcess
    opened: OpenedStream


class CallProcesses:
    """The call processes of a data folder. There are several while one takes over from another.

    `journal` is the folder that has a folder for each process; `own` is a process that has no
    file there, because it shares this process.

    Every method raises TryLaterError E-LINK-02 when no call process runs.
    """

    def __init__(self, journal: Path, own: CallProcess | None = None) -> None:
        self._journal = journal
        self._own = own
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

    async def perform(
        self, call_sid: str, operation: str, arguments: Mapping[str, Any], by: str
    ) -> PerformedOperation:
        """Perform an operation on a call, in the process that has it."""
        process = await self._process_of(call_sid)
        return await process.perform(call_sid, operation, arguments, by)

    async def place(self, request: OutboundRequest) -> PlacedCall:
        """Place a call with the newest process that is not draining, else with the newest."""
        return await (await self._ready()).place(request)

    async def phone(self, order: OpenPhoneCall) -> ProcessStream:
        """Begin a call from a browser, with the process that would place a call."""
        process = await self._ready()
        return ProcessStream(process, await process.open_stream(order))

    async def stream_of(self, call_sid: str, order: LinkOrder) -> ProcessStream:
        """Have the process that has a call offer a stream of it."""
        process = await self._process_of(call_sid)
        return ProcessStream(process, await process.open_stream(order))

    async def state(self, sid: str, seen: str | None, wait_s: float) -> PlacedCallState | None:
        """Return the state of a placed call, from the process that has it."""
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
