"""One table of events instead of a table for each kind of row; counts as columns of `calls`.

Each old row becomes the event that made it, as JSON of the event's type. Outcomes of functions were
columns, without a line of their own: they get the negative of their function's line, which no
journal gives.
"""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_GONE: Final = ("functions", "keys", "messages", "dials", "agent_sessions", "turns", "troubles")


def upgrade() -> None:
    """Make the tables, carry every row over, and drop what is empty of meaning then."""
    _add_columns()
    _rename_utterances()
    op.execute(_counted())
    _create("events", *_EVENT_COLUMNS)
    op.execute(
        "INSERT INTO events (call_sid, line, at_ms, wall_ms, kind, body)"
        f" {_Sql().events()} ORDER BY call_sid, line"
    )
    _create("utterances", sa.Column("who", sa.String(8), nullable=False), _text("text"))
    op.execute(
        "INSERT INTO utterances (call_sid, line, who, text)"
        " SELECT call_sid, line, who, text FROM utterances_0007 ORDER BY call_sid, line"
    )
    for table in ("utterances_0007", *_GONE):
        op.drop_table(table)
    op.drop_index("calls_live", "calls")
    for column in ("line", "last_ms"):
        op.drop_column("calls", column)
    live = sa.text("duration_ms IS NULL")
    op.create_index("calls_live", "calls", ["process"], sqlite_where=live, postgresql_where=live)
    op.alter_column("applied", "journal", new_column_name="process")


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text, nullable=False)


