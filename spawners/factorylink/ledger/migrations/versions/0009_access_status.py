"""Whether the hub's rules let people start anything, the hub's options for their jobs, and counts of extensions.

People stored by an earlier release have no access status. They can start nothing until the hub sends one, at their next
request to the hub.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("people", sa.Column("access", sa.Text))
    op.add_column("people", sa.Column("options", sa.Text))
    op.add_column("sessions", sa.Column("extensions", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "hub_rules",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("told", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
