"""When the jobs of sessions and batches were submitted, by the scheduler's clock."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns."""
    for table in ("sessions", "batches"):
        op.add_column(table, sa.Column("submitted", sa.Float))
