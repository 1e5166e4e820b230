"""Live calls of the other nodes, and the nodes themselves, as the database has them.

Every node writes its events there within moments (follower.py). So each operator process shows all
calls of a fleet without asking another one, and a call that moves goes on in order.
"""

import dataclasses
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from offhook.concurrency.background_thread import BackgroundThread, ThreadOwner
from offhook.events.types import CallEnded, CallEvent, Event
from offhook.fleet.places import LEASE_S
from offhook.journal.entries import JournalEntry
from offhook.journal.folders import process_folders
from offhook.records import tables
from offhook.records.moves import EPOCHS_MAX, epoch_of, place
from offhook.records.timeline import StoredEvent, decoded

_log: Final = logging.getLogger("offhook.records")

LOOK_S: Final = 0.25
"""Seconds between two looks."""

AGAIN_S: Final = 1.0
"""Seconds until the next look after one that the database did not answer."""

NodeState: TypeAlias = Literal["up", "draining", "away", "unknown"]
"""`away`: its lease is over; `unknown`: the database, which would know, does not answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node of the fleet: its live calls, and the calls that its processes take at most."""

    name: str
    state: NodeState
    live: int
    capacity: int


class ElsewhereLine(NamedTuple):
    """A line of a call that another node has. `epoch` counts the processes of the call."""

    entry: JournalEntry
    epoch: int
    node: str


class OwnedCall(NamedTuple):
    """The process of another node that had a call at a look, and in which epoch."""

    process_id: str
    node: str
    address: str
    epoch: int


@dataclasses.dataclass(slots=True)
class FleetNews:
    """Result of one look at the database.

    Attributes:
        before: Lines of calls that were not followed yet: they tell what the calls are now.
        lines: New lines.
        ended: Ends that no line tells: of calls whose process died.
        nodes: The nodes.
        owners: Who has which live call.
    """

    before: list[ElsewhereLine] = dataclasses.field(default_factory=list)
    lines: list[ElsewhereLine] = dataclasses.field(default_factory=list)
    ended: list[CallEvent] = dataclasses.field(default_factory=list)
    nodes: list[NodeRecord] = dataclasses.field(default_factory=list)
    owners: dict[str, OwnedCall] = dataclasses.field(default_factory=dict)


_NOTHING: Final = -(1 << 62)
"""A number below that of any row."""

_LINES: Final = text(
    "SELECT e.call_sid, e.line, e.at_ms, e.wall_ms, e.kind, e.body"
    " FROM unnest(CAST(:sids AS text[]), CAST(:lines AS bigint[])) AS seen(sid, line)"
    " JOIN events e ON e.call_sid = seen.sid AND e.line > seen.line AND e.line < :most"
    " ORDER BY e.call_sid, e.line"
)
_BEFORE: Final = text(
    "SELECT call_sid, line, at_ms, wall_ms, kind, body FROM events"
    " WHERE call_sid = ANY(:sids) AND kind = ANY(:kinds) ORDER BY call_sid, line"
)
_OWNERS: Final = text(
    "SELECT c.call_sid, p.process_id, p.node, p.address, c.epoch"
    " FROM fleet_calls c JOIN fleet_processes p USING (process_id)"
    " WHERE c.ended_at IS NULL AND p.address <> '' AND p.process_id <> ALL(:own)"
)
_NODES: Final = text(
    "SELECT node, sum(live), sum(capacity),"
    " bool_or(is_alive), bool_or(is_alive AND NOT is_draining)"
    " FROM (SELECT *, beat_at > clock_timestamp() - :lease * interval '1 s' AS is_alive"
    " FROM fleet_processes) AS processes GROUP BY node ORDER BY node"
)


