"""Lines of live calls in the database: what another machine needs to go on with a call.

The same lines as in the files of live calls (journal/live_files.py), with the journal's id and the
number of each, so that nothing is kept twice. They are gathered and told in one message for all
calls; the database takes those alone whose call is still this process's, in the same epoch.
"""

import asyncio
import logging
from collections import deque
from typing import Final

from offhook.fleet import statements
from offhook.fleet.connection import Link, count_of, rows_of
from offhook.fleet.directory import CallDirectory
from offhook.fleet.held_calls import BEGUN
from offhook.fleet.places import DirectoryAwayError

_log: Final = logging.getLogger("offhook.fleet")

GATHER_S: Final = 0.3
"""Seconds for which lines are gathered: a machine that loses its power takes no older ones."""

AWAY_S: Final = 0.5
"""Seconds between two attempts while the database is away."""

MESSAGE_BYTES: Final = 512 * 1024
"""Bytes of lines in one message, about."""

WAITING_BYTES: Final = 64 * 1024 * 1024
"""Bytes of lines that wait for a database that is away. Lines beyond are lost and counted."""


class _CallLines:
    __slots__ = ("facts", "lines")

    def __init__(self) -> None:
        self.facts: bytes | None = None
        self.lines: deque[tuple[int, bytes]] = deque()


class LiveLines:
    """Lines of this process's live calls, on their way to the database.

    Attributes:
        waiting_bytes: Bytes of lines that wait.
        lost: Number of lines that were lost, as memory had no room: calls go on, and another
            machine would know less of them.
    """

    def __init__(self, directory: CallDirectory) -> None:
        self.waiting_bytes = 0
        self.lost = 0
        self._directory = directory
        self._calls: dict[str, _CallLines] = {}
        self._some = asyncio.Event()
        directory.held.wake = self._some.set
        directory.held.let_go = self._drop

    def __call__(self, call_sid: str, line: bytes | None, number: int | None) -> None:
        """Take a line as the journal keeps it: an event with its number, or facts without one.

        Without a line the call is over.
        """
        if line is None:
            self._drop(call_sid)
            return
        if number is None or line.startswith(BEGUN):
            self._calls.setdefault(call_sid, _CallLines())
        call = self._calls.get(call_sid)
        if call is None:
            return
        if number is None:
            if not line.startswith(b"{"):
                return  # a line that another process has kept, which is in the database
            call.facts = line
            self._directory.held.note_facts(call_sid, line)
        elif self.waiting_bytes + len(line) > WAITING_BYTES:
            self._tell_lost()
            return
        else:
            call.lines.append((number, line))
            self.waiting_bytes += len(line)
        self._some.set()

    def _drop(self, call_sid: str) -> None:
        call = self._calls.pop(call_sid, None)
        if call is not None:
            self.waiting_bytes -= sum(len(line) for _, line in call.lines)

    def _tell_lost(self) -> None:
        self.lost += 1
        if self.lost == 1 or self.lost % 1000 == 0:
            _log.error(
                "E-FLEET-06 lines of live calls are lost to other machines: memory has no room for"
                " more. Lost so far: %d",
                self.lost,
            )

    async def run(self) -> None:
        """Tell the database what has gathered, for ever; a kept task."""
        while True:
            await self._some.wait()
            await asyncio.sleep(GATHER_S)
            self._some.clear()
            try:
                await self._directory.tell_ended()
                await self.flush()
            except DirectoryAwayError:
                self._some.set()
                await asyncio.sleep(AWAY_S)

    async def flush(self) -> None:
        """Tell the database everything that waits. Raises DirectoryAwayError."""
        while await self._directory.connection.do(self._tell):
            pass

    async def _tell(self, link: Link) -> bool:
        """Send one message of lines, and one of facts; return whether more lines wait."""
        epochs = {
            sid: epoch
            for sid, call in self._calls.items()
            if (call.lines or call.facts is not None)
            and (epoch := self._directory.epoch_of(sid)) is not None
        }
        facts = {sid: told for sid in epochs if (told := self._calls[sid].facts) is not None}
        sent, more = self._next(epochs)
        refused: set[str] = set()
        if sent:
            refused |= await self._tell_lines(link, epochs, sent)
        if facts:
            values = self._directory.values(
                call_sids=[*facts], epochs=[epochs[sid] for sid in facts], facts=[*facts.values()]
            )
            await count_of(link, statements.KEEP_FACTS, values)
        for sid, line in facts.items():
            call = self._calls.get(sid)
            if call is not None and call.facts is line:
                call.facts = None  # a call that is not known is entered with its facts
        if refused:
            await self._directory.settling.settle(link)  # enters those that are not known
            if any(self._directory.epoch_of(sid) is not None for sid in refused):
                self._some.set()
        return more and not refused

    def _next(self, epochs: dict[str, int]) -> tuple[list[tuple[str, int, bytes]], bool]:
        """Return the lines of the next message, and whether more are left."""
        sent: list[tuple[str, int, bytes]] = []
        size = 0
        for sid in epochs:
            for number, line in self._calls[sid].lines:
                if size > MESSAGE_BYTES:
                    return sent, True
                sent.append((sid, number, line))
                size += len(line)
        return sent, False

    async def _tell_lines(
        self, link: Link, epochs: dict[str, int], sent: list[tuple[str, int, bytes]]
    ) -> set[str]:
        """Send lines; return the calls whose lines the database did not take."""
        told = {sid: epochs[sid] for sid, _, _ in sent}
        values = self._directory.values(
            call_sids=[*told],
            epochs=[*told.values()],
            of=[sid for sid, _, _ in sent],
            numbers=[number for _, number, _ in sent],
            lines=[line for _, _, line in sent],
        )
        taken = {row[0] for row in await rows_of(link, statements.KEEP_LINES, values)}
        for sid, number, line in sent:
            call = self._calls.get(sid)
            if sid in taken and call is not None and call.lines and call.lines[0][0] == number:
                call.lines.popleft()
                self.waiting_bytes -= len(line)
        return told.keys() - taken
