"""Places of calls in a fleet: any node answers, and one has each call, on a real PostgreSQL."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.fleet.directories import Fleet, FleetNode, sid

from offhook.calls.call_limits import CallLimit
from offhook.calls.fleet_places import AWAY, BIN_AWAY, ELSEWHERE, FleetPlaces, GivenUp
from offhook.calls.forwarded import ForwardedWebhook, WebhookAnswer
from offhook.calls.live_facts import LiveFacts, encoded
from offhook.calls.places import TakenCall
from offhook.fleet.places import HELD_S, reservation
from offhook.fleet.tokens import StreamTokens
from offhook.journal.entries import InheritedLine
from offhook.journal.live_files import LiveCallFile

KEY = "0123456789abcdef0123456789abcdef"
CALL = sid(1)


class Place:
    """One process of a fleet: its places, and what it is told."""

    def __init__(self, node: FleetNode, fleet: Fleet, among: dict[str, "Place"], key: str) -> None:
        self.node = node
        self.directory = node.directory
        self.answers = True
        """Whether it answers the requests that others pass on."""
        self.fenced: list[str] = []
        self.told: list[tuple[str, int]] = []
        self.waits_for: set[str] = set()
        """Tokens for whose streams its calls wait, as it knows by itself."""
        self.late: LiveCallFile | None = None
        """File of a call that it has handed over although it did not confirm that."""
        self.reaped: list[tuple[TakenCall, bool]] = []
        self.kept: list[bytes] = []
        self.inherited: list[InheritedLine] = []
        self._among = among
        self.skew_ms = 0
        self.now_s = 0.0
        self.tokens = StreamTokens(
            [key],
            node.directory.process_id,
            node.directory.node,
            lambda: (node.heartbeat.now_ms() or 0) + self.skew_ms,
        )
        parts: Any = SimpleNamespace(
            directory=node.directory,
            tokens=self.tokens,
            lines=node.lines,
            heartbeat=node.heartbeat,
            pulse=node.pulse,
            settings=SimpleNamespace(routed=False),
        )
        self.places = FleetPlaces(
            parts,
            self._forward,
            self._tell,
            self._take,
            lambda call_sid, line: self.kept.append(line),
            self.inherited.extend,
            fleet.tasks,
            lambda: self.now_s,
            f"/twilio/n/{node.directory.node}",
        )
        self.places.listen(
            fenced=self.fenced.append,
            reaped=lambda taken, is_awaited: self.reaped.append((taken, is_awaited)),
        )
        among[node.directory.process_id] = self

    async def _forward(self, process_id: str, webhook: ForwardedWebhook) -> WebhookAnswer | None:
        other = self._among[process_id]
        return WebhookAnswer(200, other.directory.node) if other.answers else None

    def _tell(self, process_id: str, call_sid: str, epoch: int) -> None:
        self._among[process_id].told.append((call_sid, epoch))

    async def _take(self, process_id: str, call_sid: str, token: str) -> GivenUp | None:
        other = self._among[process_id]
        if other.late is not None:
            return GivenUp(other.late, is_confirmed=False)
        if token not in other.waits_for:
            return None
        other.waits_for.remove(token)
        return GivenUp(LiveCallFile(call_sid, [b"{}"]), is_confirmed=True)

    def facts(self, token: str | None) -> LiveFacts:
        return LiveFacts(
            account_sid="AC1",
            agent="desk",
            by="webhook",
            from_="",
            to="",
            values={},
            token=token,
            origin="",
            boot="",
            began_s=0.0,
        )

    async def begun(self, call_sid: str = CALL) -> str:
        """Begin a call; return its token."""
        token = self.places.first_token(call_sid)
        assert await self.places.begin(call_sid, self.facts(token)) is None
        return token

    async def asked(self, name: Any = "after", call_sid: str = CALL, **fields: str) -> Any:
        form = {"CallSid": call_sid, **fields}
        return await self.places.resolve(ForwardedWebhook(name, form, "https://x"))

    async def stream(self, token: str, call_sid: str = CALL) -> Any:
        is_here = self.directory.epoch_of(call_sid) is not None
        work = self.places.stream(call_sid, token, is_here=is_here)
        assert work is not None
        return await work


async def places(fleet: Fleet, *names: str, key: str = KEY, **given: Any) -> list[Place]:
    among: dict[str, Place] = {}
    made = [Place(await fleet.node(name, **given), fleet, among, key) for name in names]
    for each in (*made, *made):
        await each.node.beat()
    return made


# --- who answers ---------------------------------------------------------------------------------


async def test_a_live_owner_answers_and_a_dead_one_loses_the_call(fleet: Fleet) -> None:
    a, b, c = await places(fleet, "a", "b", "c")
    await a.begun()
    told = [b'["%s","%s",5,6,{}]' % (name, CALL.encode()) for name in (b"CallBegan", b"CallerSaid")]
    for number, line in enumerate(told, 7):
        a.node.lines(CALL, line, number)
    await a.node.lines.flush()
    assert (await b.asked()).body == "a"
    assert (await c.asked("voice")).body == "a"
    assert await a.asked() is None, "its own"
    a.answers = False  # unreachable, whatever its lease says
    taken = await b.asked()
    assert isinstance(taken, TakenCall)
    assert (taken.epoch, taken.node) == (2, "b")
    assert taken.began_ago_s is not None
    assert a.told == [(CALL, 2)]
    assert b.kept == taken.lines
    assert b.inherited == [(a.directory.process_id, 6 + n, line) for n, line in enumerate(told, 1)]
    assert (await c.asked()).body == "b"
    await a.directory.read_epochs()
    assert a.fenced == [CALL]


async def test_of_two_that_ask_at_once_one_has_the_call(fleet: Fleet) -> None:
    a, b, c = await places(fleet, "a", "b", "c")
    for number in range(10, 40):
        await a.begun(sid(number))
        a.answers = False
        found = await asyncio.gather(*(place.asked(call_sid=sid(number)) for place in (b, c, b, c)))
        assert sum(isinstance(each, TakenCall) for each in found) == 1, found
        others = [each for each in found if not isinstance(each, TakenCall)]
        assert all(each is None or each.body in ("b", "c") for each in others), "its own, or asked"
        a.answers = True


async def test_nobody_claims_a_call_that_is_over(fleet: Fleet) -> None:
    a, b = await places(fleet, "a", "b")
    await a.begun()
    a.places.end(CALL)
    await a.directory.tell_ended()
    assert (await b.asked()).body == "a", "it knows how the call has ended"
    a.answers = False
    answer = await b.asked()
    assert answer.media_type == "text/xml"
    assert "Hangup" in answer.body
    assert await b.asked(call_sid=sid(9)) is None


async def test_a_released_call_is_anybodys_at_once(fleet: Fleet) -> None:
    a, b = await places(fleet, "a", "b")
    await a.begun()
    await a.places.give_up(CALL)
    taken = await b.asked()
    assert isinstance(taken, TakenCall)
    assert taken.epoch == 2


async def test_without_the_database_every_other_process_is_asked(fleet: Fleet) -> None:
    a, b = await places(fleet, "a", "b")
    await a.begun()
    b.directory.connection.cut()
    b.directory.connection.problem = "cut"
    assert (await b.asked()).body == "a"
    assert await b.asked("voice") is None, "each would begin it"
    a.answers = False
    held = await b.asked(stream="1")
    assert '<Pause length="2" />' in held.body
    assert "https://x/twilio/n/b/after?stream=1" in held.body, "the caller is held"
    assert await b.asked(CallStatus="completed") is None
    assert await b.asked(last="1") is None
    b.now_s += HELD_S
    assert await b.asked(stream="1") is None, "no longer than that; nothing is claimed"


# --- streams -------------------------------------------------------------------------------------


async def test_a_stream_is_taken_once_wherever_it_comes(fleet: Fleet) -> None:
    a, b, c = await places(fleet, "a", "b", "c")
    token = await a.begun()
    taken = await b.stream(token)
    assert isinstance(taken, TakenCall)
    assert taken.token == token
    assert a.told == [(CALL, 2)], "it closes its leg"
    for place in (a, b, c):
        assert await place.stream(token) == "a used token", place.directory.node
    second = await a.begun(sid(2))
    assert await a.stream(second, sid(2)) is None, "its own"
    for place in (a, b, c):
        assert await place.stream(second, sid(2)) == "a used token", place.directory.node


async def test_one_of_many_copies_of_a_token_is_taken(fleet: Fleet) -> None:
    a, b, c = await places(fleet, "a", "b", "c")
    for number in range(50, 70):
        token = await a.begun(sid(number))
        found = await asyncio.gather(
            *(place.stream(token, sid(number)) for place in (a, b, c, b, a))
        )
        taken = [each for each in found if each is None or isinstance(each, TakenCall)]
        assert len(taken) == 1, found


async def test_wrong_expired_and_foreign_tokens_are_refused_by_every_node(fleet: Fleet) -> None:
    a, b = await places(fleet, "a", "b")
    (other,) = await places(fleet, "x", key=KEY[::-1])
    token = await a.begun()
    body, _, signature = token.partition(".")
    for place in (a, b):
        assert await place.stream(other.places.first_token(CALL)) == "a token that is forged"
        another = f"{signature[:-1]}{'1' if signature.endswith('0') else '0'}"
        for wrong in ("", "x", body, f"{body}.{another}", f"{body[:-2]}AA.{signature}"):
            refused = await place.stream(wrong)
            assert isinstance(refused, str), wrong
            assert "forged" in refused or "malformed" in refused
        assert await place.stream(token, sid(3)) == "a token of another call"
        place.skew_ms = 301_000
        assert await place.stream(token) == "a token that is expired"
        place.skew_ms = 0
    assert await b.stream(b.places.first_token(sid(4)), sid(4)) == "an unknown token"
    assert isinstance(await b.stream(token), TakenCall)


async def test_a_next_token_counts_once_it_is_stored(fleet: Fleet) -> None:
    a, b = await places(fleet, "a", "b")
    first = await a.begun()
    assert await a.stream(first) is None
    entry: Any = SimpleNamespace(call_sid=CALL)
    second = a.places.next_token(CALL)
    assert await b.stream(second) == "a used token", "nobody was given it"
    await a.places.store(entry)
    await a.places.store(entry)
    taken = await b.stream(second)
    assert isinstance(taken, TakenCall)
    await a.places.store(entry)
    assert await a.stream(second) == "a used token", "a repeated answer makes it no new one"


async def test_a_process_that_was_not_told_finds_out_that_its_call_is_gone(fleet: Fleet) -> None:
    a, b = await places(fleet, "a", "b")
    token = await a.begun()
    await a.places.confirm(CALL)
    assert a.fenced == []
    assert isinstance(await b.stream(token), TakenCall)
    await a.places.confirm(CALL)
    assert a.fenced == [CALL]
    a.directory.connection.problem = "cut"
    await b.places.confirm(CALL)
    await a.places.confirm(CALL)
    assert b.fenced == []


async def test_what_is_being_redacted_is_stored_with_the_token(fleet: Fleet) -> None:
    a, b = await places(fleet, "a", "b")
    token = await a.begun()
    line = b'["CallBegan","%s",5,6,{}]' % CALL.encode()
    a.places.settle = lambda: a.node.lines(CALL, line, 7)
    entry: Any = SimpleNamespace(call_sid=CALL)
    await a.places.store(entry)
    taken = await b.stream(token)
    assert isinstance(taken, TakenCall)
    assert b.inherited == [(a.directory.process_id, 7, line)]


async def test_while_the_database_is_away_a_draining_process_gives_its_call_to_its_nodes_next_one(
    fleet: Fleet,
) -> None:
    old, new, other = await places(fleet, "a", "a", "b")
    token, spent = await old.begun(), await old.begun(sid(2))
    old.waits_for = {token}
    problem = new.directory.connection.problem
    for place in (old, new, other):
        place.directory.connection.problem = "cut"
    assert await other.stream(token) == AWAY, "another node"
    assert old.waits_for == {token}, "it was not asked"
    assert await new.stream(spent, sid(2)) == AWAY, "that process does not wait for it"
    taken = await new.stream(token)
    assert isinstance(taken, TakenCall)
    assert (taken.token, taken.epoch) == (token, 2)
    assert await new.stream(token) == AWAY, "once"
    for place in (old, new, other):
        place.directory.connection.problem = problem
        await place.directory.settle()
    await old.directory.read_epochs()
    assert (old.fenced, new.places.epoch_of(CALL)) == ([CALL], 2)
    assert await other.stream(token) == "a used token"


async def test_of_a_call_that_was_handed_over_unconfirmed_the_files_token_counts(
    fleet: Fleet,
) -> None:
    """A spent one that comes again must not be compared with itself."""
    old, new = await places(fleet, "a", "a")
    spent = await old.begun()
    awaited = old.places.next_token(CALL)
    old.late = LiveCallFile(CALL, [encoded(old.facts(awaited))])
    for place in (old, new):
        place.directory.connection.problem = "cut"
    taken = await new.stream(spent)
    assert isinstance(taken, TakenCall)
    assert taken.token == awaited
    assert await new.stream(spent) == AWAY
    assert await new.stream(awaited) is None, "it is admitted, once"
    assert await new.stream(awaited) == AWAY


async def test_while_the_database_is_away_only_the_issuer_takes_a_stream(fleet: Fleet) -> None:
    a, b = await places(fleet, "a", "b")
    token = await a.begun()
    for place in (a, b):
        place.directory.connection.problem = "cut"
    assert await b.stream(token) == AWAY
    assert await a.stream(token) is None
    assert await a.stream(token) == AWAY, "once"
    assert await b.places.begin(sid(5), b.facts(None)) == BIN_AWAY
    new = b.places.first_token(sid(6))
    assert await b.places.begin(sid(6), b.facts(new)) is None
    assert await b.stream(new, sid(6)) is None
    assert await a.stream(new, sid(6)) == AWAY


# --- new calls -----------------------------------------------------------------------------------


async def test_sessions_are_counted_for_the_fleet(fleet: Fleet) -> None:
    a, b = await places(fleet, "a", "b", most=2)
    await a.begun(sid(1))
    await b.begun(sid(2))
    full = a.places.first_token(sid(3))
    assert await a.places.begin(sid(3), a.facts(full)) == CallLimit.SESSIONS
    assert not await a.places.spares.take(sid(1)), "nor is there one for a roll-over"
    b.places.end(sid(2))
    await b.directory.tell_ended()
    a.places.spares.settle(sid(1))
    assert a.directory.held.legs == 1, "its own is not returned in its place"
    assert await a.places.spares.take(sid(1))
    assert await a.places.begin(sid(3), a.facts(full)) == CallLimit.SESSIONS


async def test_one_of_two_nodes_begins_a_call(fleet: Fleet) -> None:
    a, b = await places(fleet, "a", "b")
    await a.begun()
    token = b.places.first_token(CALL)
    assert await b.places.begin(CALL, b.facts(token)) == ELSEWHERE
    assert await b.places.begin(CALL, b.facts(None)) == ELSEWHERE, "nor is a Bin's stream let in"


# --- calls that are placed -----------------------------------------------------------------------


async def reserved(place: Place) -> str:
    """Reserve a session for a call that is to be placed; return its token."""
    token = place.places.first_token("")
    assert await place.places.reserve(place.facts(token)) is None
    return token


async def test_a_placed_call_counts_from_before_it_is_dialled(fleet: Fleet) -> None:
    a, b = await places(fleet, "a", "b", most=2)
    token = await reserved(a)
    await b.begun(sid(2))
    another = b.places.first_token("")
    assert await b.places.reserve(b.facts(another)) == CallLimit.SESSIONS
    assert await a.places.begin(sid(3), a.facts(a.places.first_token(sid(3)))) is not None
    assert await a.places.name(CALL, a.facts(token))
    assert await a.places.name(CALL, a.facts(token)), "told twice"
    await a.node.beat()
    assert await fleet.taken() == 2, "once, although it has another name now"
    a.places.end(CALL)
    await a.directory.tell_ended()
    last = await reserved(b)
    await a.node.beat()
    assert await fleet.taken() == 2
    b.places.unreserve(last)
    await b.directory.tell_ended()
    assert await fleet.taken() == 1, "Twilio has refused it"


async def test_a_placed_calls_stream_may_come_to_any_node_before_its_sid_is_known(
    fleet: Fleet,
) -> None:
    a, b, c = await places(fleet, "a", "b", "c")
    token = await reserved(a)
    found = await asyncio.gather(*(place.stream(token) for place in (b, c, b)))
    (taken,) = [each for each in found if isinstance(each, TakenCall)]
    assert (taken.has_begun, taken.token, taken.lines) == (False, token, [encoded(a.facts(token))])
    assert not await a.places.name(CALL, a.facts(token)), "another node has it"
    for place in (a, b, c):
        await place.node.beat()
        assert await place.stream(token) == "a used token"
    assert (await fleet.ask("SELECT call_sid FROM fleet_calls")) == [(CALL,)]
    named = await reserved(a)
    assert await a.places.name(sid(2), a.facts(named))
    moved = await b.stream(named, sid(2))
    assert isinstance(moved, TakenCall)
    assert moved.has_begun
    assert await b.stream(b.places.first_token(""), sid(5)) == "an unknown token"


async def test_the_stream_of_a_call_finds_it_after_the_node_that_placed_it_died(
    fleet: Fleet,
) -> None:
    a, b = await places(fleet, "a", "b")
    token = await reserved(a)
    await fleet.ask("UPDATE fleet_processes SET beat_at = beat_at - interval '1 min'")
    await fleet.ask("UPDATE fleet_processes SET unbroken_since = unbroken_since - interval '1 min'")
    await b.node.beat()
    assert await b.directory.reap() == [], "nobody knows which call it will be"
    assert isinstance(await b.stream(token), TakenCall)


async def test_what_became_of_a_placed_call_while_the_database_was_away(fleet: Fleet) -> None:
    a, b = await places(fleet, "a", "b", most=9)
    known, lost = await reserved(a), await reserved(a)
    problem, a.directory.connection.problem = a.directory.connection.problem, "cut"
    new = await reserved(a)
    assert await a.places.reserve(a.facts(a.places.first_token(""))) == CallLimit.SESSIONS
    for number, token in enumerate((known, new, lost), 1):
        assert await a.places.name(sid(number), a.facts(token))
        assert await b.stream(new, sid(2)) == "an unknown token"
    assert isinstance(await b.stream(lost, sid(3)), TakenCall), "b's database is there"
    assert await a.stream(known) is None
    a.directory.connection.problem = problem
    await a.directory.settle()
    assert a.fenced == [sid(3)]
    await a.node.beat()
    rows = await fleet.ask("SELECT call_sid, process_id FROM fleet_calls ORDER BY call_sid")
    mine, theirs = a.directory.process_id, b.directory.process_id
    assert rows == [(sid(1), mine), (sid(2), mine), (sid(3), theirs)]
    assert await b.stream(known) == "a used token"


async def test_a_call_is_named_or_given_up_long_after_its_token_was_good(fleet: Fleet) -> None:
    (a,) = await places(fleet, "a")
    named, stale = await reserved(a), await reserved(a)
    a.skew_ms = 301_000
    assert await a.places.name(CALL, a.facts(named))
    a.places.unreserve(stale)
    assert a.directory.held.sids == (CALL,)
    assert await a.stream(named) == "a token that is expired"


async def test_whoever_takes_a_named_call_gets_the_facts_that_came_with_its_name(
    fleet: Fleet,
) -> None:
    a, b = await places(fleet, "a", "b")
    token = await reserved(a)
    full = replace(a.facts(token), values={"called": "+4912"})
    assert await a.places.name(CALL, full)
    taken = await b.stream(token)
    assert isinstance(taken, TakenCall)
    assert taken.lines == [encoded(full)]


async def test_a_placed_call_that_ends_before_it_is_named_leaves_no_session(fleet: Fleet) -> None:
    (a,) = await places(fleet, "a")
    token = await reserved(a)
    problem, a.directory.connection.problem = a.directory.connection.problem, "cut"
    assert await a.places.name(CALL, a.facts(token))
    a.places.end(CALL)
    a.directory.connection.problem = problem
    await a.directory.settle()
    assert await fleet.ask("SELECT FROM fleet_calls WHERE ended_at IS NULL") == []
    await a.node.beat()
    assert await fleet.taken() == 0


@pytest.mark.parametrize("is_taken", [False, True])
async def test_a_placed_call_may_end_while_it_is_being_named(fleet: Fleet, is_taken: bool) -> None:
    a, b = await places(fleet, "a", "b")
    token = await reserved(a)
    problem, a.directory.connection.problem = a.directory.connection.problem, "cut"
    assert await a.places.name(CALL, a.facts(token))
    reservations: Any = a.directory.reservations
    named = reservations._named

    async def named_as_it_ends(*given: Any) -> Any:
        if is_taken:
            assert isinstance(await b.stream(token), TakenCall)
        found = await named(*given)
        a.places.end(CALL)
        return found

    reservations._named = named_as_it_ends
    a.directory.connection.problem = problem
    await a.directory.settle()
    await a.directory.tell_ended()
    assert (a.directory.held.sids, a.fenced) == ((), [])
    rows = await fleet.ask("SELECT process_id FROM fleet_calls WHERE ended_at IS NULL")
    assert rows == ([(b.directory.process_id,)] if is_taken else [])


async def test_a_reservation_of_which_nothing_is_heard_lapses(fleet: Fleet) -> None:
    a, b = await places(fleet, "a", "b")
    await reserved(a)
    await b.node.beat()
    assert await fleet.taken() == 1
    await fleet.ask("UPDATE fleet_calls SET began_at = began_at - interval '301 s'")
    await b.node.beat()
    assert await fleet.taken() == 0
    b.node.heartbeat.beats = 0
    await b.node.beat()
    assert await fleet.ask("SELECT FROM fleet_calls") == []
    await a.node.beat()
    assert await fleet.ask("SELECT FROM fleet_calls") == [], "it is not entered again"
    held = a.directory.held.hold(reservation("n"), 1, b"", "n", 1, age_s=301)
    assert held.legs == 1
    await a.directory.settle()
    assert a.directory.held.sids == ()


# --- calls of dead processes ---------------------------------------------------------------------


def left_by(place: Place, *lines: bytes) -> LiveCallFile:
    return LiveCallFile(CALL, list(lines), place.directory.process_id)


async def test_the_next_process_of_a_machine_claims_what_the_dead_one_left(fleet: Fleet) -> None:
    a, b, c = await places(fleet, "a", "b", "c")
    await a.begun()
    file = left_by(a, b"{}", b"one", b"two")
    (taken,) = await b.places.claim_files([file])
    assert taken.epoch == 2
    assert taken.lines == file.lines, "the file knows more than the directory"
    assert await c.places.claim_files([file]) == [], "another process has it by now"
    b.places.end(CALL)
    await b.directory.tell_ended()
    assert await c.places.claim_files([left_by(b)]) == [], "it is over"


async def test_a_file_taken_while_the_database_is_away_is_claimed_later(fleet: Fleet) -> None:
    a, b, c = await places(fleet, "a", "b", "c")
    await a.begun()
    problem, b.directory.connection.problem = b.directory.connection.problem, "cut"
    (taken,) = await b.places.claim_files([left_by(a, b"{}")])
    assert (taken.call_sid, taken.epoch) == (CALL, 2), "the journal tells it at once"
    b.directory.connection.problem = problem
    await b.directory.settle()
    assert b.places.epoch_of(CALL) == 2
    c.answers = b.answers = False
    assert isinstance(await c.asked(), TakenCall)
    await b.directory.settle()
    assert b.fenced == [CALL]
