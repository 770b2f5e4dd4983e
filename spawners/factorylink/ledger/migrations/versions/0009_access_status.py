"""Migration step 9: adds access status and job options of people, the hub's rules, and counts of sessions' extensions.

The access status says whether the person may start sessions and clusters. People stored by an earlier release have no
access status. They can start nothing until the hub sends their access status (at their next request to the hub), or
sends rules that require none.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add columns to the tables of people and of sessions, and make the table ``hub_rules``."""
    op.add_column("people", sa.Column("access", sa.Text))
    op.add_column("people", sa.Column("options", sa.Text))
    op.add_column("sessions", sa.Column("extensions", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "hub_rules",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("told", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
