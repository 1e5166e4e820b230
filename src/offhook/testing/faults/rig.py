"""Fault rig of one server: a proxy towards each peer, and the faults that are still to come."""

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Final

from offhook.clock import Clock
from offhook.testing.faults.armed import ArmedFaults
from offhook.testing.faults.fault import Fault, FaultyEnd
from offhook.testing.faults.proxy import FaultProxy, Peer, Upstream, fault_proxy


class FaultRig:
    """Proxies around a server, towards Deepgram and towards Twilio."""

    def __init__(
        self, armed: ArmedFaults, clock: Clock, agent: FaultProxy, twilio: FaultProxy
    ) -> None:
        self.armed: Final = armed
        self.ends: Final = {fault.end for fault in armed.never()}
        """Ends that commit faults, now or earlier."""
        self._clock = clock
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

    @asynccontextmanager
    async def before_account(self, api_url: str) -> AsyncIterator[str]:
        """Put a proxy before Twilio's REST API at that origin, and yield the proxy's."""
        api = Upstream.of(api_url)
        async with fault_proxy(api, self._clock, self.armed, Peer.REST_API) as proxy:
            yield f"http://127.0.0.1:{proxy.port}"

    def strike(self, fault: Fault, ids: Collection[str] = ()) -> bool:
        """Commit a fault: now, or at its moment. Return False if there is no such connection now.

        `ids` are the CallSid and the agent's request ids of the call; any other is left alone.
        """
        self.ends.add(fault.end)
        if fault.opening or (fault.at and fault.at.name):
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
    armed = ArmedFaults(clock, faults)
    server = Upstream("127.0.0.1", server_port)
    async with (
        fault_proxy(Upstream.of(agent_url), clock, armed, Peer.DEEPGRAM) as agent,
        fault_proxy(server, clock, armed, Peer.TWILIO) as twilio,
    ):
        yield FaultRig(armed, clock, agent, twilio)
