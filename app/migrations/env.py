"""Alembic's entry point: runs the migrations on the connection that it is handed.

The caller holds the lock and the transaction, so that a migration is whole or not there.
"""

from alembic import context

from app.db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
    render_as_batch=True,
)
context.run_migrations()
