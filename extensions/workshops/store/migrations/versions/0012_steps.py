"""Adds a column for the steps, which are tagged cells in the notebooks of a workshop's material."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column ``steps`` to the table of materials."""
    op.add_column("materials", sa.Column("steps", sa.Text))
