"""Queries on the record: lists of calls, totals, and everything about one call.

Plain functions on a connection, for the command line and the API alike. None of them writes.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)

from offhook.config.prices import begun_minutes
from offhook.errors import UserError
from offhook.records import tables
from offhook.records.filters import CallFilter
from offhook.records.models import (
    CallPage,
    CallSummary,
    GroupTotals,
    Totals,
)
from offhook.records.pages import PagePosition, check_limit, cursor_of, position_of

SCAN_CALLS: Final = (200, 800)
"""Calls that one page of a text search looks through: the first batch, which is enough for common
words, and the second. They bound the time that a page takes."""

SUFFIX_MIN: Final = 4
"""Characters of a CallSid's end that may stand for it."""

DAY_MS: Final = 86_400_000
NUL: Final = "\x00"
"""NUL, which PostgreSQL does not accept, not even in a query's parameter."""

_calls = tables.calls.c
_utterances = tables.utterances.c

_COPIED: Final = (
    _calls.sid,
    _calls.started_ms,
    _calls.duration_ms,
    _calls.agent,
    _calls.direction,
    _calls.came_by,
    _calls.from_number,
    _calls.to_number,
    _calls.fault,
    _calls.slug,
    _calls.words,
    _calls.turns,
    _calls.interruptions,
    _calls.functions,
    _calls.troubles,
    _calls.recording,
    _calls.cost_micros,
)
"""Columns that a CallSummary takes over unchanged."""

_LISTED: Final = (*_COPIED, _calls.billed_ms)
_NEWEST_FIRST: Final = (_calls.started_ms.desc(), _calls.sid.desc())


# --- Lists of calls ------------------------------------------------------------------------------


def find(
    connection: Connection, asked: CallFilter, limit: int = 50, after_cursor: str | None = None
) -> CallPage:
    """Return the calls that meet a filter, newest first; `limit` is 1 to PAGE_MAX.

    Pages that follow each other by `next_cursor` hold each call once, whatever begins meanwhile.
    Raises UserError E-ASK-01 for the limit and E-ASK-02 for the cursor.
    """
    check_limit(limit)
    after = None if after_cursor is None else position_of(after_cursor)
    if asked.text is None:
        rows = connection.execute(_newest(asked, after, limit + 1, _LISTED)).all()
        return _page(rows, limit, None)
    return _search(connection, asked, asked.text, after, limit)


def _search(
    connection: Connection, asked: CallFilter, text: str, after: PagePosition | None, limit: int
) -> CallPage:
    rows: list[Row[Any]] = []
    for count in SCAN_CALLS:
        seen = _newest(asked, after, count, (_calls.sid, _calls.started_ms)).subquery()
        query: Select[Any] = (
            select(*_LISTED)
            .join(seen, seen.c.sid == _calls.sid)
            .where(_says(text, connection))
            .order_by(*_NEWEST_FIRST)
            .limit(limit + 1 - len(rows))
        )
        rows += connection.execute(query).all()
        if len(rows) > limit:
            break
        last = select(seen.c.started_ms, seen.c.sid)
        last = last.order_by(seen.c.started_ms.desc(), seen.c.sid.desc()).offset(count - 1)
        end = connection.execute(last).first()
        after = None if end is None else PagePosition(*end)
        if after is None:
            break
    return _page(rows, limit, after)


def find_sid(connection: Connection, text: str) -> str:
    """Return the CallSid that `text` is, or the only one that ends so.

    Raises UserError E-ASK-04 without a match, and E-ASK-05 with several.
    """
    known = select(_calls.sid)
    if NUL in text:
        raise no_call()
    if connection.scalar(known.where(_calls.sid == text)) is not None:
        return text
    found: Sequence[str] = []
    if len(text) >= SUFFIX_MIN:
        # LIKE ignores case on SQLite; a CallSid has case.
        like = known.where(_calls.sid.endswith(text, autoescape=True))
        found = [sid for sid in connection.scalars(like) if sid.endswith(text)]
    if not found:
        raise no_call()
    if len(found) > 1:
        raise UserError(
            "E-ASK-05",
            f"The CallSids of {len(found)} calls end so.",
            "Give more of its end, or all of it.",
        )
    return found[0]


