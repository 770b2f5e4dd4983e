"""Migration step 5: adds requeues of workers, people as the hub describes them, lent accounts, and announced ends.

The ends are those of sessions and clusters whose person loses access. Some databases have part of these tables and
columns: before there were migration steps, releases with version 4 created missing parts in place.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add those tables, columns and indices of this version that are missing."""
    if "restarts" not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("workers")}:
        op.add_column("workers", sa.Column("restarts", sa.Integer, nullable=False, server_default="0"))
    op.create_index("ended_clusters", "clusters", ["user", "ended"], if_not_exists=True)
    op.create_table(
        "people",
        sa.Column("user", sa.String, primary_key=True),
        sa.Column("groups", sa.Text, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "leases",
        sa.Column("factory", sa.String, primary_key=True),
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("user", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "losses",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("ends", sa.Float, nullable=False),
        if_not_exists=True,
    )
