"""A record with a few calls in it, as a server on this machine leaves behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.records.filling import BEGAN_MS, Filler, began, ended, sid_of

from offhook.events import types as events
from offhook.records import database, tables


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A working directory with a record of three calls; the second was recorded."""
    data = tmp_path / "offhook-data"
    engine = database.open_engine(database.url_of(f"sqlite:///{data}/offhook.db"))
    database.upgrade(engine)
    filler = Filler(engine)
    filler.short(1, agent="sales")
    filler.call(
        sid_of(2),
        [
            (0, began()),
            (0, events.LookedUp("failed", "HTTP 503", 90)),
            (40, events.CallStarted()),
            (300, events.AgentConnected("req-1", 260)),
            (1900, events.AgentSaid("We are", "We are open from nine", 900, True, 1000)),
            (3000, events.CallerSaid("Is it \x1b[31mred\x1b[0m?", 2500)),
            (3300, events.LatencyReported(100, 300, 200, 600)),
            (3350, events.Answered(310, 350)),
            (3400, events.FunctionCalled("f1", "paint", '{"colour": "red"}')),
            (3450, events.FunctionAnswered("f1", "paint", "answered", '"done"', 50)),
            (3500, events.KeyPressed("7")),
            (3600, events.MessageTaken("Ada", "555 0143", "Call back.")),
            (4000, events.AgentDisconnected(3700)),
            (4000, ended(4000, "agent_lost", "agent")),
            (4100, events.CallBilled("completed", 4200)),
        ],
        BEGAN_MS + 2000,
    )
    filler.call(sid_of(3), [(0, began(from_="=cmd()"))], BEGAN_MS + 3000)
    with engine.begin() as connection:
        recorded = update(tables.calls).where(tables.calls.c.sid == sid_of(2))
        connection.execute(recorded.values(recording="two.wav", recording_ms=4000))
    (data / "recordings").mkdir()
    (data / "recordings" / "two.wav").write_bytes(b"RIFF of a call")
    yield tmp_path
    engine.dispose()