def columns_of(connection: Connection, sid: str, *columns: ColumnElement[Any]) -> Row[Any]:
    """Return columns of `calls` of one call. Raises UserError E-ASK-04 for an unknown CallSid."""
    row = None
    if NUL not in sid:
        row = connection.execute(select(*columns).where(_calls.sid == sid)).one_or_none()
    if row is None:
        raise no_call()
    return row


def no_call() -> UserError:
    """Return the error for a call that is not there."""
    return UserError(
        "E-ASK-04",
        "The record has no call with that CallSid.",
        "See which there are: offhook calls",
    )


def _newest(
    asked: CallFilter, after: PagePosition | None, count: int, columns: Iterable[ColumnElement[Any]]
) -> Select[Any]:
    """Return a query for the newest calls behind `after`, without the filter of texts."""
    conditions = _conditions(asked)
    if after is not None:
        here = tuple_(_calls.started_ms, _calls.sid)
        conditions.append(here < tuple_(literal(after.started_ms), literal(after.sid)))
    query = select(*columns).order_by(*_NEWEST_FIRST).limit(count)
    if asked.number is None:
        return query.where(*conditions)
    # Each half uses an index that has the order already; an OR would use neither.
    halves = [
        select(_calls.sid).where(one, *conditions).order_by(*_NEWEST_FIRST).limit(count).subquery()
        for one in (
            _calls.from_number == asked.number,
            and_(_calls.to_number == asked.number, _calls.from_number != asked.number),
        )
    ]
    return query.where(_calls.sid.in_(union_all(*(select(half.c.sid) for half in halves))))


def _conditions(asked: CallFilter) -> list[ColumnElement[bool]]:
    """Return the conditions on a row of `calls`, without those of number and text."""
    conditions: list[ColumnElement[bool]] = []
    if asked.since_ms is not None:
        conditions.append(_calls.started_ms >= asked.since_ms)
    if asked.until_ms is not None:
        conditions.append(_calls.started_ms < asked.until_ms)
    if asked.live is not None:
        # Few calls are live; asked for directly, SQLite would go through all of them in order.
        live = select(_calls.sid).where(_calls.duration_ms.is_(None))
        over = _calls.duration_ms.is_not(None)
        conditions.append(_calls.sid.in_(live) if asked.live else over)
    if asked.min_ms is not None:
        conditions.append(_calls.duration_ms >= asked.min_ms)
    for column, value in (
        (_calls.agent, asked.agent),
        (_calls.direction, asked.direction),
        (_calls.slug, asked.slug),
        (_calls.fault, asked.fault),
    ):
        if value is not None:
            conditions.append(column == value)
    if asked.figure is not None:
        from offhook.records.figures import is_part_of  # all types of events come with it

        conditions.append(is_part_of(asked.figure))
    return conditions


def _says(text: str, connection: Connection) -> ColumnElement[bool]:
    """Return the condition that a text was heard in a call, in any case."""
    heard = _utterances.text
    sqlite = connection.dialect.name == "sqlite"
    holds: ColumnElement[bool]
    if text.isascii():
        for special in ("\\", "%", "_"):
            text = text.replace(special, f"\\{special}")
        like = heard.like if sqlite else heard.ilike
        holds = like(f"%{text}%", escape="\\")
    elif sqlite:
        # LIKE ignores the case of ASCII alone on SQLite.
        holds = heard.op("GLOB")(f"*{''.join(map(_in_glob, text))}*")
    else:
        # ILIKE depends on the database's locale, which may cover ASCII alone as well.
        holds = heard.regexp_match("".join(map(_in_regex, text)))
    return exists().where(_utterances.call_sid == _calls.sid, holds)


def _in_glob(letter: str) -> str:
    return f"[{letter}]" if letter in "*?[" else _either_case(letter)


def _in_regex(letter: str) -> str:
    special = letter.isascii() and not letter.isalnum()
    return f"\\{letter}" if special else _either_case(letter)


def _either_case(letter: str) -> str:
    cases = sorted({case for case in (letter, letter.lower(), letter.upper()) if len(case) == 1})
    return letter if len(cases) == 1 else f"[{''.join(cases)}]"


def _page(rows: Sequence[Row[Any]], limit: int, seen_to: PagePosition | None) -> CallPage:
    """Return a page of the rows, which are one more than `limit` if others follow."""
    kept = rows[:limit]
    if len(rows) > limit:
        seen_to = PagePosition(kept[-1].started_ms, kept[-1].sid)
    calls = [summary(row) for row in kept]
    return CallPage(calls, None if seen_to is None else cursor_of(seen_to))


