"""The tables of the database. `migrations/` makes them; a test holds the two equal.

`events` has every event of every call. `calls` sums a call up, for lists and totals; `utterances`
holds what was heard, for the search of texts; `measures` has figures of calls that have ended. All
three derive from events, in the same transaction.

Columns named `…_ms` are milliseconds since the call began, except `started_ms` and `wall_ms`, which
are the wall clock's: ms since 1970, UTC. Durations come from the call's clock alone, so no jump of
the wall clock makes one negative. Times of `jobs` are the wall clock's too.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata: Final = MetaData()


def _call_sid() -> Column[str]:
    parent = ForeignKey("calls.sid", ondelete="CASCADE")
    return Column("call_sid", String(64), parent, primary_key=True, nullable=False)


def _line() -> Column[int]:
    """Return the column of the line's number in the journal, unique with the call."""
    return Column("line", BigInteger, primary_key=True, autoincrement=False)


calls: Final = Table(
    "calls",
    metadata,
    Column("sid", String(64), primary_key=True),
    Column("account_sid", String(64), nullable=False),
    Column("agent", Text, nullable=False),
    Column("direction", String(16), nullable=False),
    Column("came_by", String(16), nullable=False),
    Column("from_number", Text, nullable=False),
    Column("to_number", Text, nullable=False),
    Column("variables", Text, nullable=False),  # JSON
    # Id of the data folder: which machine has the call's recording.
    Column("journal", String(32), nullable=False),
    Column("process", String(32), nullable=False, server_default=""),  # id of the call process
    Column("node", String(63), nullable=False, server_default=""),  # empty without a fleet
    Column("started_ms", BigInteger, nullable=False),
    Column("stream_at_ms", BigInteger),  # None: no stream came
    Column("duration_ms", BigInteger),  # None: it is live
    Column("fault", String(16)),
    Column("slug", String(64)),
    Column("words", Text),
    Column("detail", Text),
    Column("delays", Text),  # JSON: counts by events.DELAY_EDGES_MS
    Column("recording", Text),  # its name in the store of files
    Column("recording_ms", BigInteger),
    Column("recording_fault", Text),
    Column("billed_status", String(16)),
    Column("billed_ms", BigInteger),  # by Twilio, which rounds up to minutes
    Column("agent_ms", BigInteger, nullable=False),  # Deepgram's sockets, together
    Column("tier", String(32), nullable=False),  # of Deepgram's prices
    Column("cost_micros", BigInteger),  # millionths of the currency; None: without prices
    Column("twilio_micros", BigInteger),  # parts of the cost; None: without prices,
    Column("stream_micros", BigInteger),  # or written by a version that kept the sum alone
    Column("deepgram_micros", BigInteger),
    Column("text_erased", Boolean, nullable=False, default=False),
    Column("lookup", String(16)),  # LookedUp's outcome; None: nothing was looked up
    Column("lookup_why", Text),
    Column("lookup_ms", BigInteger),
    # Counted up by the store (rows.COUNTED), so that a list reads no events.
    Column("turns", Integer, nullable=False, server_default="0"),
    Column("interruptions", Integer, nullable=False, server_default="0"),
    Column("functions", Integer, nullable=False, server_default="0"),
    Column("troubles", Integer, nullable=False, server_default="0"),
)
Index("calls_by_time", calls.c.started_ms.desc(), calls.c.sid.desc())
Index("calls_by_from", calls.c.from_number, calls.c.started_ms)
Index("calls_by_to", calls.c.to_number, calls.c.started_ms)
Index("calls_by_agent", calls.c.agent, calls.c.started_ms)
Index("calls_by_slug", calls.c.slug, calls.c.started_ms)
# calls_live and jobs_due are partial: the migrations say of which rows. To say it here as well
# would import the dialects of both databases, in each process that has one.
Index("calls_live", calls.c.process)

events: Final = Table(
    "events",
    metadata,
    _call_sid(),
    _line(),
    Column("at_ms", BigInteger, nullable=False),
    Column("wall_ms", BigInteger, nullable=False),  # when the line was written
    Column("kind", String(32), nullable=False),  # name of the event's type
    Column("body", Text, nullable=False),  # JSON of the event's own type, as in the journal
    sqlite_with_rowid=False,
)

