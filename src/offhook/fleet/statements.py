"""Every statement of the fleet's directory, as SQL.

Each message is one statement, or several that PostgreSQL runs as one transaction and commits by
itself. So a process that is stopped between two messages holds no lock. Times are the database's:
`clock_timestamp()`, never a node's.
"""
# ruff: noqa: S608 - made of the constants of this file

from typing import Final

from offhook.fleet.places import LEASE_S, RESERVATION, RESERVED_S

_LEASE: Final = f"interval '{LEASE_S:g} s'"

_UNBROKEN: Final = f"interval '{LEASE_S / 2:g} s'"
"""Longest time between two beats of a heartbeat that is unbroken. Less than a lease by more than a
beat and the time until a connection is back: after an outage of the database, a process that may
take calls has been back for so long that all who live have beaten, too."""

_IS_RESERVED: Final = f"starts_with(c.call_sid, '{RESERVATION}')"

_HAS_LAPSED: Final = (
    f"{_IS_RESERVED} AND c.began_at < clock_timestamp() - interval '{RESERVED_S:g} s'"
)
"""True for the reservation of a call that was not placed, or of which nothing was heard."""

FORGET: Final = "interval '1 hour'"
"""Time for which an ended call, and a process without a lease, is still known."""

# --- processes ---------------------------------------------------------------------------------

BEAT: Final = f"""
INSERT INTO fleet_processes AS p (process_id, node, address, version, is_draining, live, capacity,
    started_at, beat_at, unbroken_since)
VALUES (%(me)s, %(node)s, %(address)s, %(version)s, %(is_draining)s, %(live)s, %(capacity)s,
    clock_timestamp(), clock_timestamp(), clock_timestamp())
ON CONFLICT (process_id) DO UPDATE SET address = excluded.address,
    is_draining = excluded.is_draining, live = excluded.live, capacity = excluded.capacity,
    beat_at = clock_timestamp(), unbroken_since = CASE WHEN p.beat_at >
        clock_timestamp() - {_UNBROKEN} THEN p.unbroken_since ELSE clock_timestamp() END
"""

CLOCK: Final = "SELECT extract(epoch FROM clock_timestamp())::double precision"

PROCESSES: Final = f"""
SELECT process_id, node, address,
    extract(epoch FROM beat_at + {_LEASE} - clock_timestamp())::double precision,
    is_draining, live, capacity
FROM fleet_processes WHERE beat_at > clock_timestamp() - {FORGET} ORDER BY node, started_at
"""

LEAVE: Final = "DELETE FROM fleet_processes WHERE process_id = %(me)s"

PURGE: Final = f"""
DELETE FROM fleet_calls c WHERE ended_at < clock_timestamp() - {FORGET} OR ({_HAS_LAPSED});
DELETE FROM fleet_processes p WHERE beat_at < clock_timestamp() - {FORGET} AND NOT EXISTS
    (SELECT FROM fleet_calls c WHERE c.process_id = p.process_id AND c.ended_at IS NULL)
"""

# --- the budget --------------------------------------------------------------------------------

BUDGET_ROW: Final = """
INSERT INTO fleet_budgets (name, taken, counted_at) VALUES (%(budget)s, 0, clock_timestamp())
ON CONFLICT (name) DO NOTHING
"""

_LOCK_BUDGET: Final = "SELECT FROM fleet_budgets WHERE name = %(budget)s FOR UPDATE"

# Locked first, counted by a statement of its own after it: a process that takes a leg meanwhile
# waits, and the count, whose snapshot is younger than the lock, has every leg taken before.
RECOUNT: Final = f"""
{_LOCK_BUDGET};
UPDATE fleet_budgets SET counted_at = clock_timestamp(), taken =
    (SELECT coalesce(sum(legs), 0) FROM fleet_calls c
     WHERE budget = %(budget)s AND ended_at IS NULL AND NOT ({_HAS_LAPSED}))
WHERE name = %(budget)s;
SELECT taken FROM fleet_budgets WHERE name = %(budget)s
"""

ADD_LEG: Final = """
WITH mine AS (SELECT call_sid, budget FROM fleet_calls WHERE call_sid = %(call_sid)s
    AND epoch = %(epoch)s AND process_id = %(me)s FOR UPDATE),
room AS (UPDATE fleet_budgets b SET taken = taken + 1 FROM mine WHERE b.name = mine.budget
    AND (%(most)s::int IS NULL OR taken < %(most)s) RETURNING 1)
UPDATE fleet_calls c SET legs = legs + 1 FROM mine, room WHERE c.call_sid = mine.call_sid
RETURNING c.legs
"""

RETURN_LEG: Final = """
WITH mine AS (UPDATE fleet_calls SET legs = legs - 1 WHERE call_sid = %(call_sid)s
    AND epoch = %(epoch)s AND process_id = %(me)s AND legs > 0 RETURNING budget)
UPDATE fleet_budgets b SET taken = greatest(taken - 1, 0) FROM mine WHERE b.name = mine.budget
"""

# --- calls -------------------------------------------------------------------------------------

