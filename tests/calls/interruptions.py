"""Servers that die under their calls, in memory on a clock that jumps; the files outlive them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.memory_sockets import connect_in_memory
from tests.whole_server import ACCOUNT, NoTools, empty_office, nothing_known

from offhook.call.resumed import KEPT
from offhook.calls.call_entry import CallEntry
from offhook.calls.call_updates import CallUpdates
from offhook.calls.compose import CallHandling, compose
from offhook.calls.session import Session
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import Config
from offhook.events.types import CallEnded, CallEvent
from offhook.fleet.pulse import Pulse
from offhook.journal.entries import encode
from offhook.journal.live_files import LiveCallFile
from offhook.net.websocket import Receiver, UnreachableError, UpgradeRefusedError
from offhook.observability.metrics.meter import Metrics
from offhook.policy.dial_policy import DialPolicy, DialRules
from offhook.policy.inbound_policy import InboundPolicy, InboundRules
from offhook.recordings.files import LocalFiles
from offhook.recordings.recorder import Recordings
from offhook.testing.scenarios.caller import SimulatedCaller
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.deepgram.standin import StandIn
from offhook.testing.simulator.twilio.stream import SimulatedStream
from offhook.testing.virtual_clock import VirtualClock
from offhook.webhooks.call_flow import CallFlow
from offhook.webhooks.pending_streams import PendingStreams

SID = "CA" + "2" * 32
ORIGIN = "https://phone.example"


class LiveLines:
    """A journal's part for live calls, without a disk."""

    def __init__(self, files: dict[str, list[bytes]]) -> None:
        self.files = files
        self._owned: set[str] = set()

    def __call__(self, call_event: CallEvent) -> None:
        sid = call_event.call_sid
        if type(call_event.event) in KEPT and sid in self._owned:
            self.files[sid].append(encode(call_event, 0))
        elif isinstance(call_event.event, CallEnded):
            self.drop(sid)

    def keep(self, call_sid: str, line: bytes) -> None:
        self._owned.add(call_sid)
        self.files.setdefault(call_sid, []).append(line)

    def drop(self, call_sid: str) -> None:
        self._owned.discard(call_sid)
        self.files.pop(call_sid, None)

    def hand_over(self, call_sid: str, process_id: str) -> bool:
        self._owned.discard(call_sid)
        return call_sid in self.files

    def adopt(self, call_sid: str) -> LiveCallFile | None:
        if call_sid not in self.files:
            return None
        self._owned.add(call_sid)
        return LiveCallFile(call_sid, list(self.files[call_sid]))

    def take_over(self) -> list[LiveCallFile]:
        found = [LiveCallFile(sid, list(lines)) for sid, lines in self.files.items()]
        self._owned |= self.files.keys()
        return found


class Nobody:
    def cancel(self) -> None:
        pass


class Process:
    """One run of a server. `happened` has its events alone."""

    def __init__(self, owner: "Servers") -> None:
        self.happened: list[CallEvent] = []
        self.agents: list[StandIn] = []
        self.journal = LiveLines(owner.files)
        self._owner = owner
        self._is_dead = False
        self.recordings = None if owner.folder is None else Recordings(LocalFiles(owner.folder))
        if self.recordings is not None:
            self.recordings.thread.start()
        self._ends: list[Any] = []
        journal: Any = self.journal
        self.calls: CallHandling = compose(
            owner.config,
            clock=owner.clock,
            dial=self._dial,
            publish=self._publish,
            tools=lambda toolbox, call: NoTools(owner.clock),
            look_up=nothing_known,
            messaging=empty_office(owner.clock),
            dial_policy=DialPolicy(DialRules()),
            inbound=InboundPolicy(InboundRules(), owner.clock, lambda ms, tier: 0),
            updates=CallUpdates(None, ServerTasks(asyncio.TaskGroup())),
            journal=journal,
            recordings=self.recordings,
        )
        self.calls.intake._sessions._pulse = owner.pulse
        self.flow = CallFlow(self.calls, Metrics(), None)
        self.refused: list[str] = []
        self.pending = PendingStreams(owner.clock, self.calls.intake.admit, self.refused.append)
        if owner.takes_over:
            self.calls.interrupted.take_over()

    def _publish(self, call_event: CallEvent) -> None:
        if not self._is_dead:
            self.happened.append(call_event)
            self.journal(call_event)

    def _dial(
        self,
        receiver: Receiver,
        failed: Callable[[UpgradeRefusedError | UnreachableError], None],
        place: int = 0,
    ) -> Nobody:
        agent = StandIn(self._owner.script, self._owner.clock)
        self.agents.append(agent)
        self._ends += connect_in_memory(self._owner.clock, receiver, agent, 0.03)
        return Nobody()

    def stream(self, who: SimulatedCaller, token: str | None, sid: str = SID) -> SimulatedStream:
        parameters = {} if token is None else {"token": token}
        stream = SimulatedStream(
            who,
            self._owner.clock,
            account_sid=ACCOUNT,
            call_sid=sid,
            stream_sid="MZ" + "3" * 32,
            parameters=parameters,
        )
        self._ends += connect_in_memory(self._owner.clock, stream, self.pending.receiver(), 0.02)
        return stream

    def after(self, sid: str = SID, **fields: str) -> str:
        """Return the answer to a request to /twilio/after."""
        form = {"CallSid": sid, "AccountSid": ACCOUNT, "CallStatus": "in-progress", **fields}
        return bytes(asyncio.run(self.flow.after(form, ORIGIN)).body).decode()

    def entry(self, sid: str = SID) -> CallEntry:
        return self.calls.registry.live[sid]

    @property
    def events(self) -> list[Any]:
        return [each.event for each in self.happened]

    def die(self) -> None:
        """Do nothing more: neither sockets, nor timers, nor files."""
        self.journal = LiveLines({})
        self._is_dead = True
        for entry in self.calls.registry.live.values():
            session: Session | None = entry.session
            if session is not None:
                session._timer.end()
                session._is_deciding = True  # What comes in waits for a decision that never ends.
        for end in self._ends:
            end.abort()
        self.write_recordings()
        for file in self.recordings._live.values() if self.recordings is not None else ():
            if file._file is not None:
                file._file.close()  # as the system does for a process that was killed

    def write_recordings(self) -> None:
        """Have the disk take what it was given; what was not given is lost."""
        if self.recordings is not None:
            assert self.recordings.thread.stop()


class Servers:
    """Servers of one data folder, one after the other, on one clock."""

    def __init__(
        self,
        config: Config,
        script: Script,
        folder: Path | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self.folder = folder
        """The folder of recordings, if calls are recorded."""
        self.clock = VirtualClock(1000.0)
        self.config = config
        self.script = script
        self.files: dict[str, list[bytes]] = {}
        self.takes_over = True
        self.pulse = pulse
        self.now = Process(self)

    def announce(self, sid: str = SID) -> CallEntry:
        agent = self.config.lines["default"]
        entry = self.now.calls.intake.announce(sid, ACCOUNT, agent, from_="+12025550142")
        entry.note_origin(ORIGIN)
        return entry

    def begin_beside(self) -> Process:
        """Start another process while this one lives: it takes nothing over by itself."""
        self.takes_over = False
        return Process(self)

    def crash(self) -> Process:
        """Kill the process, and start the next one."""
        self.now.die()
        self.now = Process(self)
        return self.now
