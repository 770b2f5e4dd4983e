"""Adds the result of the previous rehearsal, which counts while a new rehearsal goes on, and if that is stopped."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the columns ``counts`` and ``counts_signature`` to the table of rehearsals."""
    op.add_column("rehearsals", sa.Column("counts", sa.Text))
    op.add_column("rehearsals", sa.Column("counts_signature", sa.String))
