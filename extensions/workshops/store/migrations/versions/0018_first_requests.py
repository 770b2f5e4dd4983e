"""Records when each seat was first requested at its place."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add the column ``first_asked`` to the table of seats; null: not known."""
    op.add_column("seats", sa.Column("first_asked", sa.Float))
