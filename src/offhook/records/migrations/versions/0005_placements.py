"""Table of the calls that were requested."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "placements",
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("made_ms", sa.BigInteger, nullable=False),
        sa.Column("sid", sa.String(64)),
    )
    op.create_index("placements_by_time", "placements", ["made_ms"])
    op.create_index("placements_by_sid", "placements", ["sid"])
