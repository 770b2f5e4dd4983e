"""Adds a column for the person who has stopped a rehearsal."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the column ``stopped`` to the table of rehearsals."""
    op.add_column("rehearsals", sa.Column("stopped", sa.String))