FIND: Final = f"""
SELECT c.call_sid, c.process_id, coalesce(p.node, ''), coalesce(p.address, ''), c.epoch,
    coalesce(p.beat_at > clock_timestamp() - {_LEASE}, false), coalesce(p.is_draining, false),
    c.process_id = %(me)s, c.ended_at IS NOT NULL, c.nonce IS NOT NULL
FROM fleet_calls c LEFT JOIN fleet_processes p USING (process_id) WHERE c.call_sid = %(call_sid)s
"""

# `answered_epoch` is read by nobody: the nonce says whether Twilio has an answer. An older node
# writes it, so the column stays.
_NEW: Final = """(call_sid, epoch, process_id, from_process, nonce, answered_epoch, legs, budget,
    facts, began_at, changed_at)"""

# Calls begin one after the other, behind the lock of their budget: so of two processes that begin
# the same one, the second finds the first one's row.
BEGIN: Final = f"""
{_LOCK_BUDGET};
WITH room AS (UPDATE fleet_budgets SET taken = taken + %(legs)s WHERE name = %(budget)s
    AND (%(most)s::int IS NULL OR taken + %(legs)s <= %(most)s)
    AND NOT EXISTS (SELECT FROM fleet_calls WHERE call_sid = %(call_sid)s) RETURNING 1)
INSERT INTO fleet_calls {_NEW}
SELECT %(call_sid)s, 1, %(me)s, '', %(nonce)s, 0, %(legs)s, %(budget)s, %(facts)s::bytea,
    clock_timestamp(), clock_timestamp() FROM room
ON CONFLICT (call_sid) DO NOTHING RETURNING epoch;
SELECT taken FROM fleet_budgets WHERE name = %(budget)s;
{FIND}
"""

# Calls that began while the database was away. One that another process has too stays with it.
ENTER: Final = f"""
INSERT INTO fleet_calls {_NEW}
SELECT g.call_sid, g.epoch, %(me)s, '', g.nonce, 0, g.legs, %(budget)s, g.facts,
    clock_timestamp() - g.age_s * interval '1 s', clock_timestamp()
FROM unnest(%(call_sids)s::text[], %(epochs)s::int[], %(nonces)s::text[], %(legs)s::int[],
    %(facts)s::bytea[], %(ages)s::double precision[])
    AS g(call_sid, epoch, nonce, legs, facts, age_s)
ON CONFLICT (call_sid) DO NOTHING
"""

_MINE: Final = """from_process = c.process_id, process_id = %(me)s,
    changed_at = clock_timestamp()"""

_TAKEN: Final = f"epoch = c.epoch + 1, {_MINE}"

_CLAIMED: Final = """c.call_sid, c.epoch, c.facts,
    extract(epoch FROM clock_timestamp() - c.began_at)::double precision, c.nonce,
    c.from_process,
    coalesce((SELECT node FROM fleet_processes p WHERE p.process_id = c.from_process), '')"""

CLAIM: Final = f"""
UPDATE fleet_calls c SET {_TAKEN}, nonce = CASE WHEN %(nonce)s IS NULL THEN c.nonce END
WHERE call_sid = %(call_sid)s AND epoch = %(epoch)s AND ended_at IS NULL
    AND (%(nonce)s IS NULL OR nonce = %(nonce)s)
RETURNING {_CLAIMED};
SELECT l.call_sid, l.process_id, l.number, l.line
FROM fleet_lines l JOIN fleet_calls c USING (call_sid)
WHERE c.call_sid = %(call_sid)s AND c.epoch = %(epoch)s + 1 AND c.process_id = %(me)s
ORDER BY l.epoch, l.number
"""

# The CallSid of a call that this process has placed. The stream's owner may have told it
# first.
NAME: Final = f"""
UPDATE fleet_calls SET call_sid = %(call_sid)s, facts = %(facts)s::bytea
WHERE call_sid = %(reserved)s AND process_id = %(me)s AND ended_at IS NULL
    AND NOT EXISTS (SELECT FROM fleet_calls WHERE call_sid = %(call_sid)s);
{FIND}
"""

CLAIM_RESERVED: Final = f"""
UPDATE fleet_calls c SET {_TAKEN}, call_sid = %(call_sid)s, nonce = NULL
WHERE call_sid = %(reserved)s AND nonce = %(nonce)s AND ended_at IS NULL
    AND NOT EXISTS (SELECT FROM fleet_calls WHERE call_sid = %(call_sid)s)
RETURNING {_CLAIMED}
"""

# A file of a process of this machine, taken while the database was away: the journal has its epoch
# already. The row has that process still, or an earlier one of the machine that had died before.
CLAIM_LATE: Final = f"""
UPDATE fleet_calls c SET {_MINE}, epoch = greatest(c.epoch + 1, %(epoch)s), nonce = %(nonce)s
WHERE call_sid = %(call_sid)s AND ended_at IS NULL AND (process_id = %(before)s
    OR (epoch < %(epoch)s AND EXISTS (SELECT FROM fleet_processes p
        WHERE p.process_id = c.process_id AND p.node = %(node)s
        AND p.beat_at <= clock_timestamp() - {_LEASE})))
RETURNING c.epoch
"""