# Each process that has had a call which moved, from a line of its journal on: moves.py.
ownerships: Final = Table(
    "ownerships",
    metadata,
    _call_sid(),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("process", String(32), nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

# Calls that had moved when they were erased: the disk of a node that comes back late may have their
# beginning. A CallSid tells nothing by itself.
erased_calls: Final = Table("erased_calls", metadata, Column("sid", String(64), primary_key=True))

utterances: Final = Table(
    "utterances",
    metadata,
    _call_sid(),
    _line(),
    Column("who", String(8), nullable=False),  # caller, agent
    Column("text", Text, nullable=False),  # what was heard
    sqlite_with_rowid=False,
)

# Of each call that has ended, made of its events: measures.py. `agent` and `started_ms` are those
# of the call, so that figures of many calls are added up without a look at each.
measures: Final = Table(
    "measures",
    metadata,
    _call_sid(),
    Column("agent", Text, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("latencies", Text, nullable=False),
    Column("stream_ms", BigInteger, nullable=False),
    Column("spoken_ms", BigInteger, nullable=False),
    Column("heard_chars", Integer, nullable=False),
    Column("intended_chars", Integer, nullable=False),
    Column("barge_ins", Integer, nullable=False),
    Column("false_barge_ins", Integer, nullable=False),
    Column("suppressed", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
)
Index("measures_by_time", measures.c.started_ms)
Index("measures_by_agent", measures.c.agent, measures.c.started_ms)

# A job for each ended call, if a target for after-call webhooks is configured. Times are those of
# `database.clock_ms`, not of the call.
jobs: Final = Table(
    "jobs",
    metadata,
    _call_sid(),
    Column("made_ms", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),  # begun so far
    Column("due_ms", BigInteger),  # when the next may begin; None: no attempt follows
    Column("last_error", Text),
    Column("done_ms", BigInteger),  # None: not delivered
)
Index("jobs_due", jobs.c.due_ms)

# Recordings of erased calls which were not on the machine that erased them: the one that has such a
# file deletes it.
unwanted_files: Final = Table("unwanted_files", metadata, Column("name", Text, primary_key=True))

# Calls that were requested, so that no call is placed twice: outbound/ledger.py. It has no number,
# and stays when the call is erased.
placements: Final = Table(
    "placements",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("fingerprint", String(64), nullable=False),
    Column("made_ms", BigInteger, nullable=False),
    Column("sid", String(64)),  # None: Twilio has not named the call yet
    # Counts the days on which calls were asked for: placements.py
    Column("day", Integer, nullable=False, server_default="0"),
)
Index("placements_by_day", placements.c.day)
Index("placements_by_time", placements.c.made_ms)
Index("placements_by_sid", placements.c.sid)

# Numbers that are never to be rung (dnc.py). They outlive the calls in which that was asked for, so
# no call owns them.
do_not_call: Final = Table(
    "do_not_call",
    metadata,
    Column("number", String(32), primary_key=True),  # E.164
    Column("since_ms", BigInteger, nullable=False),  # ms since 1970
    Column("why", Text, nullable=False),
    Column("in_call", String(64)),  # CallSid; None: not in a call
)

applied: Final = Table(
    "applied",
    metadata,
    Column("process", String(32), primary_key=True),
    Column("line", BigInteger, nullable=False),  # the last line of its journal that is in here
)


# People who may sign in, and what they have signed in with: users/. Keys are hashes of secrets.
users: Final = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("password_hash", Text, nullable=False),
)

sessions: Final = Table(
    "sessions",
    metadata,
    Column("key", String(64), primary_key=True),
    # None: of a sign-in link
    Column("user_name", String(64), ForeignKey("users.name", ondelete="CASCADE")),
    Column("expires_ms", BigInteger, nullable=False),
)
Index("sessions_by_user", sessions.c.user_name)

sign_in_links: Final = Table(
    "sign_in_links",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("expires_ms", BigInteger, nullable=False),
)

# Who did what (users/audit.py). It outlives the calls and users that it names.
audit: Final = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("who", String(64), nullable=False),
    Column("what", String(64), nullable=False),
    Column("about", String(64), nullable=False),
    Column("status", Integer, nullable=False),
)
Index("audit_by_time", audit.c.at_ms)

# The four of nodes that share calls (offhook.fleet), which uses them by statements of its own.
_MOMENT: Final = DateTime(timezone=True)  # by the database's clock

fleet_processes: Final = Table(
    "fleet_processes",
    metadata,
    Column("process_id", String(64), primary_key=True),  # id of the process's journal
    Column("node", String(64), nullable=False),
    Column("address", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("is_draining", Boolean, nullable=False),
    Column("live", Integer, nullable=False),
    Column("capacity", Integer, nullable=False),
    Column("started_at", _MOMENT, nullable=False),
    Column("beat_at", _MOMENT, nullable=False),
    Column("unbroken_since", _MOMENT, nullable=False),
)

fleet_calls: Final = Table(
    "fleet_calls",
    metadata,
    Column("call_sid", String(64), primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("process_id", String(64), nullable=False),  # empty: released
    Column("from_process", String(64), nullable=False),  # who had it before
    Column("nonce", String(64)),  # of the stream that is awaited
    Column("answered_epoch", Integer, nullable=False),
    Column("legs", Integer, nullable=False),
    Column("budget", Text, nullable=False),
    Column("facts", LargeBinary),
    Column("began_at", _MOMENT, nullable=False),
    Column("changed_at", _MOMENT, nullable=False),
    Column("ended_at", _MOMENT),
)
Index("fleet_calls_by_process", fleet_calls.c.process_id)
Index("fleet_calls_by_end", fleet_calls.c.ended_at)

fleet_lines: Final = Table(
    "fleet_lines",
    metadata,
    Column("call_sid", String(64), primary_key=True),
    Column("process_id", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True),  # of the line in that process's journal
    Column("epoch", Integer, nullable=False),
    Column("line", LargeBinary, nullable=False),
)

fleet_budgets: Final = Table(
    "fleet_budgets",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("taken", Integer, nullable=False),
    Column("counted_at", _MOMENT, nullable=False),
)


def of_calls() -> list[tuple[Table, Column[str]]]:
    """Return each table with rows of calls and its column of the CallSid; `calls` is last."""
    children = [table for table in reversed(metadata.sorted_tables) if "call_sid" in table.c]
    return [*((table, table.c.call_sid) for table in children), (calls, calls.c.sid)]
