"""Adds two values for each seat: ``since`` and ``over``.

``since``: since when a session of the seat's person, even an ended one, counts as the seat; ``over``: the last ended
session.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the columns ``since`` and ``over`` to the table of seats."""
    op.add_column("seats", sa.Column("since", sa.Float))
    op.add_column("seats", sa.Column("over", sa.String))
