"""Migration step 8: adds when the jobs of sessions and batches were submitted, by the scheduler's clock."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column ``submitted`` to the tables of sessions and of batches of cluster jobs."""
    for table in ("sessions", "batches"):
        op.add_column(table, sa.Column("submitted", sa.Float))
