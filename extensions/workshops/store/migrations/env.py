"""The script that Alembic runs for each of its commands; it uses the caller's connection."""

from alembic import context

from workshops.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite can change a column only by creating its table again
)
with context.begin_transaction():
    context.run_migrations()
