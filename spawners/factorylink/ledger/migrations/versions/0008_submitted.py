"""Migration step 8: adds the time at which the job of a session or batch was submitted, by the scheduler's clock."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column ``submitted`` to the tables of sessions and of batches of cluster jobs."""
    for table in ("sessions", "batches"):
        op.add_column(table, sa.Column("submitted", sa.Float))
