"""Lines of live calls on a real PostgreSQL: there for whoever claims the call, each once."""

import pytest
from tests.fleet.directories import FACTS, Fleet, FleetNode, sid
from tests.waiting import until, until_it

from offhook.fleet import live_lines
from offhook.fleet.places import BegunCall, ClaimedCall

BEGUN_LINE = b'["CallBegan","CA1"]'


async def begin(node: FleetNode, number: int = 1) -> None:
    node.lines(sid(number), FACTS, None)
    assert await node.directory.begin(sid(number), FACTS, nonce="n") == BegunCall(1)


async def claim(node: FleetNode, epoch: int = 1, number: int = 1) -> ClaimedCall:
    found = await node.directory.claim(sid(number), epoch)
    assert found is not None
    return found


def line(text: str) -> bytes:
    return f'["CallerSaid","{text}"]'.encode()


async def test_a_claimer_reads_what_was_said_under_every_owner(fleet: Fleet) -> None:
    a, b, c = await fleet.node("a"), await fleet.node("b"), await fleet.node("c")
    await begin(a)
    a.lines(sid(2), b'["CallBegan","refused"]', 7)
    a.lines(sid(2), None, None)
    a.lines(sid(), BEGUN_LINE, 8)
    a.lines(sid(), line("one"), 9)
    a.lines(sid(), line("two"), 10)
    a.lines(sid(), b'{"later":1}', None)
    await a.lines.flush()
    found = await claim(b)
    assert found.lines == [b'{"later":1}', line("one"), line("two")]
    assert found.inherited == [
        (a.directory.process_id, 8, BEGUN_LINE),
        (a.directory.process_id, 9, line("one")),
        (a.directory.process_id, 10, line("two")),
    ]
    for each in found.lines:
        b.lines(sid(), each, None)  # what a claimer writes into a file of its own
    b.lines(sid(), line("three"), 1)
    await b.lines.flush()
    assert (await claim(c, 2)).lines[1:] == [line("one"), line("two"), line("three")]
    rows = await fleet.ask("SELECT process_id, number, epoch FROM fleet_lines ORDER BY 3, 2")
    assert rows == [
        (a.directory.process_id, 8, 1),
        (a.directory.process_id, 9, 1),
        (a.directory.process_id, 10, 1),
        (b.directory.process_id, 1, 2),
    ]


async def test_late_lines_of_a_fenced_process_are_refused(fleet: Fleet) -> None:
    a, b = await fleet.node("a"), await fleet.node("b")
    await begin(a)
    await claim(b)
    lost: list[str] = []
    a.directory.held.fenced = lost.append
    a.lines(sid(), line("late"), 1)
    a.lines(sid(), b'{"late":1}', None)
    await a.lines.flush()
    assert lost == [sid()]
    assert a.lines.waiting_bytes == 0
    assert (await claim(b, 2)).lines == [FACTS]


async def test_lines_that_are_sent_twice_are_kept_once(fleet: Fleet) -> None:
    a = await fleet.node("a")
    await begin(a)
    for _ in range(2):
        a.lines(sid(), line("one"), 1)
        await a.lines.flush()
    assert await fleet.ask("SELECT number FROM fleet_lines") == [(1,)]


async def test_an_ended_call_leaves_no_words(fleet: Fleet) -> None:
    a = await fleet.node("a")
    fleet.keep(a.lines.run)
    await begin(a)
    a.lines(sid(), line("secret"), 1)
    await until_it(lambda: fleet.ask("SELECT 1 FROM fleet_lines"))
    a.lines(sid(), line("more"), 2)
    a.lines(sid(), None, None)
    a.directory.held.end(sid())
    await until_it(lambda: fleet.ask("SELECT 1 FROM fleet_calls WHERE ended_at IS NOT NULL"))
    assert await fleet.ask("SELECT 1 FROM fleet_lines") == []
    assert a.lines.waiting_bytes == 0


async def test_lines_wait_for_a_database_that_is_away_within_a_bound(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_lines, "WAITING_BYTES", 1000)
    monkeypatch.setattr(live_lines, "MESSAGE_BYTES", 100)
    a = fleet.unconnected("a")
    a.lines(sid(), FACTS, None)
    assert a.directory.held.begin_away(sid(), FACTS, nonce="n") == BegunCall(1)
    sent = [line(f"{number:04}") for number in range(100)]
    for number, each in enumerate(sent):
        a.lines(sid(), each, number)
    assert a.lines.waiting_bytes <= 1000
    assert 0 < a.lines.lost < 100
    fleet.keep(a.lines.run)
    fleet.keep(a.directory.connection.serve)
    await until(lambda: not a.lines.waiting_bytes)
    b = await fleet.node("b")
    assert (await claim(b)).lines == [FACTS, *sent[: 100 - a.lines.lost]]


async def test_a_call_that_begins_nowhere_is_not_gathered(fleet: Fleet) -> None:
    a = await fleet.node("a")
    a.lines(sid(), line("refused"), 1)
    assert a.lines.waiting_bytes == 0
