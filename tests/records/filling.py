"""Calls for tests of what is asked about them, written as a server's are: by RecordStore."""

from collections.abc import Iterable

from sqlalchemy import Engine

from offhook.config import Prices
from offhook.events import types as events
from offhook.events.types import Event
from offhook.journal.entries import JournalEntry
from offhook.records.store import RecordStore

BEGAN_MS = 1_793_000_000_000
CALLER, CALLED = "+12025550142", "+12025550100"
PRICES = Prices(twilio_minute=0.01, stream_minute=0.004, deepgram_minute={"standard": 0.06})


def sid_of(number: int) -> str:
    return f"CA{number:032x}"


def began(**fields: str) -> events.CallBegan:
    whole = {
        "account_sid": "AC" + "0" * 32,
        "agent": "desk",
        "tier": "standard",
        "direction": "inbound",
        "by": "webhook",
        "from_": CALLER,
        "to": CALLED,
        "variables": "{}",
    } | fields
    return events.CallBegan(**whole)  # type: ignore[arg-type]


def ended(ms: int, slug: str = "caller_hung_up", fault: str = "nobody") -> events.CallEnded:
    return events.CallEnded(fault, slug, slug.replace("_", " "), "", ms)


class Filler:
    """Writes calls into one database, one journal's lines after the other."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = RecordStore("0" * 32, PRICES)
        self._line = 0

    def call(self, sid: str, happened: Iterable[tuple[int, Event]], began_ms: int) -> None:
        """The events of one call, each with its ms; the first should be CallBegan."""
        lines = []
        for at_ms, event in happened:
            self._line += 1
            lines.append(JournalEntry(self._line, sid, at_ms, began_ms + at_ms, event))
        with self._engine.begin() as connection:
            self._store.apply(connection, lines, self._line)

    def short(self, number: int, began_ms: int | None = None, **fields: str) -> str:
        """A call of two seconds, each a second after the one before, unless it is said when."""
        sid = sid_of(number)
        happened: list[tuple[int, Event]] = [(0, began(**fields)), (2000, ended(2000))]
        self.call(sid, happened, BEGAN_MS + number * 1000 if began_ms is None else began_ms)
        return sid
