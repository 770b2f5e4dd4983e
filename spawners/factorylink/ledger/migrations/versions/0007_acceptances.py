"""Migration step 7: adds the table of the versions of sites' rules that each person has accepted, with the time."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table ``acceptances``."""
    op.create_table(
        "acceptances",
        sa.Column("user", sa.String, primary_key=True),
        sa.Column("factory", sa.String, primary_key=True),
        sa.Column("version", sa.String, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
    )