def summary(row: Row[Any]) -> CallSummary:
    """Return a call of its row."""
    return CallSummary(
        **{column.name: row._mapping[column.name] for column in _COPIED},
        started=iso(row.started_ms),
        live=row.duration_ms is None,
        twilio_minutes=None if row.billed_ms is None else begun_minutes(row.billed_ms),
    )


def iso(ms: int) -> str:
    """Return a time in ms since 1970 as ISO 8601 in UTC, with its milliseconds."""
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- Sums ----------------------------------------------------------------------------------------


def totals(connection: Connection, asked: CallFilter) -> Totals:
    """Return the totals of the calls that meet a filter."""
    groups = _grouped(connection, asked, literal(0))
    return groups.get(0, Totals())


def sums(
    connection: Connection, asked: CallFilter, by: Literal["agent", "day"]
) -> list[GroupTotals]:
    """Return totals for each agent, by name, or for each day (UTC), the newest first."""
    if by == "agent":
        groups = _grouped(connection, asked, _calls.agent)
        return [GroupTotals(agent, groups[agent]) for agent in sorted(groups)]
    days = _grouped(connection, asked, _calls.started_ms // DAY_MS)
    return [GroupTotals(iso(day * DAY_MS)[:10], days[day]) for day in sorted(days, reverse=True)]


def _grouped(
    connection: Connection, asked: CallFilter, key: ColumnElement[Any]
) -> dict[Any, Totals]:
    conditions = _conditions(asked)
    if asked.number is not None:
        one = or_(_calls.from_number == asked.number, _calls.to_number == asked.number)
        conditions.append(one)
    if asked.text is not None:
        conditions.append(_says(asked.text, connection))
    # As rows.streamed_ms: a browser's stream is not Twilio's.
    streamed = case(
        (_calls.came_by == "browser", 0), else_=_calls.duration_ms - _calls.stream_at_ms
    )
    named = key.label("key")
    query = (
        select(
            named,
            _calls.tier,
            _calls.slug,
            func.count().label("calls"),
            func.count(_calls.duration_ms).label("over"),
            func.sum(_calls.duration_ms).label("duration_ms"),
            func.sum(_begun_minutes(_calls.billed_ms)).label("twilio"),
            func.sum(_begun_minutes(streamed)).label("stream"),
            func.sum(_calls.agent_ms).label("agent_ms"),
            func.count(_calls.cost_micros).label("priced"),
            func.sum(_calls.cost_micros).label("cost"),
        )
        .where(*conditions)
        .group_by(named, _calls.tier, _calls.slug)
    )
    groups: dict[Any, _Adding] = defaultdict(_Adding)
    for row in connection.execute(query):
        groups[row.key].add(row)
    return {of: adding.totals() for of, adding in groups.items()}


_SUMMED: Final = ("calls", "over", "duration_ms", "twilio", "stream", "priced", "cost")


def _begun_minutes(ms: ColumnElement[int]) -> ColumnElement[int]:
    return (ms + 59_999) // 60_000


class _Adding:
    """Adds up what one agent or day has by tier and slug."""

    def __init__(self) -> None:
        self._sums: dict[str, int] = defaultdict(int)
        self._agent_ms: dict[str, int] = defaultdict(int)
        self._endings: dict[str, int] = defaultdict(int)

    def add(self, row: Row[Any]) -> None:
        for name in _SUMMED:
            # SUM of no rows is None; PostgreSQL's SUM of rows is a Decimal.
            self._sums[name] += int(row._mapping[name] or 0)
        self._agent_ms[row.tier] += int(row.agent_ms or 0)
        if row.slug is not None:
            self._endings[row.slug] += row.calls

    def totals(self) -> Totals:
        sums = self._sums
        return Totals(
            calls=sums["calls"],
            live=sums["calls"] - sums["over"],
            duration_ms=sums["duration_ms"],
            twilio_minutes=sums["twilio"],
            stream_minutes=sums["stream"],
            deepgram_minutes={
                tier: round(ms / 60_000, 3) for tier, ms in sorted(self._agent_ms.items())
            },
            cost_micros=sums["cost"] if sums["priced"] else None,
            without_cost=sums["calls"] - sums["priced"],
            endings=dict(sorted(self._endings.items(), key=lambda one: (-one[1], one[0]))),
        )
