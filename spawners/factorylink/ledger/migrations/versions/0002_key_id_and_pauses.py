"""The key that was used for each action in the audit, and paused factories: version 2."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("audit", sa.Column("key_id", sa.String, nullable=False, server_default=""))
    op.create_table(
        "pauses",
        sa.Column("factory", sa.String, primary_key=True),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
