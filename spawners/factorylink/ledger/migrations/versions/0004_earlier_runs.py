"""Migration step 4: adds the column ``earlier`` to the tables of clusters and of workers; it is 0 in existing rows.

For a cluster, it holds the GPU-hours that the cluster used before the link lost its ledger; for a worker, the hours of
its job's runs before a requeue.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column ``earlier`` to the tables of clusters and of workers."""
    for table in ("clusters", "workers"):
        op.add_column(table, sa.Column("earlier", sa.Float, nullable=False, server_default="0"))
