"""The result of the rehearsal before, which counts while a rehearsal goes on, and after it was stopped."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("rehearsals", sa.Column("counts", sa.Text))
    op.add_column("rehearsals", sa.Column("counts_signature", sa.String))
