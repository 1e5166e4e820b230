"""Calls of every sort, written into the record of a running server."""

import random
import time
from collections.abc import Sequence
from pathlib import Path

from tests.records.filling import PRICES, Filler, began, ended, sid_of

from offhook.events import types as events
from offhook.events.types import Event
from offhook.journal.entries import JournalEntry
from offhook.recordings import wav
from offhook.records import database
from offhook.records.store import RecordStore

RECORDED, LONG, HOSTILE, REDACTED, LIVE, FOREIGN = map(sid_of, range(1, 7))
"""A call of each sort; FOREIGN is of another version of Offhook."""

ADA = "+12025550199"
OPEN = "We are open from Monday to Friday, from nine in the morning until six in the evening."
ASKED = "What are your opening hours on a Sunday, please?"
RECORDED_S = 600
LONG_TURNS = 1250
SHORT = 120
"""Number of short calls, whose agents are `night` and `day` in turn."""

SCRIPTS = (
    "<script>window.ran=1</script>",
    '<img src=x onerror="window.ran=1">',
    "<svg/onload=window.ran=1>",
    '"><iframe src=javascript:window.ran=1>',
    "<a href=javascript:window.ran=1>here</a>",
    "</p></li></ol><style>*{display:none}</style>",
    "{{constructor.constructor('window.ran=1')()}}",
    "${window.ran=1}",
    "<b>bold</b> &lt;i&gt;",
    "\u202etxet desrever\u202c \x1b[31mred",
    "W" * 5000,
)


def fill(folder: Path) -> None:
    """Write the calls into the record of a data folder. Blocks."""
    engine = database.open_engine(database.url_of(f"sqlite:///{folder}/offhook.db"))
    filler, now_ms = Filler(engine), round(time.time() * 1000)
    name = "20261124T100000Z-CArecorded.wav"
    record_noise(folder / "recordings" / name, RECORDED_S)
    calls: tuple[tuple[str, Sequence[tuple[int, Event]]], ...] = (
        (RECORDED, talk(60, RECORDED_S * 1000, name)),
        (LONG, talk(LONG_TURNS, 7_200_000)),
        (HOSTILE, hostile()),
        (REDACTED, redacted()),
        (LIVE, [(0, began()), (900, events.CallerSaid("Hello?", 300))]),
        (FOREIGN, [(0, began()), (4000, ended(4000))]),
    )
    for place, (sid, happened) in enumerate(calls):
        filler.call(sid, happened, now_ms - 8_000_000 - 60_000 * place)
    entries = []
    for n in range(1, SHORT + 1):
        short: list[Event] = [began(agent=("night", "day")[n % 2], from_=ADA), ended(2000)]
        for at, event in enumerate(short):
            began_ms = now_ms - 90_000_000 - 1000 * n
            entries.append(JournalEntry(2 * n + at, sid_of(1000 + n), 2000 * at, began_ms, event))
    with engine.begin() as connection:
        RecordStore("1" * 32, PRICES).apply(connection, entries, len(entries))
        connection.exec_driver_sql(
            "INSERT INTO events (call_sid, line, at_ms, wall_ms, kind, body) VALUES"
            f" ('{FOREIGN}', 999999, 2000, 0, 'Teleported', '{{\"to\": \"<b>mars</b>\"}}')"
        )
    engine.dispose()


def end_live(folder: Path) -> None:
    """End the live call of `fill`."""
    engine = database.open_engine(database.url_of(f"sqlite:///{folder}/offhook.db"))
    Filler(engine).call(LIVE, [(5000, ended(5000))], round(time.time() * 1000))
    engine.dispose()


def talk(turns: int, length_ms: int, recording: str | None = None) -> list[tuple[int, Event]]:
    """The events of a call of so many turns: four entries of the timeline for each."""
    found: list[tuple[int, Event]] = [
        (0, began()),
        (100, events.AgentConnected("0198f2c4-request-id", 412)),
    ]
    if recording:
        found.append((500, events.RecordingStarted(recording)))
    step = (length_ms - 2000) // turns
    for turn in range(turns):
        at = 1000 + step * turn
        cut = turn % 7 == 3
        heard = OPEN[:36] if cut else OPEN
        found += [
            (at + step // 3, events.AgentSaid(heard, OPEN, step // 3, cut, at)),
            (at + step // 2, events.CallerSaid(ASKED, at + step // 3)),
            (at + step // 2 + 10, events.FunctionCalled(f"f{turn}", "order_status", '{"n": 1}')),
            (
                at + step // 2 + 90,
                events.FunctionAnswered(f"f{turn}", "order_status", "answered", "ready", 80),
            ),
            (at + step - 10, events.Answered(700, 840)),
        ]
    if recording:
        found.append((length_ms - 10, events.RecordingEnded(length_ms - 500)))
    return [*found, (length_ms, ended(length_ms))]


def hostile() -> list[tuple[int, Event]]:
    """The events of a call in which every text is meant to be run."""
    name = '{"name": "<script>window.ran=1</script>"}'
    found: list[tuple[int, Event]] = [
        (0, began(agent=SCRIPTS[1], from_=SCRIPTS[0], variables=name))
    ]
    for place, text in enumerate(SCRIPTS):
        at = 1000 * (place + 1)
        found += [
            (at, events.CallerSaid(text, at - 500)),
            (at + 1, events.AgentSaid(text[:4], text, 500, True, at)),
            (at + 2, events.FunctionCalled(f"f{place}", text, text)),
            (at + 3, events.FunctionAnswered(f"f{place}", text, "failed", text, 1)),
            (at + 4, events.MessageTaken(text, text, text)),
            (at + 5, events.AgentTold(text)),
            (at + 6, events.AgentWarned(text, text, fatal=False)),
            (at + 7, events.AgentConnected(text, 1)),
        ]
    over = events.CallEnded("agent", "agent_error", SCRIPTS[1], SCRIPTS[0], 20_000)
    return [*found, (20_000, over)]


def redacted() -> list[tuple[int, Event]]:
    return [
        (0, began(from_="")),
        (3000, events.CallerSaid("My card is [card].", 800)),
        (3010, events.UtteranceRedacted("caller", 800, 3000)),
        (9000, ended(9000, "agent_unreachable", "agent")),
    ]


def record_noise(path: Path, seconds: int) -> None:
    """Write a recording in which both sides speak by turns, a second each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise, silence = random.Random(1).randbytes(8000), b"\xff" * 8000
    with path.open("w+b") as file:
        writer = wav.StereoWriter(file)
        for second in range(seconds):
            caller = second % 2 == 0
            writer.write(noise if caller else silence, silence if caller else noise)
        writer.close()
