"""Executed by Alembic: applies the migrations on the connection of `app.storage.schema.upgrade`."""

from alembic import context

from app.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite alters a table by copying it.
    render_as_batch=True,
    # All or nothing, on SQLite too.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
