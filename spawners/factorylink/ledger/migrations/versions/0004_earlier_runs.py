"""GPU-hours of clusters' jobs that are not in this ledger, and hours of workers before a requeue: version 4."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns."""
    for table in ("clusters", "workers"):
        op.add_column(table, sa.Column("earlier", sa.Float, nullable=False, server_default="0"))
