"""Columns for the outcome of the lookup before a call."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("calls", sa.Column("lookup", sa.String(16)))
    op.add_column("calls", sa.Column("lookup_why", sa.Text))
    op.add_column("calls", sa.Column("lookup_ms", sa.BigInteger))
