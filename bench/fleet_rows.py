"""What is done to a fleet that talks, and what must be so then: the rows of bench/fleet.py.

Each function gets a running fleet (tests/fleet/harness.py) and leaves it as it was: its nodes run,
and no call is left. Times are of time.monotonic, which is the loop's.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import httpx2
from bench.fleet_checks import (
    BACK_S,
    EPOCH_LINES,
    GONE_S,
    GRACE_S,
    HOME_S,
    LEASE_S,
    MOVE_S,
    REFUSED_S,
    SILENT_S,
    STORED_WITHIN_S,
    RowOutcome,
    all_owned,
    busiest,
    ended,
    greeted_once,
    recorded,
    returned,
    said,
    spread,
    stored_late,
)
from tests.fleet.harness import Fleet, FleetCall
from tests.fleet.node import FleetNode
from tests.fleet.places import Namespaces
from tests.waiting import until
from tests.whole_server import TOKEN

# --- A node dies ----------------------------------------------------------------------------------


async def death(
    fleet: Fleet,
    count: int,
    die: Callable[[FleetNode], None],
    *,
    asked_s: float = BACK_S,
    whole_s: float = HOME_S,
) -> RowOutcome:
    """A node dies under `count` calls, whose callers are back soon after Twilio asks, and in all.

    The node is left dead: `revive` starts it again.
    """
    outcome = RowOutcome()
    calls = await fleet.talking(count)
    node, theirs, others = await busiest(fleet, calls)
    await asyncio.sleep(2 + GRACE_S)  # some lines, of which all but the last second must be kept
    for call in calls:
        call.caller.listen()
    died_at = time.monotonic()
    die(node)
    lost = await returned(theirs)
    await asyncio.sleep(2)  # whoever came back may come back once more, or be taken by two
    outcome.check(not lost, f"{len(lost)} of {len(theirs)} callers did not come back")
    twice = [call for call in theirs if len(call.caller.backs) > 2]
    outcome.check(not twice, f"{len(twice)} callers came back twice")
    back = [call for call in theirs if call not in lost]
    twice = [call for call in back if sum(one.opened_at > died_at for one in call.sessions) > 1]
    outcome.check(not twice, f"{len(twice)} calls got two agents")
    moved = [call for call in others if len(call.report.streams) > 1 or call.task.done()]
    outcome.check(not moved, f"{len(moved)} calls of other nodes were moved")
    greeted_once(outcome, calls)
    asked = [call.caller.backs[1] - asked_at(fleet, call, died_at) for call in back]
    whole = [call.caller.backs[1] - died_at for call in back]
    outcome.soon(asked, asked_s, "callers back after Twilio asked")
    outcome.soon(whole, whole_s, "callers back")
    silent = [call for call in others if call.caller.longest_silence_s > SILENT_S]
    if silent:
        outcome.late.append(f"{len(silent)} callers of other nodes heard nothing for a while")
    wanted = said(theirs, died_at - STORED_WITHIN_S - GRACE_S) | said(others, time.monotonic() - 1)
    await ended(fleet, outcome, [call for call in calls if call not in lost], wanted)
    await stored_late(fleet, outcome, theirs, said(theirs, died_at - STORED_WITHIN_S))
    outcome.text = (
        f"{len(back)} of {len(theirs)} back: {spread(asked)} after Twilio asked,"
        f" {spread(whole)} after the death; {len(wanted)} lines looked for"
    )
    return outcome


def asked_at(fleet: Fleet, call: FleetCall, since: float) -> float:
    """Return when Twilio asked what follows, for the first time since a moment."""
    return min(
        one.asked_at
        for one in fleet.front.asked
        if one.call_sid == call.sid and one.path.endswith("/after") and one.asked_at >= since
    )


def kill(node: FleetNode) -> None:
    node.kill()


async def revive(fleet: Fleet) -> None:
    """Start all nodes that do not run."""
    for node in fleet.nodes.values():
        if not node.is_running or not node.pids("call"):
            await node.killed()
            await node.start()


# --- A node is paused -----------------------------------------------------------------------------


async def paused(fleet: Fleet, count: int) -> RowOutcome:
    """An owner is stopped (SIGSTOP) for longer than its lease, is replaced, and wakes up."""
    outcome = RowOutcome()
    calls = await fleet.talking(count)
    node, theirs, others = await busiest(fleet, calls)
    await asyncio.sleep(1)
    paused_at = time.monotonic()
    node.pause()
    lost = await returned(theirs)
    outcome.check(not lost, f"{len(lost)} of {len(theirs)} callers did not come back")
    await asyncio.sleep(max(0.0, paused_at + LEASE_S + 2 - time.monotonic()))
    back = [call for call in theirs if call not in lost]
    whole = [call.caller.backs[1] - paused_at for call in back]
    outcome.soon(whole, HOME_S, "callers back")
    old = [one for call in theirs for one in call.sessions if one.opened_at < paused_at]
    sessions = {call.sid: len(call.sessions) for call in theirs}
    ledger = fleet.account.network.ledger
    requests = len(ledger.hang_ups) + len(ledger.redirected)
    for call in calls:
        call.caller.listen()
    woken_at = time.monotonic()
    node.wake()
    await until(lambda: all(not one.open for one in old))
    await asyncio.sleep(3)
    spoke = sum(at > woken_at for one in old for at in one.heard_at)
    outcome.check(not spoke, f"the woken node sent {spoke} frames of audio to the agent")
    dialled = [call for call in theirs if len(call.sessions) != sessions[call.sid]]
    outcome.check(not dialled, f"the agent was dialled again for {len(dialled)} calls")
    rest = len(ledger.hang_ups) + len(ledger.redirected) - requests
    outcome.check(not rest, f"{rest} REST requests after it woke up")
    streams = [call for call in back if len(call.caller.backs) != 2 or call.task.done()]
    outcome.check(not streams, f"{len(streams)} callers lost their new stream")
    greeted_once(outcome, calls)
    silent = [call for call in back if call.caller.longest_silence_s > SILENT_S]
    if silent:
        outcome.late.append(f"{len(silent)} callers heard nothing for a while")
    wanted = said(others, woken_at) | said(theirs, paused_at - STORED_WITHIN_S - GRACE_S)
    await ended(fleet, outcome, [call for call in calls if call not in lost], wanted)
    late = await late_lines(fleet, back)
    outcome.check(not late, f"{late} lines of the woken node are in the record")
    outcome.text = (
        f"{len(back)} of {len(theirs)} callers back, {spread(whole)} after the pause;"
        f" then {spoke} frames, {len(dialled)} dials, {rest} REST requests, {late} lines of it"
    )
    return outcome


async def late_lines(fleet: Fleet, calls: Sequence[FleetCall]) -> int:
    """Return how many lines of an epoch are later in the call than its end by a take-over."""
    (row,) = await fleet.rows(
        "select count(*) from events e join events t on t.call_sid = e.call_sid"
        " and t.kind = 'CallTakenOver' and e.line / %s < t.line / %s and e.at_ms > t.at_ms"
        " where e.call_sid = any(%s)"
        " and e.kind not in ('FunctionFinishedLate', 'CallBilled', 'Dialled', 'CallReleased')",
        EPOCH_LINES,
        EPOCH_LINES,
        [call.sid for call in calls],
    )
    return int(row["count"])


async def paused_alone(fleet: Fleet, count: int) -> RowOutcome:
    """An owner is stopped for longer than its lease, nobody replaces it, and it wakes up."""
    outcome = RowOutcome()
    calls = await fleet.talking(count)
    node, theirs, _ = await busiest(fleet, calls)
    ways = [fleet.database(name) for name in fleet.nodes if name != node.name]
    for way in ways:
        way.hold()
    try:
        node.pause()
        await asyncio.sleep(LEASE_S + 2)
        node.wake()
        await asyncio.gather(*(call.heard() for call in theirs))
    finally:
        for way in ways:
            way.restore()
    owners = await fleet.owners()
    moved = [call for call in theirs if owners.get(call.sid) != node.name]
    outcome.check(not moved, f"{len(moved)} calls were moved")
    # HAProxy ends a stream 5 s after the buffers of a node that stands still are full.
    renewed = [call for call in theirs if len(call.report.streams) > 1]
    greeted_once(outcome, calls)
    wanted = said(theirs, time.monotonic() - STORED_WITHIN_S)
    await ended(fleet, outcome, calls, wanted)
    outcome.text = (
        f"{len(theirs)} calls went on at their node, {len(renewed)} of them in a second stream"
    )
    return outcome


async def parted(
    fleet: Fleet, count: int, lose: Callable[..., None], find: Callable[[str], None]
) -> RowOutcome:
    """A node is cut off from the database and other nodes for two leases, and its calls go on.

    Only a higher epoch fences: with credentials the others take its calls over, which is as good.
    """
    outcome = RowOutcome()
    calls = await fleet.talking(count)
    node, theirs, others = await busiest(fleet, calls)
    for call in calls:
        call.caller.listen()
    lose(node.name, "back")
    try:
        await asyncio.sleep(2 * LEASE_S)
        cut = [call for call in theirs if call.task.done()]
        outcome.check(not cut, f"{len(cut)} calls were cut")
    finally:
        find(node.name)
    await asyncio.sleep(LEASE_S)
    moved = [call for call in theirs if len(call.caller.backs) > 1]
    twice = [call for call in theirs if len(call.caller.backs) > 2]
    outcome.check(not twice, f"{len(twice)} callers were moved twice")
    several = [call for call in theirs if sum(one.open for one in call.sessions) > 1]
    outcome.check(not several, f"{len(several)} calls have several agents")
    greeted_once(outcome, calls)
    gaps = [call.caller.longest_silence_s for call in calls]
    outcome.soon(gaps, BACK_S, "callers heard the agent again")
    wanted = said(others, time.monotonic() - STORED_WITHIN_S)
    await ended(fleet, outcome, calls, wanted)
    outcome.text = (
        f"{len(theirs)} calls went on, {len(moved)} of them at another node;"
        f" longest silence {max(gaps):.1f} s"
    )
    return outcome


async def unlinked(fleet: Fleet, count: int, place: Namespaces) -> RowOutcome:
    """No node reaches another one for two leases; all reach Twilio, Deepgram and the database.

    Needs a fleet without a balancer. Then the streams of a node break, as with a balancer that
    dies, and Twilio's next questions come to another node, which takes the calls from an owner that
    is well. So do the streams of new calls.
    """
    outcome = RowOutcome()
    names = [*fleet.nodes]
    calls = await fleet.talking(count)
    node, theirs, _ = await busiest(fleet, calls)
    elsewhere = next(one for one in fleet.nodes.values() if one is not node)
    for call in calls:
        call.caller.listen()
    try:
        for name in names:
            place.part(name)
        await asyncio.sleep(2 * LEASE_S)
        cut = [call for call in calls if call.task.done()]
        outcome.check(not cut, f"{len(cut)} calls were cut")
        moved = [call for call in calls if len(call.report.streams) > 1]
        outcome.check(not moved, f"{len(moved)} calls were moved")
        refused_s = await refused_command(outcome, elsewhere, node, theirs[0])
        fleet.front.pick = lambda path: elsewhere.netloc
        broken_at = time.monotonic()
        place.refuse(node.name)
        lost = await returned(theirs)
        outcome.check(not lost, f"{len(lost)} of {len(theirs)} callers did not come back")
        back = [call.caller.backs[1] - broken_at for call in theirs if call not in lost]
        outcome.soon(back, BACK_S, "callers back after their stream broke")
        owners = await fleet.owners()
        stayed = [call for call in theirs if owners.get(call.sid) != elsewhere.name]
        outcome.check(not stayed, f"{len(stayed)} calls are not at the node that was asked")
        place.join_again(node.name)
        place.part(node.name)
        fleet.front.pick = apart(node, elsewhere)
        more = await fleet.talking(count)
        await asyncio.sleep(1)
    finally:
        for name in names:
            place.join_again(name)
    await asyncio.sleep(LEASE_S)
    more_often = [call for call in [*calls, *more] if len(call.caller.backs) > 1 + (call in theirs)]
    outcome.check(not more_often, f"{len(more_often)} callers were moved for nothing")
    await all_went_on(fleet, outcome, calls, more)
    outcome.text = (
        f"{len(calls)} calls went on; {len(back)} of them taken from an owner that was well:"
        f" {spread(back)}; {len(more)} began at one node and had their stream at another;"
        f" a command elsewhere refused after {refused_s:.1f} s"
    )
    return outcome


def apart(webhooks: FleetNode, streams: FleetNode) -> Callable[[str], str]:
    """Return what sends Twilio's requests to one node, and its streams to another."""

    def pick(path: str) -> str:
        is_webhook = path.rpartition("/")[2] in ("voice", "after", "status", "stream-status")
        return (webhooks if is_webhook else streams).netloc

    return pick


