"""The steps in the notebooks of workshops' material."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column ``steps`` to the table of materials."""
    op.add_column("materials", sa.Column("steps", sa.Text))
