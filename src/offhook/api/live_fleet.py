"""Calls of the other nodes of a fleet, on this node's board and in its live events."""

import asyncio
import contextlib
import dataclasses
from typing import Final

from offhook.api.live import LiveEvents
from offhook.api.live_board import LiveBoard
from offhook.events.types import CallEvent
from offhook.records.elsewhere import FleetNews, NodeRecord

KNOWN_S: Final = 2.0
"""Seconds for which a snapshot waits, after a start, for the first word of the other nodes."""


class LiveFleet:
    """The other nodes' calls. `is_one` is False without a fleet, which has no other nodes.

    Attributes:
        nodes: The nodes, as of the last look into the database.
    """

    def __init__(self, board: LiveBoard, live: LiveEvents, *, is_one: bool) -> None:
        self._board = board
        self._live = live
        self._known = asyncio.Event()
        if not is_one:
            self._known.set()
        self.nodes: list[NodeRecord] = []

    def tell(self, news: FleetNews | None) -> None:
        """Take what is new of the other nodes; None: the database does not answer."""
        self._known.set()
        if news is None:
            self._set_nodes([dataclasses.replace(one, state="unknown") for one in self.nodes])
            return
        self._board.seed_elsewhere(news.before)
        for line in news.lines:
            sid, at_ms = line.entry.call_sid, line.entry.at_ms
            self._live(CallEvent(sid, at_ms, line.entry.event), self._board.take_elsewhere(line))
        for end in news.ended:
            self._live(end, None if self._board.drop(end.call_sid) else {})
        self._set_nodes(news.nodes)

    def _set_nodes(self, nodes: list[NodeRecord]) -> None:
        states = [(one.name, one.state) for one in self.nodes]
        self.nodes = nodes
        if [(one.name, one.state) for one in nodes] != states:
            self._live.tell("nodes", {"nodes": nodes})

    async def until_known(self) -> None:
        """Wait until the other nodes' calls are known, KNOWN_S at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KNOWN_S):
                await self._known.wait()
