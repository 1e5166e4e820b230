"""The ledger as rows of a SQLite file. Synchronous.

Keys are old by two measures: by the wall clock, and by the number of days on which calls were
requested since. A clock that jumps ahead and back makes one more such day, not ninety; so it makes
no key old, and no call that was requested before is placed again.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offhook.clock import MachineClocks
from offhook.outbound.errors import TryLaterError
from offhook.outbound.ledger_database import AGAIN_S, LedgerDatabase
from offhook.policy.inbound_policy import DAY_S, HOUR_S, USES_MAX, CallUse

FILE: Final = "ledger.db"
"""Name of the ledger's file in the folder of the records."""

DAY_MS: Final = 24 * 3600 * 1000

KEPT_DAYS: Final = 90
"""Days for which a key is known, by either measure: a run over a list takes days."""

SEEN_MAX: Final = 50_000
"""Admitted CallSids that are kept at least; twice as many at most."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A requested call. It holds no number.

    `key` identifies the request: a repeat of it is the same call. `id` is this attempt's, which
    Twilio returns with each report. `fingerprint` differs for another call under the same key.
    `made_ms` is the wall clock. `sid` is None until Twilio has given the call's SID.
    """

    key: str
    id: str
    fingerprint: str
    made_ms: int
    sid: str | None = None


