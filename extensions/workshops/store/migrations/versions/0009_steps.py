"""The steps in the notebooks of workshops' material."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column."""
    op.add_column("materials", sa.Column("steps", sa.Text))
