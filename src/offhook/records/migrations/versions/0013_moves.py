"""Calls that move between processes: who has had them, and on which node they are."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Make the tables, and add the column."""
    op.create_table(
        "ownerships",
        sa.Column(
            "call_sid",
            sa.String(64),
            sa.ForeignKey("calls.sid", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("process", sa.String(32), nullable=False),
        sa.Column("line", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table("erased_calls", sa.Column("sid", sa.String(64), primary_key=True))
    op.add_column("calls", sa.Column("node", sa.String(63), nullable=False, server_default=""))
