"""Migration step 12: lets a job be billed for a fraction of a GPU, namely for ``gpus`` / ``gpu_parts`` GPUs."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column ``gpu_parts`` to the tables ``charges`` and ``clusters``."""
    for table in ("charges", "clusters"):
        op.add_column(table, sa.Column("gpu_parts", sa.Integer, nullable=False, server_default="1"))