_EVENT_COLUMNS: Final = (
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("wall_ms", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    _text("body"),
)


def _create(name: str, *columns: sa.Column) -> None:  # type: ignore[type-arg]
    op.create_table(
        name,
        sa.Column(
            "call_sid",
            sa.String(64),
            sa.ForeignKey("calls.sid", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("line", sa.BigInteger, primary_key=True, autoincrement=False),
        *columns,
        sqlite_with_rowid=False,
    )


def _add_columns() -> None:
    process = sa.Column("process", sa.String(32), nullable=False, server_default="")
    op.add_column("calls", process)
    for name in ("turns", "interruptions", "functions", "troubles"):
        op.add_column("calls", sa.Column(name, sa.Integer, nullable=False, server_default="0"))


def _rename_utterances() -> None:
    op.rename_table("utterances", "utterances_0007")
    if op.get_bind().dialect.name == "postgresql":
        for name in ("pkey", "call_sid_fkey"):
            op.execute(
                "ALTER TABLE utterances_0007 RENAME CONSTRAINT"
                f" utterances_{name} TO utterances_0007_{name}"
            )


def _counted() -> str:
    def count(table: str, which: str) -> str:
        return f"(SELECT count(*) FROM {table} WHERE call_sid = calls.sid AND {which})"

    counts = {
        "turns": count("utterances_0007", "who = 'caller'"),
        "interruptions": count("utterances_0007", "interrupted"),
        "functions": count("functions", "TRUE"),
        "troubles": count("troubles", "NOT (kind = 'AudioDropped' AND words = 'late')"),
    }
    changes = ", ".join(f"{name} = {value}" for name, value in counts.items())
    return f"UPDATE calls SET process = journal, {changes}"


class _Sql:
    """SQL that makes events of rows, in the dialect of the database."""

    def __init__(self) -> None:
        self._sqlite = op.get_bind().dialect.name == "sqlite"

    def events(self) -> str:
        """Return the SELECT of all events: call_sid, line, at_ms, wall_ms, kind, body."""
        return " UNION ALL ".join((*self._said(), *self._functions(), *self._others()))

    def _said(self) -> tuple[str, ...]:
        heard = {"text": "r.text", "start_ms": "r.start_ms"}
        meant = {
            "intended": "r.intended",
            "heard_ms": "coalesce(r.heard_ms, 0)",
            "interrupted": self._bool("r.interrupted"),
        }
        return (
            self._rows("utterances_0007", "r.end_ms", "CallerSaid", heard, "r.who = 'caller'"),
            self._rows(
                "utterances_0007", "r.end_ms", "AgentSaid", heard | meant, "r.who <> 'caller'"
            ),
        )

    def _functions(self) -> tuple[str, ...]:
        named = {"id": "r.id", "name": "r.name"}
        told = {"content": "coalesce(r.content, '')", "after_ms": "coalesce(r.after_ms, 0)"}
        late = "CASE r.outcome WHEN 'done_late' THEN 'answered' ELSE 'failed' END"
        dropped, finished = "'cancelled', 'call_over'", "'done_late', 'failed_late'"
        ended_ms = "r.called_ms + coalesce(r.after_ms, 0)"
        outcomes = (
            ("FunctionDropped", {"why": "r.outcome"}, f"r.outcome IN ({dropped})"),
            ("FunctionFinishedLate", {"outcome": late} | told, f"r.outcome IN ({finished})"),
            (
                "FunctionAnswered",
                {"outcome": "r.outcome"} | told,
                f"r.outcome NOT IN ({dropped}, {finished})",
            ),
        )
        return (
            self._rows(
                "functions", "r.called_ms", "FunctionCalled", named | {"arguments": "r.arguments"}
            ),
            *(
                self._rows("functions", ended_ms, kind, named | fields, which, line="-r.line")
                for kind, fields, which in outcomes
            ),
        )

    def _others(self) -> tuple[str, ...]:
        at = "r.at_ms"
        measured = ("listen_ms", "think_ms", "speak_ms", "total_ms")
        ours = {"first_byte_ms": "r.first_byte_ms", "first_played_ms": "r.first_played_ms"}
        left = {name: f"r.{name}" for name in ("from_name", "number", "text")}
        began = {name: f"c.{name}" for name in ("account_sid", "agent", "tier", "direction")}
        began |= {"by": "c.came_by", "from_": "c.from_number", "to": "c.to_number"}
        dialled = {
            "kind": "r.kind",
            "destination": "r.destination",
            "to": "CASE WHEN c.text_erased THEN '' ELSE r.to_number END",
        }
        at_dial = "CASE WHEN r.wall_ms > c.started_ms THEN r.wall_ms - c.started_ms ELSE 0 END"
        return (
            self._select(
                "calls c",
                ("c.sid", "c.line", "0", "c.started_ms"),
                "CallBegan",
                self._object(began | {"variables": "c.variables"}),
            ),
            self._rows("keys", at, "KeyPressed", {"digit": "r.digit"}),
            self._rows("messages", at, "MessageTaken", left),
            self._rows("dials", at_dial, "Dialled", dialled, wall="r.wall_ms"),
            self._rows(
                "agent_sessions",
                "r.ready_at_ms",
                "AgentConnected",
                {"request_id": "r.request_id", "after_ms": "r.dialled_ms"},
            ),
            self._rows("turns", at, "Answered", ours, "r.first_byte_ms IS NOT NULL"),
            self._rows(
                "turns",
                at,
                "LatencyReported",
                {name: f"r.{name}" for name in measured},
                "r.first_byte_ms IS NULL",
            ),
            *self._troubles(),
        )

    def _troubles(self) -> tuple[str, ...]:
        find = "instr" if self._sqlite else "strpos"
        place = f"{find}(r.words, ' at ')"
        cut = f"{place} > 0"
        fields = {
            "TransferFailed": {"destination": "r.words", "why": "r.code"},
            "DialRefused": {"kind": "r.code", "why": "r.words", "to": "''"},
            "AgentWarned": {
                "code": "r.code",
                "description": "r.words",
                "fatal": self._bool("1 = 0"),
            },
            "ProtocolViolation": {"leg": "r.leg", "what": "r.words"},
            "AudioDropped": {"leg": "r.leg", "ms": "r.ms", "why": "r.words"},
            "InterpreterHeld": {
                "tool": f"CASE WHEN {cut} THEN substr(r.words, 1, {place} - 1) ELSE '' END",
                "where": f"CASE WHEN {cut} THEN substr(r.words, {place} + 4) ELSE r.words END",
                "held_ms": "r.ms",
            },
            "StreamTrouble": {"code": "r.code", "words": "r.words"},
        }
        former = {"ProtocolViolation": "'ProtocolViolation', 'Fault'"}
        return tuple(
            self._rows(
                "troubles", "r.at_ms", kind, of_kind, f"r.kind IN ({former.get(kind, repr(kind))})"
            )
            for kind, of_kind in fields.items()
        )

    def _rows(
        self,
        table: str,
        at_ms: str,
        kind: str,
        fields: dict[str, str],
        which: str = "",
        *,
        line: str = "r.line",
        wall: str = "",
    ) -> str:
        return self._select(
            f"{table} r JOIN calls c ON c.sid = r.call_sid" + (f" WHERE {which}" if which else ""),
            ("r.call_sid", line, at_ms, wall or f"c.started_ms + {at_ms}"),
            kind,
            self._object(fields),
        )

    def _select(self, source: str, columns: tuple[str, str, str, str], kind: str, body: str) -> str:
        names = ("call_sid", "line", "at_ms", "wall_ms")
        named = ", ".join(
            f"{column} AS {name}" for column, name in zip(columns, names, strict=True)
        )
        return f"SELECT {named}, '{kind}' AS kind, {body} AS body FROM {source}"

    def _object(self, fields: dict[str, str]) -> str:
        pairs = ", ".join(f"'{name}', {value}" for name, value in fields.items())
        return f"json_object({pairs})" if self._sqlite else f"json_build_object({pairs})::text"

    def _bool(self, condition: str) -> str:
        if self._sqlite:
            return f"json(CASE WHEN {condition} THEN 'true' ELSE 'false' END)"
        return f"({condition})"
