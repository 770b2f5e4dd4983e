"""Accounts that are kept until a rehearsal of a workshop is over."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column."""
    op.add_column("holds", sa.Column("rehearsal", sa.Boolean, nullable=False, server_default=sa.false()))
