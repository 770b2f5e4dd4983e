"""Migration step 11: adds a column to the table of sessions, and the table of site accounts held for workshops.

The column has the time at which a workshop's session ends if nobody has opened the session by then.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the column ``unopened_until`` to the table ``sessions``, and the table ``holds``."""
    op.add_column("sessions", sa.Column("unopened_until", sa.Float))
    op.create_table(
        "holds",
        sa.Column("factory", sa.String, primary_key=True),
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("project", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
