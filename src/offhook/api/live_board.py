"""Board of live calls: a row for each, which events change.

The board alone decides what an event changes in a row: each live event carries that change
(live.py), so that a reader of a snapshot and the events behind it needs no rules of its own.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from offhook.events import types as events
from offhook.events.describe import describe
from offhook.events.types import Event
from offhook.journal.entries import JournalEntry
from offhook.records.elsewhere import ElsewhereLine
from offhook.records.rows import TROUBLES

_log: Final = logging.getLogger("offhook.api")

CALLS_MAX: Final = 10_000
"""Calls on the board. One that begins when it is full stays off it."""
RELEASED_MAX: Final = 1000
"""Rows that are kept of calls that their process gave up."""
TEXT_MAX: Final = 400
"""Characters of a text in a row, beyond which it is cut."""

Row: TypeAlias = dict[str, Any]
Change: TypeAlias = Row | None
"""Fields of a row that an event has changed, all of them for a new row; None: the call is over."""

_BY_TURN: Final = "turn"
"""Cause of a trouble that counts until the caller's next turn."""


@dataclass(slots=True)
class _LiveCall:
    row: Row
    epoch: int = 1
    """Number of the processes that the call has had (records/moves.py)."""
    is_told: bool = True
    """False until an event has told of the row."""
    troubles: dict[str, str] = field(default_factory=dict)
    """Present troubles in words, by cause; the latest is last."""
    announced: int = 0
    said: int = 0
    process_id: str = ""
    """Process that has taken the call over; empty for the first one."""
    agent_leg: str = "dialling"
    """State of the agent's socket: dialling, connected or lost."""
    is_muted: bool = False

    @property
    def is_agent_speaking(self) -> bool:
        """True while an utterance was announced that is not over."""
        return self.announced > self.said


