"""Adds the table of acts of trainers on single seats: start, restart, reset."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the table of the trainers' acts on single seats (start, restart, reset)."""
    op.create_table(
        "seat_acts",
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), primary_key=True),
        sa.Column("person", sa.String, primary_key=True),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("ends", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("moved", sa.Float, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("why", sa.Text),
    )
