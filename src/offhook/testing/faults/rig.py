"""Fault rig of one server: a proxy on either side of it, and the faults that are still to come."""

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Final

from offhook.clock import Clock
from offhook.testing.faults.fault import Fault, FaultyEnd
from offhook.testing.faults.proxy import FaultProxy, Upstream, fault_proxy


class ArmedFaults:
    """Faults that wait for their moment, each with how often it is still to happen."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._left: list[tuple[Fault, int]] = [(fault, fault.times) for fault in faults]

    def add(self, fault: Fault) -> None:
        """Arm a fault."""
        self._left.append((fault, fault.times))

    def due(self, end: FaultyEnd, moment: str) -> list[Fault]:
        """Return the faults that are due, and count each of them once.

        The moment "" is the opening of a socket, or any request.
        """
        if not self._left:
            return []
        found = [fault for fault, _ in self._left if _is_due(fault, end, moment)]
        if found:
            left = [(one, times - (one in found)) for one, times in self._left]
            self._left = [(one, times) for one, times in left if times]
        return found

    def never(self) -> list[Fault]:
        """Return the faults that have not happened once."""
        return [fault for fault, times in self._left if times == fault.times]


def _is_due(fault: Fault, end: FaultyEnd, moment: str) -> bool:
    if fault.end is not end:
        return False
    name = "" if fault.at is None else fault.at.name
    if fault.opening and end is FaultyEnd.AGENT:
        name = "dial"
    return name == moment


class FaultRig:
    """Proxies around a server, towards Deepgram and towards Twilio."""

    def __init__(self, armed: ArmedFaults, agent: FaultProxy, twilio: FaultProxy) -> None:
        self.armed: Final = armed
        self.ends: Final = {fault.end for fault in armed.never()}
        """Ends that commit faults, now or earlier."""
        self._agent = agent
        self._twilio = twilio

    @property
    def agent_url(self) -> str:
        """URL that the server dials in place of Deepgram's."""
        return f"ws://127.0.0.1:{self._agent.port}{self._agent.upstream.path}"

    @property
    def port(self) -> int:
        """Port to which Twilio connects in place of the server's."""
        return self._twilio.port

    def strike(self, fault: Fault, ids: Collection[str] = ()) -> bool:
        """Commit a fault: now, or at its moment. Return False if there is no such connection now.

        `ids` are the CallSid and the agent's request ids of the call; any other is left alone.
        """
        self.ends.add(fault.end)
        if fault.end is FaultyEnd.WEBHOOK or fault.opening or (fault.at and fault.at.name):
            self.armed.add(fault)
            return True
        proxy = self._agent if fault.end is FaultyEnd.AGENT else self._twilio
        for link in reversed(proxy.links):
            if link.is_open and (not ids or not link.ids.isdisjoint(ids)):
                link.commit_at(fault)
                return True
        return False


@asynccontextmanager
async def fault_rig(
    faults: Iterable[Fault], clock: Clock, *, agent_url: str, server_port: int
) -> AsyncIterator[FaultRig]:
    """Open the proxies of a server on that port of loopback, whose agent is at that URL."""
    armed = ArmedFaults(faults)
    server = Upstream("127.0.0.1", server_port)
    async with (
        fault_proxy(Upstream.of(agent_url), clock, armed.due, agent=True) as agent,
        fault_proxy(server, clock, armed.due, agent=False) as twilio,
    ):
        yield FaultRig(armed, agent, twilio)
