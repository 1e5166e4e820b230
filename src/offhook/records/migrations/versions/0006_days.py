"""Column for the day of a placement, counted in days on which calls were requested."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column."""
    day = sa.Column("day", sa.Integer, nullable=False, server_default="0")
    op.add_column("placements", day)
    op.create_index("placements_by_day", "placements", ["day"])
