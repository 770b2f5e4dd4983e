"""Sessions that are begun for a workshop, and accounts that are held for one."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the column and the table."""
    op.add_column("sessions", sa.Column("unopened_until", sa.Float))
    op.create_table(
        "holds",
        sa.Column("factory", sa.String, primary_key=True),
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("project", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
