"""The script that Alembic runs for each of its commands; it uses the caller's connection."""

from alembic import context

from factorylink.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a column by making its table anew
)
with context.begin_transaction():
    context.run_migrations()
