"""Other call processes, as a call process asks them: by the ids of their journals."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

from offhook.calls.forwarded import ForwardedWebhook, WebhookAnswer
from offhook.concurrency.server_tasks import ServerTasks
from offhook.errors import UserError
from offhook.journal.folders import is_alive, read_process_info
from offhook.link.client import CallProcess
from offhook.link.messages import CallProcessState
from offhook.link.node_links import NodeLinks, NotHereError

Released: TypeAlias = Literal["released", "unknown", "unreachable"]
"""Result of a request to give a call up. `unknown`: that process answers, and has no such
call; `unreachable`: it has ended or does not answer, and may have the call still."""

KNOWN_MAX: Final = 32
"""Processes to which connections are kept; for one more the oldest is closed."""


class Neighbours:
    """Other call processes: of this machine over their local sockets, of other nodes over links.

    Args:
        journal: The folder of this machine's journals.
        tasks: Owner of work that nobody awaits.
    """

    def __init__(self, journal: Path, tasks: ServerTasks) -> None:
        self._journal = journal
        self._tasks = tasks
        self._links: NodeLinks | None = None
        self._nodes: Callable[[], Mapping[str, tuple[str, str]]] = dict
        self._known: dict[str, CallProcess] = {}

    def join(self, links: NodeLinks, nodes: Callable[[], Mapping[str, tuple[str, str]]]) -> None:
        """Reach the processes of other nodes, too.

        `nodes` returns name of the node and address of each process of the fleet, by its id.
        """
        self._links, self._nodes = links, nodes

    async def forward(self, process_id: str, webhook: ForwardedWebhook) -> WebhookAnswer | None:
        """Have a process answer a webhook; None if it is not reached, or does not know the call.

        The first shows within 2 s; an answer may take longer.
        """
        try:
            return await self._process(process_id).answer(webhook)
        except (UserError, NotHereError):
            return None

    async def release(
        self, process_id: str, call_sid: str, *, to: str | None = None, token: str | None = None
    ) -> Released:
        """Have a process give a call up, as ReleaseCall says."""
        try:
            given_up = await self._process(process_id).release(call_sid, to, token)
        except (UserError, NotHereError):
            return "unreachable"
        return "released" if given_up else "unknown"

    async def is_ready(self, process_id: str) -> bool:
        """Return whether a process answers, and takes new calls."""
        state = await self.state_of(process_id)
        return state is not None and not state.is_draining

    async def state_of(self, process_id: str) -> CallProcessState | None:
        """Return the state of a process; None if it does not answer."""
        try:
            return await self._process(process_id).process_state()
        except (UserError, NotHereError):
            return None

    def fence(self, process_id: str, call_sid: str, epoch: int) -> None:
        """Tell a process, once, that a call of its is claimed by another one.

        The call, which is here by now, goes on if that fails.
        """
        work = self._fence(process_id, call_sid, epoch)
        _ = self._tasks.start("tell a node of a claim", work, call_sid=call_sid, ends_call=False)

    def close(self) -> None:
        """Close all connections."""
        for process in self._known.values():
            process.close()
        self._known.clear()

    async def _fence(self, process_id: str, call_sid: str, epoch: int) -> None:
        try:
            await self._process(process_id).fence(call_sid, epoch)
        except (UserError, NotHereError):
            return  # It learns it when it next writes a line of the call.

    def _process(self, process_id: str) -> CallProcess:
        """Return a process. Raises NotHereError for one that has ended or is not known."""
        control = self._control(process_id)
        place = self._nodes().get(process_id)
        known = self._known.get(process_id)
        if control is None and (place is None or self._links is None):
            if known is not None:
                self._known.pop(process_id).close()
            raise NotHereError
        if known is None:
            if control is not None:
                known = CallProcess.at(control)
            else:
                assert place is not None, "it is known"
                assert self._links is not None, "there is a fleet"
                known = CallProcess.of(process_id, *place, self._links)
            while len(self._known) >= KNOWN_MAX:
                self._known.pop(next(iter(self._known))).close()
            self._known[process_id] = known
        return known

    def _control(self, process_id: str) -> str | None:
        """Return the control socket of a process of this machine; None for an unknown one."""
        if not process_id.isalnum():  # it comes from elsewhere, and is to be a folder's name
            return None
        folder = self._journal / process_id
        info = read_process_info(folder) if is_alive(folder) else None
        return info.control if info is not None and info.control else None
