"""Data by which an ended session of a person counts as the person's seat."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("seats", sa.Column("since", sa.Float))
    op.add_column("seats", sa.Column("over", sa.String))