async def refused_command(
    outcome: RowOutcome, at: FleetNode, owner: FleetNode, call: FleetCall
) -> float:
    """Have a command refused at a node that does not reach the call's, and done at that one.

    Returns the seconds until it was refused.
    """
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=GONE_S) as http:

        async def mute(node: FleetNode) -> httpx2.Response:
            return await http.post(
                f"{node.operator_url}/api/v1/calls/{call.sid}/mute",
                headers={"Authorization": f"Bearer {TOKEN}"},
                json={"on": False},
            )

        began = time.monotonic()
        answer = await mute(at)
        seconds = time.monotonic() - began
        code = answer.json().get("code")
        outcome.check(code == "E-LINK-07", f"a command elsewhere: {answer.text[:300]}")
        answer = await mute(owner)
        outcome.check(answer.is_success, f"a command at its own node: {answer.text[:300]}")
    outcome.soon([seconds], REFUSED_S, "commands elsewhere refused")
    return seconds


async def lossy(
    fleet: Fleet, count: int, seconds: float, lose_some: Callable[[str, float], None], share: float
) -> RowOutcome:
    """All nodes lose packets, on the way to Twilio, Deepgram, the database and each other."""
    outcome = RowOutcome()
    calls = await fleet.talking(count)
    for call in calls:
        call.caller.listen()
    try:
        for name in fleet.nodes:
            lose_some(name, share)
        await asyncio.sleep(seconds)
        more = await fleet.talking(count)
    finally:
        for name in fleet.nodes:
            lose_some(name, 0)
    await asyncio.sleep(LEASE_S)
    moved = [call for call in [*calls, *more] if len(call.caller.backs) > 1]
    longest_s = await all_went_on(fleet, outcome, calls, more)
    outcome.text = (
        f"{len(calls)} calls went on, {len(more)} began; {len(moved)} changed their stream;"
        f" longest silence {longest_s:.1f} s"
    )
    return outcome


