"""Migration step 2: adds a column to the audit, and the table of paused factories.

The column has the id of the key with which the link logged in at the site for the recorded action.
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