class LedgerFile:
    """The ledger of a data folder, for one thread at a time. Other processes may have it, too.

    Each method raises TryLaterError E-OUT-23 when the file cannot be used.
    """

    def __init__(self, path: Path, clocks: MachineClocks | None = None) -> None:
        self._clocks = clocks or MachineClocks.of_this_machine()
        self._swept_at: float | None = None
        self._database = LedgerDatabase(path)
        self._read = self._database.read
        self._change = self._database.change

    def close(self) -> None:
        """Close the file; the next use opens it."""
        self._database.close()

    # --- placements ----------------------------------------------------------------------------

    def claim(self, placement: Placement) -> Placement | None:
        """Take a key. Return None if it is ours now, else the placement that has it.

        A claim survives the end of the process; `retake`, which comes before Twilio is asked, syncs
        it. Raises TryLaterError E-OUT-25 for a ledger that lacks the database's rows.
        """
        return self._change(lambda connection: _claim(connection, placement))

    def retake(self, old: Placement, new: Placement) -> bool:
        """Replace an attempt that never became a call; on return that survives a power cut.

        Return False if it has changed since.
        """

        def work(connection: sqlite3.Connection) -> bool:
            values = (new.id, new.made_ms, _day(connection, new.made_ms), _next(connection), old.id)
            changed = connection.execute(
                "UPDATE placements SET id = ?, made_ms = ?, day = ?, change = ?"
                # Of two processes that have seen the same attempt one changes a row.
                " WHERE id = ? AND sid IS NULL",
                values,
            )
            return changed.rowcount == 1

        return self._change(work, "FULL")

    def name(self, placement_id: str, sid: str) -> None:
        """Keep the CallSid of an attempt. Harmless if it has one, or there is no such attempt."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE placements SET sid = ?, change = ? WHERE id = ? AND sid IS NULL",
                (sid, _next(connection), placement_id),
            )

        self._change(work)

    def release(self, placement: Placement) -> None:
        """Free the key of an attempt that certainly became no call."""
        # A late report may have named it: then it is a call.
        unnamed = "DELETE FROM placements WHERE id = ? AND sid IS NULL"
        self._change(lambda connection: connection.execute(unnamed, (placement.id,)))

    def named(self, sids: Sequence[str]) -> frozenset[str]:
        """Return which of these calls belong to a placement."""

        def work(connection: sqlite3.Connection) -> frozenset[str]:
            one = "SELECT 1 FROM placements WHERE sid = ?"
            return frozenset(sid for sid in sids if connection.execute(one, (sid,)).fetchone())

        return self._read(work)

    # --- numbers that must not be rung ---------------------------------------------------------

    def is_barred(self, number: str) -> bool:
        """Return whether a number is never to be called."""

        def work(connection: sqlite3.Connection) -> bool:
            found = connection.execute("SELECT 1 FROM barred WHERE number = ?", (number,))
            return found.fetchone() is not None

        return self._read(work)

    def bar(self, number: str) -> None:
        """Bar a number, until the database has had it and then lost it, or `unbar`."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO barred VALUES (?, ?, 0)", (number, _next(connection))
            )

        self._change(work, "FULL")

    def unbar(self, number: str) -> bool:
        """Let a number be called again. Return False if it was not barred."""
        gone = "DELETE FROM barred WHERE number = ?"
        return self._change(lambda connection: connection.execute(gone, (number,)).rowcount > 0)

    # --- admitted calls ------------------------------------------------------------------------

    def saw(self, marks: Sequence[int]) -> None:
        """Keep the marks of admitted CallSids."""

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT INTO seen VALUES (?)", ((mark,) for mark in marks))
            last, first = connection.execute("SELECT max(rowid), min(rowid) FROM seen").fetchone()
            # Half of them at once: one with each mark would cost as much as to write it.
            if last - first >= 2 * SEEN_MAX:
                connection.execute("DELETE FROM seen WHERE rowid <= ?", (last - SEEN_MAX,))

        self._change(work)

    def recent(self) -> list[int]:
        """Return the marks of the last SEEN_MAX admitted CallSids, oldest first."""
        latest = "SELECT mark FROM seen ORDER BY rowid DESC LIMIT ?"

        def work(connection: sqlite3.Connection) -> list[int]:
            return [mark for (mark,) in connection.execute(latest, (SEEN_MAX,))][::-1]

        return self._read(work)

    # --- what calls have used ------------------------------------------------------------------

    def used(self, uses: Iterable[CallUse]) -> None:
        """Keep what calls have used by now. Their `at` is on the machine's monotonic clock."""
        clocks = self._clocks
        now, wall = clocks.monotonic(), clocks.wall()

        def work(connection: sqlite3.Connection) -> None:
            if self._swept_at is None or now >= self._swept_at + HOUR_S:
                self._sweep(connection)
                self._swept_at = now
            connection.executemany(
                "INSERT INTO used VALUES (?, ?, ?, ?, ?, ?, ?)"
                # Of two processes that had the call the one that is behind may come last.
                " ON CONFLICT (call) DO UPDATE SET ms = max(ms, excluded.ms)",
                (
                    (
                        *(use.call, use.caller, use.rate, use.ms, clocks.boot),
                        *(round(use.at * 1000), round((wall - (now - use.at)) * 1000)),
                    )
                    for use in uses
                ),
            )

        self._change(work)

    def calls_of_the_day(self, many: int = USES_MAX) -> list[CallUse]:
        """Return what the latest calls of the last day have used, oldest first; forget older calls.

        A call of the future counts as admitted now: from now on it ages like any other.
        """

        def work(connection: sqlite3.Connection) -> list[CallUse]:
            self._sweep(connection)
            latest = "SELECT * FROM used ORDER BY wall_ms DESC LIMIT ?"
            found = connection.execute(latest, (many,))
            now = self._clocks.monotonic()
            uses = [
                CallUse(call, caller, now - max(0.0, self._clocks.age_s(*stamp)), rate, ms)
                for call, caller, rate, ms, *stamp in found
            ]
            return sorted(uses, key=lambda use: use.at)

        return self._change(work)

    def _sweep(self, connection: sqlite3.Connection) -> None:
        clocks = self._clocks
        monotonic_ms, wall_ms = round(clocks.monotonic() * 1000), round(clocks.wall() * 1000)
        day_ms, boot = round(DAY_S * 1000), clocks.boot
        # Within a boot the clock that never jumps counts; before it only the wall clock is left.
        connection.execute(
            "DELETE FROM used WHERE CASE WHEN boot = ? AND boot <> ''"
            " THEN monotonic_ms <= ? ELSE wall_ms <= ? END",
            (boot, monotonic_ms - day_ms, wall_ms - day_ms),
        )
        # A time in the future is of a wall clock that was put back since: it would not age.
        connection.execute(
            "UPDATE used SET boot = ?, monotonic_ms = ?, wall_ms = ?"
            " WHERE (boot <> ? OR boot = '') AND wall_ms > ?",
            (boot, monotonic_ms, wall_ms, boot, wall_ms),
        )

    # --- exchange with the database ------------------------------------------------------------

    @property
    def is_filled(self) -> bool:
        """True if the ledger has the rows that the database had when the ledger was made."""
        return self._read(lambda connection: _meta(connection, "filled")) != 0

    def fill(self, placements: Iterable[tuple[Placement, int]], numbers: Iterable[str]) -> None:
        """Add placements, each with the number of its day, and barred numbers: once."""

        def work(connection: sqlite3.Connection) -> None:
            change = _next(connection)
            connection.executemany(
                "INSERT OR IGNORE INTO placements VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (made.key, made.id, made.fingerprint, made.made_ms, made.sid, day, 0)
                    for made, day in placements  # the database has them: change 0 is copied
                ),
            )
            connection.executemany(
                "INSERT OR IGNORE INTO barred VALUES (?, ?, 1)",
                ((number, change) for number in numbers),
            )
            connection.execute("UPDATE meta SET value = 1 WHERE name = 'filled'")

        self._change(work, "FULL")

    def uncopied(self, count: int) -> list[tuple[Placement, int, int]]:
        """Return placements that changed since the last copy: each with its day and its change."""

        def work(connection: sqlite3.Connection) -> list[tuple[Placement, int, int]]:
            changed = connection.execute(
                "SELECT key, id, fingerprint, made_ms, sid, day, change FROM placements"
                " WHERE change > ? ORDER BY change LIMIT ?",
                (_meta(connection, "copied"), count),
            )
            return [(Placement(*row[:5]), row[5], row[6]) for row in changed]

        return self._read(work)

    def copied(self, until: int) -> None:
        """Take note that the database has the placements up to a change."""
        noted = "UPDATE meta SET value = ? WHERE name = 'copied'"
        self._change(lambda connection: connection.execute(noted, (until,)))

    def last_change(self) -> int:
        """Return the number of the last change: what is barred later has a higher one."""
        return self._read(lambda connection: _meta(connection, "change"))

    def barred(self) -> dict[str, bool]:
        """Return every barred number, and whether the database was seen to have it."""

        def work(connection: sqlite3.Connection) -> dict[str, bool]:
            found = connection.execute("SELECT number, is_confirmed FROM barred")
            return {number: bool(is_confirmed) for number, is_confirmed in found}

        return self._read(work)

    def follow(self, added: Sequence[str], gone: Sequence[str], until: int) -> None:
        """Take over numbers that the database has, and those that it has no more.

        A number that was barred after the change `until`, or that the database never had, stays.
        """

        def work(connection: sqlite3.Connection) -> None:
            change = _next(connection)
            connection.executemany(
                "INSERT INTO barred VALUES (?, ?, 1) ON CONFLICT (number)"
                " DO UPDATE SET is_confirmed = 1 WHERE change <= ?",
                ((number, change, until) for number in added),
            )
            connection.executemany(
                "DELETE FROM barred WHERE number = ? AND is_confirmed AND change <= ?",
                ((number, until) for number in gone),
            )

        self._change(work)