class LiveBoard:
    """Rows of the calls that are live, from journal entries in their order.

    Calls that began before this process did are unknown until `seed`: their entries since `hold`
    are kept, and change their rows then. `node` is the name of this node in a fleet, whose other
    nodes' calls are on the board as well.
    """

    def __init__(self, node: str | None = None) -> None:
        self._node = node
        self._inherited: set[str] = set()
        """Calls of which inherited entries make the rows."""
        self.numbers: Final[dict[str, int]] = {}
        """Number of the last entry that was taken, by call process."""
        self._calls: dict[str, _LiveCall] = {}
        self._held: list[JournalEntry] | None = None
        self._is_faulty = False
        self._process_id = ""
        """Process of the entry that is being taken."""
        self._released: dict[str, _LiveCall] = {}
        """Rows of calls that their process gave up, until another one goes on."""

    def __len__(self) -> int:
        return len(self._calls)

    def rows(self) -> list[Row]:
        """Return the rows: calls with trouble first, then the longest."""
        rows = [call.row for call in self._calls.values()]
        return sorted(rows, key=lambda row: (row["trouble"] is None, row["began_ms"]))

    def take(self, process_id: str, entry: JournalEntry) -> Change:
        """Take the next entry of a process; return what it changes in the row of its call."""
        self.numbers[process_id] = entry.number
        self._process_id = process_id
        if entry.origin is not None:
            self._inherit(entry)
            return {}
        call = self._calls.get(entry.call_sid)
        if isinstance(entry.event, events.CallTakenOver):
            self._inherited.discard(entry.call_sid)
        elif call is not None and call.row["node"] != self._node:
            return {}  # The call has gone on elsewhere.
        if self._held is not None and self._is_unknown(entry):
            self._held.append(entry)
            return {}
        return self._apply(entry)

    def drop(self, call_sid: str) -> bool:
        """Drop a call that was erased, or is over; return False if it is not on the board."""
        return self._calls.pop(call_sid, None) is not None

    def take_elsewhere(self, line: ElsewhereLine) -> Change:
        """Take the next line of a call that another node has; return what it changes in its row."""
        self._process_id = f"{line.node} {line.epoch}"
        call = self._calls.get(line.entry.call_sid)
        is_taken = isinstance(line.entry.event, events.CallTakenOver)
        if call is not None and not is_taken:
            if line.epoch < call.epoch or call.row["node"] == self._node:
                return {}
        elif call is not None and line.epoch <= call.epoch:
            return {}
        return self._apply(line.entry, line.node)

    def seed_elsewhere(self, before: Iterable[ElsewhereLine]) -> None:
        """Add calls of other nodes that are not on the board, from what they had so far."""
        known = set(self._calls)
        for line in before:
            sid = line.entry.call_sid
            if sid not in known:
                self._apply(line.entry, line.node)
                if sid in self._calls:
                    self._calls[sid].is_told = False

    def _inherit(self, entry: JournalEntry) -> None:
        """Take an entry of a process that had the call before: its row may be here already."""
        sid = entry.call_sid
        if isinstance(entry.event, events.CallBegan) and sid not in self._calls:
            self._inherited.add(sid)
        if sid in self._inherited:
            self._apply(entry)
            if sid in self._calls:
                self._calls[sid].is_told = False

    # --- calls from before ---------------------------------------------------------------------

    def hold(self) -> None:
        """Keep the entries of unknown calls from here on, until `seed` or `release`."""
        self._held = []

    def release(self) -> None:
        """Drop the entries that were kept."""
        self._held = None

    def seed(self, before: Iterable[JournalEntry]) -> None:
        """Add calls from their entries up to `hold`, and then what was kept since."""
        known, held = set(self._calls), self._held or []
        self._held = None
        for entry in before:
            if entry.call_sid not in known:
                self._apply(entry)
        for entry in held:
            self._apply(entry)

    def _is_unknown(self, entry: JournalEntry) -> bool:
        return entry.call_sid not in self._calls and not isinstance(entry.event, events.CallBegan)

    # --- rows ----------------------------------------------------------------------------------

    def _apply(self, entry: JournalEntry, node: str | None = None) -> Change:
        """Take an entry; `node` has the call, if it is not this one."""
        change = self._change(entry, node)
        call = self._calls.get(entry.call_sid)
        if call is None or call.is_told:
            return change
        call.is_told = True
        return dict(call.row)

    def _change(self, entry: JournalEntry, node: str | None) -> Change:
        event, sid = entry.event, entry.call_sid
        try:
            if isinstance(event, events.CallBegan):
                return self._begin(event, entry, node or self._node)
            if isinstance(event, events.CallTakenOver):
                return self._take_over(event, sid)
            call = self._calls.get(sid)
            if call is None:
                return {}
            if isinstance(event, events.CallEnded):
                del self._calls[sid]
                return None
            if isinstance(event, events.CallReleased):
                return self._release(call, sid)
            return _changed(call, event)
        except Exception as error:  # noqa: BLE001 - no row may keep an event from its readers
            if not self._is_faulty:
                self._is_faulty = True
                _log.error("a fault on the board of live calls", exc_info=error)
            return {}

    def _release(self, call: _LiveCall, sid: str) -> Change:
        """Put a row aside, for the process that goes on; keep it if that one was faster."""
        if call.process_id not in ("", self._process_id):
            return {}
        self._released[sid] = self._calls.pop(sid)
        if len(self._released) > RELEASED_MAX:
            del self._released[next(iter(self._released))]
        return None

    def _take_over(self, event: events.CallTakenOver, sid: str) -> Change:
        """Give a row to another process; one that was put aside is a new row again."""
        is_back = sid not in self._calls
        call = self._released.pop(sid, None) if is_back else self._calls[sid]
        if call is None:
            return {}
        call.process_id = self._process_id
        changed = _changed(call, event)
        if is_back:
            self._calls[sid] = call
        return dict(call.row) if is_back else changed

    def _begin(self, event: events.CallBegan, entry: JournalEntry, node: str | None) -> Change:
        sid = entry.call_sid
        if sid in self._calls or len(self._calls) >= CALLS_MAX:
            return {}
        row: Row = {
            "call_sid": sid,
            "node": node,
            "agent": _cut(event.agent),
            "tier": _cut(event.tier),
            "direction": event.direction,
            "by": event.by,
            "from": _cut(event.from_),
            "to": _cut(event.to),
            "began_ms": entry.wall_ms - entry.at_ms,
            "speaking": "nobody",
            "last_words": None,
            "turn_ms": None,
            "turns": 0,
            "interruptions": 0,
            "functions": 0,
            "trouble": None,
            "agent_state": "dialling",
            "caller_state": "ringing",
            "taken_by": None,
            "listeners": [],
        }
        self._calls[sid] = _LiveCall(row)
        return dict(row)


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"


def _changed(call: _LiveCall, event: Event) -> Row:
    """Change a call's row by an event; return the fields that are others now."""
    change = _CHANGES.get(type(event))
    new = {} if change is None else change(call, event)
    _note_trouble(call, event)
    new["trouble"] = next(reversed(call.troubles.values()), None)
    changed = {name: value for name, value in new.items() if call.row[name] != value}
    call.row.update(changed)
    return changed


# --- what is wrong -------------------------------------------------------------------------------

_LASTING: Final[Mapping[type[Event], str]] = {
    events.AgentLost: "agent",
    events.StreamBroke: "caller",
    events.CallTakenOver: "caller",
    events.RecordingFailed: "recording",
}
"""Events that are a trouble until something ends it, by its cause."""

_OVER: Final[Mapping[type[Event], str]] = {
    events.AgentConnected: "agent",
    events.AgentResumed: "agent",
    events.CallerBack: "caller",
    events.CallerSaid: _BY_TURN,
}
"""Events that end a trouble, by its cause."""


