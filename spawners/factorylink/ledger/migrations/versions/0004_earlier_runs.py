"""Migration step 4: adds use that the ledger did not count before, to clusters and to workers.

Of a cluster, this is the GPU-hours of jobs that are not in this ledger; of a worker, the hours before a requeue.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column ``earlier`` to the tables of clusters and of workers."""
    for table in ("clusters", "workers"):
        op.add_column(table, sa.Column("earlier", sa.Float, nullable=False, server_default="0"))
