"""Jobs on both databases: one a call, claimed by one at a time, and back when the claimant dies."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine
from tests.records.test_store import WHOLE, apply, began, ended, lines, rows

from offhook.config import Prices
from offhook.errors import UserError
from offhook.events import types as events
from offhook.journal.entries import JournalEntry
from offhook.records import jobs, tables
from offhook.records.database import clock_ms
from offhook.records.jobs import WebhookJob
from offhook.records.store import RecordStore

NOW = 1_795_000_100_000
DAY_MS = 86_400_000


def keep(engine: Engine, batch: list[JournalEntry], *, after_call: bool = True) -> None:
    with engine.begin() as connection:
        store = RecordStore("j", Prices(), after_call=after_call)
        store.apply(connection, batch, batch[-1].number)


def calls(engine: Engine, *call_sids: str) -> None:
    for index, sid in enumerate(call_sids):
        batch = lines((0, began()), (100, ended()), call_sid=sid, first=10 * index + 1)
        keep(engine, batch, after_call=False)
    with engine.begin() as connection:
        jobs.add(connection, call_sids, NOW - jobs.BILL_WAIT_MS)


def claim(engine: Engine, now_ms: int = NOW) -> WebhookJob | None:
    with engine.begin() as connection:
        return jobs.claim(connection, now_ms)


def job(engine: Engine, sid: str = "CA1") -> dict[str, Any]:
    return next(row for row in rows(engine, tables.jobs) if row["call_sid"] == sid)


def now_of(engine: Engine) -> int:
    with engine.connect() as connection:
        return clock_ms(connection)


@pytest.mark.parametrize("size", [1, 3, len(WHOLE)])
def test_each_ended_call_has_one_job_from_the_commit_of_its_end_on(
    engine: Engine, size: int
) -> None:
    for at in range(0, len(WHOLE), size):
        batch = WHOLE[at : at + size]
        keep(engine, batch)
        over = any(isinstance(line.event, events.CallEnded) for line in WHOLE[: at + size])
        assert len(rows(engine, tables.jobs)) == over
    assert job(engine)["attempts"] == 0
    # Twilio's bill came, so nothing is waited for.
    assert job(engine)["due_ms"] <= now_of(engine)


def test_the_first_attempt_waits_a_little_for_the_bill(engine: Engine) -> None:
    before = now_of(engine)
    keep(engine, lines((0, began()), (100, ended())))
    assert before + jobs.BILL_WAIT_MS <= job(engine)["due_ms"]
    keep(engine, lines((200, events.CallBilled("completed", 1000)), first=3))
    assert job(engine)["due_ms"] <= now_of(engine)


def test_a_bill_that_comes_late_does_not_send_again(engine: Engine) -> None:
    calls(engine, "CA1")
    done = claim(engine)
    assert done is not None
    with engine.begin() as connection:
        jobs.done(connection, done, NOW)
    keep(engine, lines((200, events.CallBilled("completed", 1000)), first=30))
    assert job(engine)["due_ms"] is None


def test_without_a_target_there_are_no_jobs(engine: Engine) -> None:
    apply(engine, WHOLE)
    assert rows(engine, tables.jobs) == []


def test_a_call_whose_server_died_has_a_job_too(engine: Engine) -> None:
    keep(engine, lines((0, began())))
    with engine.begin() as connection:
        store = RecordStore("j", Prices(), after_call=True)
        assert [end.call_sid for end in store.end_orphaned(connection)] == ["CA1"]
    assert job(engine)["attempts"] == 0


def test_an_end_that_comes_twice_makes_no_second_job(engine: Engine) -> None:
    keep(engine, lines((0, began()), (100, ended())))
    first = job(engine)
    keep(engine, lines((150, ended()), first=3))
    assert rows(engine, tables.jobs) == [first]


def test_a_claim_is_one_claimants_and_comes_back_when_it_dies(engine: Engine) -> None:
    calls(engine, "CA1")
    assert claim(engine, NOW - 1) is None
    assert claim(engine) == WebhookJob("CA1", NOW - jobs.BILL_WAIT_MS, 1)
    assert claim(engine) is None
    assert claim(engine, NOW + jobs.LEASE_MS - 1) is None
    again = claim(engine, NOW + jobs.LEASE_MS)
    assert again is not None
    assert again.attempt == 2


def test_who_comes_back_late_decides_nothing(engine: Engine) -> None:
    calls(engine, "CA1")
    slow = claim(engine)
    assert slow is not None
    quick = claim(engine, NOW + jobs.LEASE_MS)
    assert quick is not None
    with engine.begin() as connection:
        jobs.done(connection, quick, NOW)
        jobs.failed(connection, slow, NOW, "too late", 0.5)
    assert job(engine)["done_ms"] == NOW
    assert job(engine)["due_ms"] is None


def test_many_claimants_take_each_job_once(engine: Engine) -> None:
    sids = [f"CA{number}" for number in range(24)]
    calls(engine, *sids)

    def take_all(_: int) -> list[str]:
        taken = []
        misses = 0
        while misses < 3:
            found = claim(engine)
            misses = 0 if found else misses + 1
            taken += [found.call_sid] if found else []
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [sid for some in pool.map(take_all, range(4)) for sid in some]
    assert sorted(taken) == sorted(sids)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_claimants_on_postgresql_do_not_wait_for_each_other(engine: Engine) -> None:
    calls(engine, "CA1", "CA2")
    with engine.begin() as one, engine.begin() as other:
        first, second = jobs.claim(one, NOW), jobs.claim(other, NOW)
        assert first is not None
        assert second is not None
        assert {first.call_sid, second.call_sid} == {"CA1", "CA2"}


def test_failures_are_retried_for_a_day_and_then_given_up(engine: Engine) -> None:
    calls(engine, "CA1")
    now, waits = NOW, []
    while (found := claim(engine, now)) is not None:
        with engine.begin() as connection:
            due = jobs.failed(connection, found, now, "HTTP 500", 0.5)
        if due is None:
            break
        waits.append(due - now)
        now = due
    assert waits[:5] == [1000, 5000, 30_000, 120_000, 600_000]
    assert waits == sorted(waits)
    assert 0.9 * DAY_MS < sum(waits) <= DAY_MS
    assert job(engine)["last_error"] == "HTTP 500"
    assert job(engine)["due_ms"] is None
    assert job(engine)["done_ms"] is None
    assert claim(engine, now + 10 * DAY_MS) is None


def test_jobs_that_failed_together_come_back_apart(engine: Engine) -> None:
    calls(engine, "CA1", "CA2")
    with engine.begin() as connection:
        for spread in (0.0, 1.0):
            found = jobs.claim(connection, NOW)
            assert found is not None
            jobs.failed(connection, found, NOW, "HTTP 500", spread)
    due = [row["due_ms"] - NOW for row in rows(engine, tables.jobs)]
    assert due == [750, 1250]


def test_resending_begins_anew_whatever_became_of_it(engine: Engine) -> None:
    calls(engine, "CA1", "CA2")
    first, second = claim(engine), claim(engine)
    assert first is not None
    assert second is not None
    with engine.begin() as connection:
        jobs.done(connection, first, NOW)
        jobs.give_up(connection, second, "HTTP 410")
        for sid in ("CA1", "CA2"):
            jobs.resend(connection, sid, NOW + 1)
    again = claim(engine, NOW + 1)
    assert again is not None
    assert again.attempt == 1
    assert job(engine, "CA2")["last_error"] is None


def test_a_call_from_before_there_was_a_target_can_be_sent(engine: Engine) -> None:
    apply(engine, WHOLE)
    with engine.begin() as connection:
        jobs.resend(connection, "CA1", NOW)
    assert claim(engine) == WebhookJob("CA1", NOW, 1)


@pytest.mark.parametrize(("sid", "code"), [("CA9", "E-ASK-04"), ("CA1", "E-HOOK-03")])
def test_what_cannot_be_resent_is_said(engine: Engine, sid: str, code: str) -> None:
    keep(engine, lines((0, began())))
    with engine.begin() as connection, pytest.raises(UserError) as caught:
        jobs.resend(connection, sid, NOW)
    assert caught.value.code == code
    assert rows(engine, tables.jobs) == []
