"""The script that Alembic runs for each of its commands.

The script uses the database connection that the caller of the command has put into Alembic's configuration.
"""

from alembic import context

from factorylink.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite can change a column only by creating its table again
)
with context.begin_transaction():
    context.run_migrations()
