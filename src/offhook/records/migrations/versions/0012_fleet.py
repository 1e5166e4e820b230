"""Tables of nodes that share calls: processes, calls, their live lines and the budget.

Only call processes with `fleet:` use them, and only on PostgreSQL; SQLite has them empty, so that
both have one schema.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Make the tables."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "fleet_processes",
        sa.Column("process_id", sa.String(64), primary_key=True),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("is_draining", sa.Boolean, nullable=False),
        sa.Column("live", sa.Integer, nullable=False),
        sa.Column("capacity", sa.Integer, nullable=False),
        sa.Column("started_at", moment, nullable=False),
        sa.Column("beat_at", moment, nullable=False),
        sa.Column("unbroken_since", moment, nullable=False),
    )
    op.create_table(
        "fleet_calls",
        sa.Column("call_sid", sa.String(64), primary_key=True),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("process_id", sa.String(64), nullable=False),
        sa.Column("from_process", sa.String(64), nullable=False),
        sa.Column("nonce", sa.String(64)),
        sa.Column("answered_epoch", sa.Integer, nullable=False),
        sa.Column("legs", sa.Integer, nullable=False),
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("facts", sa.LargeBinary),
        sa.Column("began_at", moment, nullable=False),
        sa.Column("changed_at", moment, nullable=False),
        sa.Column("ended_at", moment),
    )
    op.create_index("fleet_calls_by_process", "fleet_calls", ["process_id"])
    op.create_index("fleet_calls_by_end", "fleet_calls", ["ended_at"])
    op.create_table(
        "fleet_lines",
        sa.Column("call_sid", sa.String(64), primary_key=True),
        sa.Column("process_id", sa.String(64), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("line", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "fleet_budgets",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("taken", sa.Integer, nullable=False),
        sa.Column("counted_at", moment, nullable=False),
    )
