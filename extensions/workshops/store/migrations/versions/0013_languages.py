"""Adds the languages of people, for certificates of attendance."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column ``language`` to the table of memberships."""
    op.add_column("memberships", sa.Column("language", sa.String))
