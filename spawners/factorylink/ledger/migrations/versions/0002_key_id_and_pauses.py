"""Changes the ledger's tables to version 2.

The audit gets the id of the key that was used for each action, and a new table has the paused factories.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column ``key_id`` to the audit, and the table of paused factories."""
    op.add_column("audit", sa.Column("key_id", sa.String, nullable=False, server_default=""))
    op.create_table(
        "pauses",
        sa.Column("factory", sa.String, primary_key=True),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
