"""Measures of calls in a table of their own, made of the events of the calls that have ended."""

from typing import Final

import sqlalchemy as sa
from alembic import op

from offhook.records.measures import measure_rows

revision = "0011"
down_revision = "0010"

BATCH_CALLS: Final = 500


def upgrade() -> None:
    """Make the table, and measure every call that has ended."""
    op.create_table(
        "measures",
        sa.Column(
            "call_sid",
            sa.String(64),
            sa.ForeignKey("calls.sid", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("latencies", sa.Text, nullable=False),
        sa.Column("stream_ms", sa.BigInteger, nullable=False),
        sa.Column("spoken_ms", sa.BigInteger, nullable=False),
        sa.Column("heard_chars", sa.Integer, nullable=False),
        sa.Column("intended_chars", sa.Integer, nullable=False),
        sa.Column("barge_ins", sa.Integer, nullable=False),
        sa.Column("false_barge_ins", sa.Integer, nullable=False),
        sa.Column("suppressed", sa.Integer, nullable=False),
        sa.Column("refused", sa.Integer, nullable=False),
    )
    op.create_index("measures_by_time", "measures", ["started_ms"])
    op.create_index("measures_by_agent", "measures", ["agent", "started_ms"])
    _fill(op.get_bind())


def _fill(connection: sa.Connection) -> None:
    """Measure the calls, in batches.

    By the code of now and not of then: measures are made of the events alone, so a later migration
    that changes how they are made makes all of them anew.
    """
    measures = sa.Table("measures", sa.MetaData(), autoload_with=connection)
    ended = sa.text(
        "SELECT sid FROM calls WHERE sid > :after AND duration_ms IS NOT NULL ORDER BY sid"
        f" LIMIT {BATCH_CALLS}"
    )
    after = ""
    while sids := list(connection.scalars(ended, {"after": after})):
        rows = measure_rows(connection, sids)
        names = measures.c.keys()
        connection.execute(
            sa.insert(measures), [{name: row[name] for name in names} for row in rows]
        )
        after = sids[-1]