# Calls of processes whose lease is gone, those that were released and nobody came for, and one's
# own of which nothing is known here: a claim or a begin whose answer was lost. Survivors share them
# by SKIP LOCKED; a process that was away for a lease takes none, until it has been back for one.
REAP: Final = f"""
WITH steady AS (SELECT FROM fleet_processes WHERE process_id = %(me)s
    AND beat_at > clock_timestamp() - {_LEASE}
    AND unbroken_since <= clock_timestamp() - {_LEASE}),
found AS (SELECT c.call_sid FROM fleet_calls c LEFT JOIN fleet_processes p USING (process_id)
    WHERE c.ended_at IS NULL AND NOT {_IS_RESERVED} AND EXISTS (SELECT FROM steady) AND (
        (c.process_id <> %(me)s
            AND coalesce(p.beat_at, c.changed_at) <= clock_timestamp() - {_LEASE})
        OR (c.process_id = %(me)s AND c.call_sid <> ALL(%(held)s::text[])))
    ORDER BY c.call_sid LIMIT %(many)s FOR UPDATE OF c SKIP LOCKED)
UPDATE fleet_calls c SET {_TAKEN} FROM found WHERE c.call_sid = found.call_sid
RETURNING {_CLAIMED}
"""

LINES_OF: Final = """
SELECT call_sid, process_id, number, line FROM fleet_lines
WHERE call_sid = ANY(%(call_sids)s::text[])
ORDER BY call_sid, epoch, number
"""

_HELD: Final = "call_sid = %(call_sid)s AND epoch = %(epoch)s AND process_id = %(me)s"

SPEND: Final = f"""
UPDATE fleet_calls SET nonce = NULL WHERE {_HELD} AND nonce = %(nonce)s RETURNING epoch
"""

# The token of a further stream, and what changed while the database was away.
# The next recount of the budget has the legs.
TELL: Final = f"UPDATE fleet_calls SET nonce = %(nonce)s, legs = %(legs)s WHERE {_HELD}"

RELEASE: Final = f"""
UPDATE fleet_calls SET process_id = '', from_process = %(me)s, changed_at = clock_timestamp()
WHERE {_HELD} RETURNING epoch
"""

# The row stays for an hour without what it says of the call: a question about the call,
# at any node, is answered: it is over.
END: Final = """
WITH done AS (SELECT c.call_sid, c.budget, c.legs FROM fleet_calls c
    JOIN unnest(%(call_sids)s::text[], %(epochs)s::int[]) AS g(call_sid, epoch)
    USING (call_sid, epoch)
    WHERE c.process_id = %(me)s AND c.ended_at IS NULL ORDER BY c.call_sid FOR UPDATE OF c),
gone AS (DELETE FROM fleet_lines l USING done WHERE l.call_sid = done.call_sid),
returned AS (UPDATE fleet_budgets b SET taken = greatest(taken - o.legs, 0)
    FROM (SELECT budget, sum(legs) AS legs FROM done GROUP BY budget) o WHERE b.name = o.budget)
UPDATE fleet_calls c SET ended_at = clock_timestamp(), facts = NULL, nonce = NULL, legs = 0
FROM done WHERE c.call_sid = done.call_sid
"""

EPOCHS: Final = """
SELECT call_sid, epoch, process_id = %(me)s AND ended_at IS NULL FROM fleet_calls
WHERE call_sid = ANY(%(call_sids)s::text[])
"""

# --- lines -------------------------------------------------------------------------------------

# FOR SHARE: a claim waits for these lines, or they wait for it and find another epoch.
KEEP_LINES: Final = """
WITH held AS MATERIALIZED (SELECT c.call_sid, c.epoch FROM fleet_calls c
    JOIN unnest(%(call_sids)s::text[], %(epochs)s::int[]) AS g(call_sid, epoch)
    USING (call_sid, epoch)
    WHERE c.process_id = %(me)s AND c.ended_at IS NULL ORDER BY c.call_sid FOR SHARE OF c),
kept AS (INSERT INTO fleet_lines (call_sid, process_id, number, epoch, line)
    SELECT g.call_sid, %(me)s, g.number, held.epoch, g.line
    FROM unnest(%(of)s::text[], %(numbers)s::bigint[], %(lines)s::bytea[])
        AS g(call_sid, number, line) JOIN held USING (call_sid)
    ON CONFLICT (call_sid, process_id, number) DO NOTHING)
SELECT call_sid FROM held
"""

KEEP_FACTS: Final = """
UPDATE fleet_calls c SET facts = g.facts
FROM unnest(%(call_sids)s::text[], %(epochs)s::int[], %(facts)s::bytea[])
    AS g(call_sid, epoch, facts)
WHERE c.call_sid = g.call_sid AND c.epoch = g.epoch AND c.process_id = %(me)s
    AND c.ended_at IS NULL
"""
