"""Migration step 5: adds the number of requeues of each worker, and tables of people, lent accounts and announced ends.

The table of people has what the hub says about each person. An announced end is the time at which a session or a
cluster ends because its person loses access. Some databases of version 4 have part of these tables and columns already:
the releases before the migration steps created missing parts without changing the version.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add if missing: tables ``people``, ``leases`` and ``losses``, the column ``workers.restarts``, and an index."""
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