def _claim(connection: sqlite3.Connection, placement: Placement) -> Placement | None:
    if not _meta(connection, "filled"):
        raise TryLaterError(
            "E-OUT-25",
            "The ledger of calls is new, and the database's keys and barred numbers are not in it.",
            "Ask again in a moment; /readyz says how the records are.",
            AGAIN_S,
        )
    day = _day(connection, placement.made_ms)
    if connection.execute("SELECT 1 FROM placements WHERE day = ?", (day,)).fetchone() is None:
        connection.execute(  # the first claim of a day
            # Old by both measures: one alone may be a clock that has jumped.
            "DELETE FROM placements WHERE made_ms < ? AND day <= ?",
            (placement.made_ms - KEPT_DAYS * DAY_MS, day - KEPT_DAYS),
        )
    of_key = "SELECT key, id, fingerprint, made_ms, sid FROM placements WHERE key = ?"
    found = connection.execute(of_key, (placement.key,)).fetchone()
    if found is not None:
        return Placement(*found)
    connection.execute(
        "INSERT INTO placements VALUES (?, ?, ?, ?, NULL, ?, ?)",
        (
            *(placement.key, placement.id, placement.fingerprint, placement.made_ms),
            *(day, _next(connection)),
        ),
    )
    return None


def _day(connection: sqlite3.Connection, made_ms: int) -> int:
    """Return the number of a time's day: the last day's number, or the next if the date differs."""
    latest = "SELECT day, made_ms FROM placements ORDER BY day DESC LIMIT 1"
    found = connection.execute(latest).fetchone()
    if found is None:
        return 1
    day: int = found[0]
    return day if found[1] // DAY_MS == made_ms // DAY_MS else day + 1


def _meta(connection: sqlite3.Connection, name: str) -> int:
    found = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    value: int = found[0]
    return value


def _next(connection: sqlite3.Connection) -> int:
    """Return the number of the next change."""
    advanced = "UPDATE meta SET value = value + 1 WHERE name = 'change' RETURNING value"
    value: int = connection.execute(advanced).fetchone()[0]
    return value
