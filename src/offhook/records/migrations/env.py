"""Alembic's entry point. `records.database` gives the connection; there is no offline mode."""

from alembic import context

given = context.config.attributes
context.configure(
    connection=given["connection"],
    on_version_apply=lambda **_: given["applied"](),
)
with context.begin_transaction():
    context.run_migrations()