def _note_trouble(call: _LiveCall, event: Event) -> None:
    kind = type(event)
    if kind in _OVER:
        call.troubles.pop(_OVER[kind], None)
    cause = _LASTING.get(kind)
    if cause is None and kind in TROUBLES:
        cause = None if isinstance(event, events.AudioDropped) and event.why != "full" else _BY_TURN
    if cause is not None:
        call.troubles.pop(cause, None)
        call.troubles[cause] = _cut(describe(event, texts=False))


# --- who is speaking, and the rest ---------------------------------------------------------------


def _on_speech(call: _LiveCall, _: events.CallerSpeechBegan) -> Row:
    # The agent goes on speaking, until an Interrupted says otherwise.
    return {} if call.is_agent_speaking else {"speaking": "caller"}


def _on_caller_said(call: _LiveCall, event: events.CallerSaid) -> Row:
    speaking = "agent" if call.is_agent_speaking else "nobody"
    words = {"who": "caller", "text": _cut(event.text)}
    return {"speaking": speaking, "last_words": words, "turns": call.row["turns"] + 1}


def _on_announced(call: _LiveCall, event: events.AgentAnnounced) -> Row:
    call.announced = event.utterance
    return {"speaking": "agent", "last_words": {"who": "agent", "text": _cut(event.text)}}


def _on_agent_said(call: _LiveCall, event: events.AgentSaid) -> Row:
    # Each announced utterance ends with one AgentSaid; the next may be announced before.
    call.said = min(call.said + 1, call.announced)
    new: Row = {}
    if event.text and not call.is_agent_speaking:
        new["last_words"] = {"who": "agent", "text": _cut(event.text)}
    if call.row["speaking"] == "agent" and not call.is_agent_speaking:
        new["speaking"] = "nobody"
    return new


def _on_interrupted(call: _LiveCall, _: events.Interrupted) -> Row:
    return {"speaking": "caller", "interruptions": call.row["interruptions"] + 1}


def _on_taken_over(call: _LiveCall, event: events.CallTakenOver) -> Row:
    call.said = call.announced
    call.epoch = max(call.epoch, event.epoch)
    return {
        "node": event.node or call.row["node"],
        "speaking": "nobody",
        **_agent_is(call, "dialling"),
        "caller_state": "lost",
        "taken_by": None,
        "listeners": [],
    }


def _on_left(_: _LiveCall, event: events.CallerLeft) -> Row:
    state = "transferred" if event.handoff == "transfer" else "away"
    return {"caller_state": state, "speaking": "nobody"}


def _on_listening_ended(call: _LiveCall, event: events.ListeningEnded) -> Row:
    left = list(call.row["listeners"])
    if event.by in left:
        left.remove(event.by)  # One of them: a person may listen in two windows.
    return {"listeners": left}


def _on_muted(call: _LiveCall, event: events.AgentMuted) -> Row:
    call.is_muted = event.on
    return _agent_is(call, call.agent_leg)


def _agent_is(call: _LiveCall, leg: str) -> Row:
    """Return the change by a state of the agent's socket: a mute outlives it."""
    call.agent_leg = leg
    return {"agent_state": "muted" if call.is_muted and leg == "connected" else leg}


_CHANGES: Final[Mapping[type[Event], Callable[[_LiveCall, Any], Row]]] = {
    events.CallStarted: lambda call, e: {"caller_state": "connected"},
    events.CallerBack: lambda call, e: {"caller_state": "connected"},
    events.StreamBroke: lambda call, e: {"caller_state": "lost", "speaking": "nobody"},
    events.CallerLeft: _on_left,
    events.CallTakenOver: _on_taken_over,
    events.AgentConnected: lambda call, e: _agent_is(call, "connected"),
    events.AgentResumed: lambda call, e: _agent_is(call, "connected"),
    events.AgentLost: lambda call, e: _agent_is(call, "lost"),
    events.AgentMuted: _on_muted,
    events.OperatorTookOver: lambda call, e: {"taken_by": e.by},
    events.OperatorHandedBack: lambda call, e: {"taken_by": None},
    events.ListeningBegan: lambda call, e: {"listeners": [*call.row["listeners"], e.by]},
    events.ListeningEnded: _on_listening_ended,
    events.AgentSwitched: lambda call, e: {"agent": _cut(e.agent)},
    events.CallerSpeechBegan: _on_speech,
    events.CallerSaid: _on_caller_said,
    events.AgentAnnounced: _on_announced,
    events.AgentSaid: _on_agent_said,
    events.Interrupted: _on_interrupted,
    events.Answered: lambda call, e: {"turn_ms": e.first_played_ms},
    events.FunctionCalled: lambda call, e: {"functions": call.row["functions"] + 1},
}
"""Changes of a row by each event, besides trouble."""

TAKEN: Final = frozenset(
    {
        events.CallBegan,
        events.CallEnded,
        events.CallReleased,
        *_CHANGES,
        *_LASTING,
        *_OVER,
        *TROUBLES,
    }
)
"""Types of events that change rows; no other needs to be read for a row."""
