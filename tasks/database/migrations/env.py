"""Run by Alembic: applies migrations on the connection, and in the transaction, that it was given."""

from alembic import context

from tasks.database.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
