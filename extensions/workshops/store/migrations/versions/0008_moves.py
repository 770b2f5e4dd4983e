"""Adds the table of orders of trainers to move seats of a class to another place (factory and node size)."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the table of orders to move seats."""
    op.create_table(
        "moves",
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("seats", sa.Text),
    )
