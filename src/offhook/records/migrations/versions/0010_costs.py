"""Columns for what each meter of a call comes to."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns. Calls from before have the sum alone: their prices are not known."""
    for meter in ("twilio", "stream", "deepgram"):
        op.add_column("calls", sa.Column(f"{meter}_micros", sa.BigInteger))
