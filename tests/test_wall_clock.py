"""A wall clock that is set, and summer time: no call is shorter, longer or over for it.

What decides about calls reads the monotonic clock. WALL lists every module that reads the wall
clock, with what it does with it.
"""

import ast
import asyncio
import time
from pathlib import Path

import pytest
from tests.api.desk import desk
from tests.sources import syntax_tree
from tests.waiting import until
from tests.whole_server import GREET, HANG_UP, fresh_sid

import offhook
from offhook.events.types import AgentDisconnected, CallStarted
from offhook.records.call_record import shown

SRC = Path(offhook.__file__).parent

WALL = {
    "api/after.py": "when a webhook that is sent again is due",
    "api/app.py": "expiry of links, which clients are told as a date",
    "api/calls.py": "filters such as since=24h: dates of calls",
    "calls/agent_session.py": "{{date}} and {{time}}, for people",
    "api/audit_log.py": "the date of an entry",
    "api/entrance.py": "expiry of sessions and sign-in links, across restarts",
    "api/quality.py": "days of calls",
    "api/signed_in.py": "expiry of sessions, across restarts",
    "api/users.py": "the date of a user",
    "capture/writer.py": "names of files",
    "cli/calls/filter_options.py": "filters such as --since 24h: dates of calls",
    "cli/calls/erase.py": "filters such as --since 24h: dates of calls",
    "cli/calls/resend.py": "when a webhook that is sent again is due",
    "cli/dnc.py": "the date of an entry",
    "cli/users.py": "expiry of sign-in links; dates of users",
    "clock.py": "dates for people; and ages across boots of the machine, see MachineClocks",
    "doctor/examination.py": "whether the wall clock is right",
    "journal/keeper.py": "the date of each line, beside its ms of the call; the age in /readyz",
    "journal/live.py": "whether a folder has changed, compared for being equal",
    "journal/writer.py": "the age of a folder that was left half made, by the dates of two files",
    "outbound/ledger_file.py": "ages across boots of the machine, see MachineClocks",
    "policy/dial_count.py": "ages across boots of the machine, see MachineClocks",
    "recordings/reading.py": "whether a file has changed, compared for being equal",
    "recordings/recorder.py": "names of files",
    "recordings/rehearsals.py": "the age of a recording, by the date of its file",
    "records/delivery.py": "when webhooks are due, by the servers' shared clock: later, never lost",
    "records/retention.py": "ages of days; a clock that jumps ahead is not believed for a day",
    "records/store.py": "when webhooks are due, by the servers' shared clock: later, never lost",
    "api/audio.py": "whether a file has changed, compared for being equal",
    "serving/call_serving.py": "times of day in what --show prints",
    "serving/composition.py": "calling hours; keys of placed calls, which are old by two measures",
    "serving/supervisor.py": "dates of lines of the log",
    "tools/modules.py": "whether a file has changed, compared for being equal",
}

READS = frozenset(
    {"time_ns", "now", "utcnow", "today", "localtime", "gmtime", "st_mtime", "st_mtime_ns", "wall"}
)
OWNERS = {"time_ns": "time", "now": "datetime", "utcnow": "datetime", "today": "date"}


def reads_wall_clock(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("wall_clock", "clock_ms")
    if not isinstance(node, ast.Attribute):
        return False
    owner = getattr(node.value, "id", getattr(node.value, "attr", ""))
    if node.attr in ("wall_clock", "clock_ms"):
        return True
    if node.attr == "time":
        return owner == "time"
    if node.attr == "wall":
        return owner in ("clocks", "_clocks")
    return node.attr in READS and owner == OWNERS.get(node.attr, owner)


def test_every_module_that_reads_the_wall_clock_is_known_with_its_reason() -> None:
    found = set()
    for path in SRC.rglob("*.py"):
        module = path.relative_to(SRC).as_posix()
        if not module.startswith(("testing/", "bench/")):
            tree = syntax_tree(path.read_text(encoding="utf-8"))
            found |= {module for node in ast.walk(tree) if reads_wall_clock(node)}
    assert sorted(found) == sorted(WALL)


def test_what_carries_a_call_reads_no_wall_clock_but_for_people() -> None:
    rooms = ("call/", "calls/", "deepgram/", "twilio/", "net/", "webhooks/", "tools/")
    assert sorted(module for module in WALL if module.startswith(rooms)) == [
        "calls/agent_session.py",
        "tools/modules.py",
    ]


class Wall:
    """The machine's wall clock, which a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_s = 0.0
        real_s, real_ns = time.time, time.time_ns
        monkeypatch.setattr(time, "time", lambda: real_s() + self.ahead_s)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + round(self.ahead_s * 1e9))


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_set_in_mid_call_changes_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    wall = Wall(monkeypatch)
    async with desk(tmp_path) as d, asyncio.TaskGroup() as group:
        began = time.monotonic()
        waiting = fresh_sid()
        document = (await d.whole.post("/twilio/voice", CallSid=waiting)).text
        call = group.create_task(d.whole.call(GREET, HANG_UP))
        await until(lambda: any(isinstance(e, CallStarted) for e in d.whole.events()))
        wall.ahead_s = 3600 * hours
        report = await call
        assert d.whole.endings(report.call_sid) == ["caller_hung_up"]
        stream = await d.whole.stream()  # its token is as old as it is, not an hour older
        stream.start(waiting, document.partition('value="')[2].partition('"')[0])
        await until(lambda: any(isinstance(e, CallStarted) for e in d.whole.events(waiting)))
        await d.whole.post("/twilio/status", CallSid=waiting, CallStatus="completed")
        assert d.whole.endings(waiting) == ["caller_hung_up"]
        await d.until_stored(2)
        took_ms = (time.monotonic() - began) * 1000
        for sid in (report.call_sid, waiting):
            told = [happened.at_ms for happened in d.whole.happened if happened.call_sid == sid]
            assert told == sorted(told)
            assert 0 <= told[0] <= told[-1] <= took_ms
            legs = [e.connected_ms for e in d.whole.events(sid) if isinstance(e, AgentDisconnected)]
            assert all(0 <= ms <= took_ms for ms in legs)
            with d.engine.connect() as connection:
                record = shown(connection, sid)
            assert record.call.duration_ms is not None
            assert 0 < record.call.duration_ms <= took_ms
            assert 0 <= record.meters.stream_ms <= record.call.duration_ms
            assert 0 <= record.meters.deepgram_ms <= took_ms
            assert all(0 <= entry.at_ms <= took_ms for entry in record.timeline)