class CallsElsewhere(ThreadOwner):
    """Hands `told` what is new of calls that other nodes have. A context manager: a thread.

    `root` is the folder of this node's journals, whose calls are left out. `kinds` are the events
    that tell what a call is now. `told` must not wait; it gets None while the database is away, and
    returns False while nobody can be told.
    """

    def __init__(
        self,
        engine: Engine,
        root: Path,
        kinds: Collection[type[Event]],
        told: Callable[[FleetNews | None], bool],
    ) -> None:
        self._engine = engine
        self._root = root
        self._kinds = sorted(kind.__name__ for kind in kinds)
        self._told = told
        self._seen: dict[str, int] = {}
        """Number of the last row that was read, by call."""
        self._is_first = True
        self.thread = BackgroundThread("calls elsewhere", self._work)

    def _work(self) -> float:
        if self.thread.stopping:
            return 0.0
        own = [folder.name for folder in process_folders(self._root)]
        seen = dict(self._seen)
        try:
            with self._engine.connect() as connection:
                news = self.look(connection, own)
        except SQLAlchemyError as error:
            self._seen = seen
            _log.debug("the calls of other nodes are not known: %s", type(error).__name__)
            self._told(None)
            return AGAIN_S
        if not self._told(news):
            self._seen, self._is_first = {}, True
        return LOOK_S

    def look(self, connection: Connection, own: Collection[str]) -> FleetNews:
        """Return what is new; `own` are the processes of this node. Raises SQLAlchemyError."""
        owned = connection.execute(_OWNERS, {"own": [*own]})
        news = FleetNews(
            nodes=_nodes(connection), owners={sid: OwnedCall(*owner) for sid, *owner in owned}
        )
        calls = tables.calls.c
        query = select(calls.sid, calls.node).where(
            calls.duration_ms.is_(None), calls.process.not_in(own)
        )
        nodes = {row.sid: row.node for row in connection.execute(query)}
        self._begin(connection, nodes, news)
        gone = self._seen.keys() - nodes.keys()
        ends = self._ends(connection, gone, own)
        nodes |= dict.fromkeys(ends, "")
        for line in self._read(connection, nodes):
            news.lines.append(line)
            self._seen[line.entry.call_sid] = line.entry.number
        told = {
            line.entry.call_sid for line in news.lines if isinstance(line.entry.event, CallEnded)
        }
        news.ended = [end for sid, end in ends.items() if sid not in told]
        for sid in list(gone):
            del self._seen[sid]
        self._is_first = False
        return news

    def _begin(self, connection: Connection, nodes: Mapping[str, str], news: FleetNews) -> None:
        """Begin to follow the calls that are new here, each from a line on."""
        new = [sid for sid in nodes if sid not in self._seen]
        if not new:
            return
        since = dict.fromkeys(new, _NOTHING)
        if self._is_first:
            lines = tables.events.c
            last = select(lines.call_sid, func.max(lines.line)).where(lines.call_sid.in_(new))
            since |= dict(map(tuple, connection.execute(last.group_by(lines.call_sid))))
        else:
            # A call that has moved is known here, or the journal of this node had it before.
            its = tables.ownerships.c
            moved = select(its.call_sid, func.max(its.epoch)).where(its.call_sid.in_(new))
            for sid, epoch in connection.execute(moved.group_by(its.call_sid)):
                since[sid] = place(epoch, 0) - 1
        self._seen |= since
        told = [sid for sid in new if since[sid] != _NOTHING]
        if told:
            rows = connection.execute(_BEFORE, {"sids": told, "kinds": self._kinds})
            found = _lines(rows, nodes)
            news.before = [one for one in found if one.entry.number <= since[one.entry.call_sid]]

    def _read(self, connection: Connection, nodes: Mapping[str, str]) -> Iterable[ElsewhereLine]:
        """Return the lines that are new of these calls, in the order of each."""
        seen = {sid: self._seen[sid] for sid in nodes}
        given = {"sids": list(seen), "lines": list(seen.values()), "most": place(EPOCHS_MAX, 0)}
        return _lines(connection.execute(_LINES, given), nodes) if seen else ()

    def _ends(
        self, connection: Connection, gone: Collection[str], own: Collection[str]
    ) -> dict[str, CallEvent]:
        """Return the ends of those of the calls that are over; others have moved here."""
        if not gone:
            return {}
        calls = tables.calls.c
        rows = connection.execute(select(tables.calls).where(calls.sid.in_(gone))).all()
        here = {row.sid for row in rows if row.process in own}
        ends = {}
        for row in rows:
            if row.sid not in here and row.duration_ms is not None:
                words = (row.fault or "", row.slug or "", row.words or "", row.detail or "")
                end = CallEnded(*words, row.duration_ms)
                ends[row.sid] = CallEvent(row.sid, row.duration_ms, end)
        return ends


def _lines(rows: Iterable[Any], nodes: Mapping[str, str]) -> list[ElsewhereLine]:
    found = []
    for sid, line, at_ms, wall_ms, kind, body in rows:
        event = decoded(StoredEvent(line, at_ms, wall_ms, kind, body))
        if event is not None:
            entry = JournalEntry(line, sid, at_ms, wall_ms, event)
            found.append(ElsewhereLine(entry, epoch_of(line), nodes[sid]))
    return found


def _nodes(connection: Connection) -> list[NodeRecord]:
    found = []
    for name, live, capacity, lives, takes in connection.execute(_NODES, {"lease": LEASE_S}):
        state: NodeState = "up" if takes else "draining" if lives else "away"
        found.append(NodeRecord(name, state, live, capacity))
    return found
