"""After-call webhooks that are to be delivered, and files that are to be deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "jobs",
        sa.Column(
            "call_sid",
            sa.String(64),
            sa.ForeignKey("calls.sid", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("made_ms", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_ms", sa.BigInteger),
        sa.Column("last_error", sa.Text),
        sa.Column("done_ms", sa.BigInteger),
    )
    due = sa.text("due_ms IS NOT NULL")
    op.create_index("jobs_due", "jobs", ["due_ms"], sqlite_where=due, postgresql_where=due)
    op.create_table("unwanted_files", sa.Column("name", sa.Text, primary_key=True))