async def all_went_on(
    fleet: Fleet, outcome: RowOutcome, calls: list[FleetCall], more: list[FleetCall]
) -> float:
    """Look at calls that went on in trouble, and at `more` that began in it; end them all.

    Returns the longest silence of those that went on, in seconds.
    """
    everybody = [*calls, *more]
    several = [call for call in everybody if sum(one.open for one in call.sessions) > 1]
    outcome.check(not several, f"{len(several)} calls have several agents")
    greeted_once(outcome, everybody)
    gaps = [call.caller.longest_silence_s for call in calls]
    outcome.soon(gaps, BACK_S, "callers heard the agent again")
    await ended(fleet, outcome, everybody, said(everybody, time.monotonic() - LEASE_S, MOVE_S))
    return max(gaps)


# --- The database is away -------------------------------------------------------------------------


async def away(fleet: Fleet, most: int, seconds: float) -> RowOutcome:
    """The database is away for a while. `most` are the sessions that all nodes have together."""
    outcome = RowOutcome()
    share = most // len(fleet.nodes)
    calls = await fleet.talking(len(fleet.nodes))
    await all_owned(fleet, calls)
    for way in fleet.databases:
        way.cut()
    try:
        await asyncio.sleep(1)
        for call in calls:
            call.caller.listen()
        new = [await fleet.call(talks=False) for _ in range(2 * most)]
        await until(lambda: all(call.caller.frames or call.task.done() for call in new))
        taken = [call for call in new if not call.task.done()]
        connected = [call for call in new if call.report.streams]
        most_now = most_of_first = len(fleet.agent.open)
        outcome.check(most_now <= most, f"{most_now} sessions, and {most} are allowed")
        outcome.check(bool(taken), "no new call was taken")
        outcome.check(
            len(connected) == len(taken), f"{len(connected) - len(taken)} new calls were cut"
        )
        await asyncio.sleep(seconds)
        heard = [call.caller.frames for call in [*calls, *taken]]
        await asyncio.gather(*(call.heard() for call in [*calls, *taken]))
        outcome.check(all(heard), "a caller heard nothing")
        gone, taken = taken[: len(taken) // 2], taken[len(taken) // 2 :]
        ended_at = time.monotonic()
        await asyncio.gather(*(call.hang_up() for call in gone))
        await until(lambda: len(fleet.agent.open) <= most_of_first - len(gone))
        second = [await fleet.call(talks=False) for _ in range(2 * most)]
        await until(lambda: all(call.caller.frames or call.task.done() for call in second))
        late = [call for call in second if not call.task.done()]
        most_now = max(most_now, len(fleet.agent.open))
        outcome.check(len(fleet.agent.open) <= most, f"{len(fleet.agent.open)} sessions at its end")
        # Which node a call comes to is the balancer's choice: not each free place need be found.
        outcome.check(bool(late) or not gone, "no place that became free was taken again")
        outcome.check(
            len(late) <= len(gone) + most - most_of_first,
            f"{len(late)} calls in {len(gone)} free places",
        )
        taken += late
    finally:
        for way in fleet.databases:
            way.restore()
    live = [*calls, *taken]
    await all_owned(fleet, live)  # the calls that were taken meanwhile, too
    await recorded(fleet, outcome, gone, said(gone, ended_at - GRACE_S))
    silent = [call for call in calls if call.caller.longest_silence_s > SILENT_S]
    if silent:
        outcome.late.append(f"{len(silent)} callers heard nothing for a while")
    moved = [call for call in live if len(call.report.streams) > 1]
    outcome.check(not moved, f"{len(moved)} calls were moved")
    wanted = said(live, time.monotonic() - STORED_WITHIN_S)
    await ended(fleet, outcome, live, wanted)
    outcome.text = (
        f"{len(calls)} calls went on for {seconds:g} s; {len(gone) + len(taken) - len(late)} of"
        f" {len(new)} new ones taken, then {len(gone)} ended and {len(late)} of {len(second)} more"
        f" taken, {most_now} sessions of {most} at most ({share} a node); {len(wanted)} lines, none"
        " twice"
    )
    return outcome


async def away_in_a_claim(fleet: Fleet, count: int, seconds: float) -> RowOutcome:
    """The database goes away while calls of a dead node are claimed, and comes back."""

    def die(node: FleetNode) -> None:
        node.kill()
        for way in fleet.databases:
            way.hold()
        asyncio.get_running_loop().call_later(seconds, restore)

    def restore() -> None:
        for way in fleet.databases:
            way.restore()

    outcome = await death(fleet, count, die, asked_s=HOME_S)
    outcome.text = f"database away for {seconds:g} s during claims: {outcome.text}"
    return outcome


# --- Rolling restart ------------------------------------------------------------------------------


async def rolling(
    fleet: Fleet, count: int, per_second: float, hold_s: float, names: Sequence[str] = ()
) -> RowOutcome:
    """Restart one node after the other, under calls that stay and calls that come and go.

    Without `names`, all nodes.
    """
    outcome = RowOutcome()
    staying = await fleet.talking(count)
    short: list[FleetCall] = []
    done = asyncio.Event()
    fleet.front.asked.clear()

    async def one() -> None:
        call = await fleet.call(talks=False)
        short.append(call)
        await until(lambda: call.caller.frames or call.task.done())
        await asyncio.sleep(hold_s)
        if not call.task.done():
            await call.hang_up()

    async def load() -> None:
        async with asyncio.TaskGroup() as group:
            while not done.is_set():
                group.create_task(one())
                await asyncio.sleep(1 / per_second)

    async with asyncio.TaskGroup() as group:
        group.create_task(load())
        for node in map(fleet.node, names or fleet.nodes):
            code = await node.stop()
            outcome.check(code == 0, f"node {node.name} ended with {code}")
            await node.start()
            await asyncio.sleep(3)  # the balancer notices
        done.set()
    cut = [call for call in short if call.report.ending != "caller_hung_up"]
    for call in cut[:5]:
        print(f"  CUT {call.sid}: {call.report.ending}, {call.report.faults}")
    outcome.check(not cut, f"{len(cut)} of {len(short)} short calls were cut or not connected")
    moves = [len(call.caller.backs) - 1 for call in staying]
    gaps = [call.caller.longest_silence_s for call in [*staying, *short]]
    wrong = fleet.front.wrong()
    for request in wrong[:5]:
        print(f"  WRONG {request.path}: {request.status}, {request.failures}")
    outcome.check(not wrong, f"{len(wrong)} of {len(fleet.front.asked)} webhooks got 5xx or none")
    outcome.soon(gaps, BACK_S, "callers back")
    greeted_once(outcome, [*staying, *short])
    wanted = said([*staying, *short], time.monotonic() - STORED_WITHIN_S, MOVE_S)
    await ended(fleet, outcome, staying, wanted, over=short)
    outcome.text = (
        f"{len(staying)} calls stayed and moved {sum(moves)} times, {len(short)} came and went,"
        f" {len(cut)} were cut; longest silence {max(gaps):.1f} s;"
        f" {len(wrong)} of {len(fleet.front.asked)} webhooks failed"
    )
    return outcome


# --- Commands -------------------------------------------------------------------------------------


async def commands(fleet: Fleet) -> RowOutcome:
    """Hang up a call of each node by the operator's API of another one."""
    outcome = RowOutcome()
    calls = await fleet.talking(len(fleet.nodes))
    owners = await all_owned(fleet, calls)
    done = 0
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=GONE_S) as http:
        for call in calls:
            node = next(one for one in fleet.nodes.values() if one.name != owners[call.sid])
            answer = await http.post(
                f"{node.operator_url}/api/v1/calls/{call.sid}/hang-up",
                headers={"Authorization": f"Bearer {TOKEN}"},
                json={},
            )
            outcome.check(answer.is_success, f"hang-up by another node: {answer.text[:300]}")
            done += answer.is_success
            if answer.is_success:
                await call.task
            else:
                await call.hang_up()
    outcome.text = f"{done} of {len(calls)} commands done at another node"
    return outcome
