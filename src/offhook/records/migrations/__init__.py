"""The schema's history, by Alembic. A version that was released is never changed."""
