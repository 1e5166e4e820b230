"""Jobs: after-call webhooks to deliver, when each is due, and its result.

A job's row is its call's: there is one a call, and it goes when the call is erased. A claim moves
the time at which the job is due by LEASE_MS, so the job of a server that was killed comes back by
itself. Times come from `database.clock_ms`.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, select, update

from offhook.errors import UserError
from offhook.records import tables
from offhook.records.database import insert
from offhook.records.queries import columns_of

WAITS_S: Final = (1, 5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800)
"""Seconds from one failed attempt to the next: a day in all. They are counted and not dated, so a
clock that jumps gives no job up."""

LEASE_MS: Final = 60_000
"""Milliseconds that an attempt may take before it counts as lost with its server."""

BILL_WAIT_MS: Final = 5_000
"""Milliseconds that the first attempt waits for Twilio to report what it bills."""

ERROR_MAX: Final = 200

_jobs: Final = tables.jobs.c


class WebhookJob(NamedTuple):
    """A claimed attempt at a job. `attempt` counts from 1."""

    call_sid: str
    made_ms: int
    attempt: int


def add(connection: Connection, call_sids: Sequence[str], now_ms: int) -> None:
    """Add a job for each of the calls, which have ended, unless it has one."""
    if not call_sids:
        return
    calls = tables.calls.c
    billed = select(calls.sid).where(calls.sid.in_(call_sids), calls.billed_ms.is_not(None))
    complete = set(connection.scalars(billed))
    rows = [
        {
            "call_sid": sid,
            "made_ms": now_ms,
            "attempts": 0,
            "due_ms": now_ms + (0 if sid in complete else BILL_WAIT_MS),
        }
        for sid in dict.fromkeys(call_sids)
    ]
    connection.execute(insert(connection, tables.jobs).on_conflict_do_nothing(), rows)


def hurry(connection: Connection, call_sids: Sequence[str], now_ms: int) -> None:
    """Make jobs of these calls due now: Twilio told what it bills."""
    if call_sids:
        waiting = _jobs.call_sid.in_(call_sids) & (_jobs.attempts == 0) & (_jobs.due_ms > now_ms)
        connection.execute(update(tables.jobs).where(waiting).values(due_ms=now_ms))


class WaitingWebhooks(NamedTuple):
    """The number of calls whose webhook is to be delivered, and the time since the oldest ended."""

    calls: int
    oldest_ms: int


def waiting(connection: Connection, now_ms: int) -> WaitingWebhooks:
    """Return the deliveries that wait for any server."""
    query = select(func.count(), func.min(_jobs.made_ms)).where(_jobs.due_ms.is_not(None))
    count, made_ms = connection.execute(query).one()
    return WaitingWebhooks(count, 0 if made_ms is None else max(0, now_ms - made_ms))


def claim(connection: Connection, now_ms: int) -> WebhookJob | None:
    """Take the job that has been due for longest; None: no job is due. Commit before the work.

    Servers on one PostgreSQL do not wait for each other, and none takes what another has.
    """
    due = (
        select(_jobs.call_sid, _jobs.made_ms, _jobs.attempts)
        .where(_jobs.due_ms <= now_ms)
        .order_by(_jobs.due_ms)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(due).one_or_none()
    if row is None:
        return None
    job = WebhookJob(row.call_sid, row.made_ms, row.attempts + 1)
    # SQLite has no FOR UPDATE: another process may have claimed the job since the SELECT.
    same = (_jobs.call_sid == job.call_sid) & (_jobs.attempts == row.attempts)
    values = {"attempts": job.attempt, "due_ms": now_ms + LEASE_MS}
    taken = connection.execute(update(tables.jobs).where(same).values(**values))
    return job if taken.rowcount else None


def done(connection: Connection, job: WebhookJob, now_ms: int) -> None:
    """Mark a job as delivered."""
    _settle(connection, job, due_ms=None, done_ms=now_ms, last_error=None)


def failed(
    connection: Connection, job: WebhookJob, now_ms: int, error: str, spread: float
) -> int | None:
    """Mark an attempt as failed. Return when the next is due, or None: the job is given up.

    `spread`, from 0 to 1, is chance: jobs that failed together do not come back together.
    """
    due_ms = None
    if job.attempt <= len(WAITS_S):
        due_ms = now_ms + round(WAITS_S[job.attempt - 1] * 1000 * (0.75 + spread / 2))
    _settle(connection, job, due_ms=due_ms, last_error=error[:ERROR_MAX])
    return due_ms


def give_up(connection: Connection, job: WebhookJob, error: str) -> None:
    """End a job without another attempt."""
    _settle(connection, job, due_ms=None, last_error=error[:ERROR_MAX])


def resend(connection: Connection, call_sid: str, now_ms: int) -> None:
    """Deliver a call's record once more, from now on and with every attempt.

    Raises UserError E-ASK-04 when there is no such call, and E-HOOK-03 when it is live.
    """
    if columns_of(connection, call_sid, tables.calls.c.duration_ms).duration_ms is None:
        raise UserError(
            "E-HOOK-03",
            "The call is not over: its webhook is delivered when it is.",
            "Wait for its end.",
        )
    values: dict[str, Any] = {"attempts": 0, "due_ms": now_ms, "last_error": None, "done_ms": None}
    new = insert(connection, tables.jobs).values(call_sid=call_sid, made_ms=now_ms, **values)
    connection.execute(new.on_conflict_do_update(index_elements=["call_sid"], set_=values))


def _settle(connection: Connection, job: WebhookJob, **values: Any) -> None:
    """Change the job, unless it was claimed anew since: then the new claim decides."""
    same = (_jobs.call_sid == job.call_sid) & (_jobs.attempts == job.attempt)
    connection.execute(update(tables.jobs).where(same).values(**values))
