"""Alembic's entrance. The connection comes from `records.database`; there is no offline mode."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
