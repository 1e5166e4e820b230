"""Alembic's entry point. `records.database` gives the connection; there is no offline mode."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
