"""What is checked of a fleet by each of its rows (bench/fleet_rows.py), and what a row found.

`wrong` of an outcome is what must never be; `late` are bars of time that were missed, which a busy
machine may miss. Times are of time.monotonic, which is the loop's.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from tests.fleet.harness import Fleet, FleetCall
from tests.fleet.node import FleetNode
from tests.waiting import until_it

LEASE_S: Final = 10.0
STORED_WITHIN_S: Final = 1.0
"""Seconds after which what was said must be in the database while all is well."""

MOVE_S: Final = 2.0
"""Seconds before a session's end in which a move may lose what is said: the call's lines are being
given to the directory, which may take as long as its deadlines allow."""

GRACE_S: Final = 0.5
"""Seconds more that a busy machine may take: what is not stored by then is lost, not late."""

BACK_S: Final = 5.0
"""Seconds within which a caller is back after Twilio has asked."""

HOME_S: Final = 15.0
"""Seconds after a node's death within which a caller is back whom nobody asked about."""

REFUSED_S: Final = 3.0
"""Seconds within which a command to a node that is not reached is refused."""

ON_ITS_WAY_S: Final = 0.5
"""Seconds before a caller's hanging up in which what the agent tells of may come too late: the call
is over, and its leg is hung up."""

SILENT_S: Final = 0.5
"""Silence that a caller notices."""

GONE_S: Final = 60.0
"""Seconds after which a caller who is not back is not coming back."""

EPOCH_LINES: Final = 2**54
"""Numbers of lines of one epoch of a call (records: the epoch comes first)."""


@dataclass
class RowOutcome:
    """What became of a row."""

    text: str = ""
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def check(self, good: bool, what: str) -> None:
        if not good:
            self.wrong.append(what)

    def soon(self, seconds: Sequence[float], most_s: float, what: str) -> None:
        slow = [one for one in seconds if one > most_s]
        if slow:
            self.late.append(f"{len(slow)} {what} after more than {most_s:g} s")


def spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none"
    return f"median {median(seconds):.1f} s, slowest {max(seconds):.1f} s"


# --- What is asked of a fleet again and again -----------------------------------------------------


async def all_owned(fleet: Fleet, calls: Sequence[FleetCall]) -> dict[str, str]:
    """Wait until the directory has all calls, and return the node of each."""
    sids = {call.sid for call in calls}
    found: dict[str, str] = {}

    async def is_so() -> bool:
        nonlocal found
        found = await fleet.owners()
        return sids <= found.keys()

    await until_it(is_so)
    return {sid: found[sid] for sid in sids}


async def busiest(
    fleet: Fleet, calls: Sequence[FleetCall]
) -> tuple[FleetNode, list[FleetCall], list[FleetCall]]:
    """Return the node that has most of these calls, its calls, and those of other nodes."""
    owners = await all_owned(fleet, calls)
    name, _ = Counter(owners.values()).most_common(1)[0]
    theirs = [call for call in calls if owners[call.sid] == name]
    return fleet.node(name), theirs, [call for call in calls if call not in theirs]


async def returned(calls: Sequence[FleetCall], streams: int = 2) -> list[FleetCall]:
    """Wait until these callers hear the agent in their next stream; return who does not."""

    def lost() -> list[FleetCall]:
        return [call for call in calls if len(call.caller.backs) < streams]

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GONE_S):
            while any(not call.task.done() for call in lost()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    return lost()


async def ended(
    fleet: Fleet,
    outcome: RowOutcome,
    calls: Sequence[FleetCall],
    wanted: set[str],
    over: Sequence[FleetCall] = (),
) -> None:
    """Have these callers hang up, and check the record of their calls and of those in `over`."""
    await hung_up(outcome, calls)
    await recorded(fleet, outcome, [*calls, *over], wanted)


async def stored_late(
    fleet: Fleet, outcome: RowOutcome, calls: Sequence[FleetCall], lines: set[str]
) -> None:
    """Count as late what is not in the database of lines that were to be there."""
    rows = await fleet.rows(
        "select text from utterances where who = 'caller' and call_sid = any(%s)",
        [call.sid for call in calls],
    )
    lost = lines - {row["text"] for row in rows}
    if lost:
        outcome.late.append(f"{len(lost)} lines were not stored {STORED_WITHIN_S:g} s after them")


async def hung_up(outcome: RowOutcome, calls: Sequence[FleetCall]) -> None:
    """Have all callers hang up; their calls must have gone on until now, and have no session."""
    cut = [call for call in calls if call.task.done()]
    for call in cut[:3]:
        print(f"  CUT {call.sid}: {call.report.ending}, {call.report.faults}")
    outcome.check(not cut, f"{len(cut)} of {len(calls)} calls were cut")
    endings = Counter([(await call.hang_up()).ending for call in calls if call not in cut])
    wrong = sum(count for ending, count in endings.items() if ending != "caller_hung_up")
    outcome.check(not wrong, f"calls ended so: {dict(endings)}")


async def recorded(
    fleet: Fleet, outcome: RowOutcome, calls: Sequence[FleetCall], wanted: set[str]
) -> None:
    """Wait until the database has these lines and an end for each call; nothing may be twice."""
    sids = [call.sid for call in calls]
    missing, live = wanted, sids

    async def is_so() -> bool:
        nonlocal missing, live
        rows = await fleet.rows(
            "select sid from calls where sid = any(%s) and duration_ms is not null", sids
        )
        live = sorted(set(sids) - {row["sid"] for row in rows})
        rows = await fleet.rows(
            "select text from utterances where who = 'caller' and call_sid = any(%s)", sids
        )
        missing = wanted - {row["text"] for row in rows}
        return not missing and not live

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2 * GONE_S):
            await until_it(is_so)
    for line in sorted(missing)[:5]:
        print(f"  MISSING {line}")
    outcome.check(not missing, f"{len(missing)} of {len(wanted)} lines are not recorded")
    outcome.check(not live, f"{len(live)} calls have no end in the record")
    twice = await fleet.rows(
        "select text, count(*) from utterances where who = 'caller' and call_sid = any(%s)"
        " group by call_sid, text having count(*) > 1",
        sids,
    )
    outcome.check(not twice, f"{len(twice)} lines are recorded twice")
    for kind, most in (("CallBegan", 1), ("CallStarted", 1), ("CallEnded", 1)):
        more = await fleet.rows(
            "select call_sid from events where kind = %s and call_sid = any(%s)"
            " group by call_sid having count(*) > %s",
            kind,
            sids,
            most,
        )
        outcome.check(not more, f"{len(more)} calls have more than {most} {kind}")


def said(calls: Sequence[FleetCall], before: float, moving_s: float = 0.0) -> set[str]:
    """Return what the callers of these calls had said before a moment.

    What they said in the last `moving_s` of a session that the next one follows is left out, and in
    the last ON_ITS_WAY_S of one whose caller has hung up.
    """
    found: set[str] = set()
    for call in calls:
        for session in call.sessions:
            until = before
            if session.closed_at is not None:
                is_last = session is call.sessions[-1]
                until = min(until, session.closed_at - (ON_ITS_WAY_S if is_last else moving_s))
            found |= {line.text for line in session.lines if line.sent_at < until}
    return found


def greeted_once(outcome: RowOutcome, calls: Sequence[FleetCall]) -> None:
    more = [call for call in calls if sum(one.greets for one in call.sessions) > 1]
    outcome.check(not more, f"{len(more)} callers were greeted twice")
