"""The record of a call."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "calls",
        sa.Column("sid", sa.String(64), primary_key=True),
        sa.Column("account_sid", sa.String(64), nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("direction", sa.String(16), nullable=False),
        sa.Column("came_by", sa.String(16), nullable=False),
        sa.Column("from_number", sa.Text, nullable=False),
        sa.Column("to_number", sa.Text, nullable=False),
        sa.Column("variables", sa.Text, nullable=False),
        sa.Column("journal", sa.String(32), nullable=False),
        sa.Column("line", sa.BigInteger, nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("last_ms", sa.BigInteger, nullable=False),
        sa.Column("stream_at_ms", sa.BigInteger),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("fault", sa.String(16)),
        sa.Column("slug", sa.String(64)),
        sa.Column("words", sa.Text),
        sa.Column("detail", sa.Text),
        sa.Column("delays", sa.Text),
        sa.Column("recording", sa.Text),
        sa.Column("recording_ms", sa.BigInteger),
        sa.Column("recording_fault", sa.Text),
        sa.Column("billed_status", sa.String(16)),
        sa.Column("billed_ms", sa.BigInteger),
        sa.Column("agent_ms", sa.BigInteger, nullable=False),
        sa.Column("tier", sa.String(32), nullable=False),
        sa.Column("cost_micros", sa.BigInteger),
        sa.Column("text_erased", sa.Boolean, nullable=False),
    )
    op.create_index("calls_by_time", "calls", [sa.text("started_ms DESC"), sa.text("sid DESC")])
    for name, column in (
        ("calls_by_from", "from_number"),
        ("calls_by_to", "to_number"),
        ("calls_by_agent", "agent"),
        ("calls_by_slug", "slug"),
    ):
        op.create_index(name, "calls", [column, "started_ms"])
    live = sa.text("duration_ms IS NULL")
    op.create_index("calls_live", "calls", ["journal"], sqlite_where=live, postgresql_where=live)
    _of_a_call(
        "utterances",
        sa.Column("who", sa.String(8), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("intended", sa.Text, nullable=False),
        sa.Column("start_ms", sa.BigInteger),
        sa.Column("end_ms", sa.BigInteger, nullable=False),
        sa.Column("heard_ms", sa.BigInteger),
        sa.Column("interrupted", sa.Boolean, nullable=False),
    )
    _of_a_call(
        "functions",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("called_ms", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.String(16)),
        sa.Column("content", sa.Text),
        sa.Column("after_ms", sa.BigInteger),
    )
    _of_a_call(
        "keys",
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("digit", sa.String(8), nullable=False),
    )
    _of_a_call(
        "agent_sessions",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("ready_at_ms", sa.BigInteger, nullable=False),
        sa.Column("dialled_ms", sa.BigInteger, nullable=False),
    )
    _of_a_call(
        "turns",
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("first_byte_ms", sa.BigInteger),
        sa.Column("first_played_ms", sa.BigInteger),
        sa.Column("listen_ms", sa.BigInteger),
        sa.Column("think_ms", sa.BigInteger),
        sa.Column("speak_ms", sa.BigInteger),
        sa.Column("total_ms", sa.BigInteger),
    )
    _of_a_call(
        "troubles",
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("leg", sa.String(8)),
        sa.Column("code", sa.Text),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("ms", sa.BigInteger),
    )
    op.create_table(
        "applied",
        sa.Column("journal", sa.String(32), primary_key=True),
        sa.Column("line", sa.BigInteger, nullable=False),
    )


def _of_a_call(name: str, *columns: sa.Column) -> None:  # type: ignore[type-arg]
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
    )
