"""Adds the tables of seats that the service begins before a class, of halts, and of how fast seats came up."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables ``seats``, ``warm_ups`` and ``rates``.

    Also add the column ``seat_on_join`` to the table of workshops.
    """
    op.add_column("workshops", sa.Column("seat_on_join", sa.Boolean, nullable=False, server_default=sa.true()))
    op.create_table(
        "seats",
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), primary_key=True),
        sa.Column("person", sa.String, primary_key=True),
        sa.Column("factory", sa.String, nullable=False),
        sa.Column("size", sa.String, nullable=False),
        sa.Column("session", sa.String, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("wave", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("asked", sa.Float, nullable=False),
        sa.Column("ran", sa.Float),
        sa.Column("why", sa.Text),
    )
    op.create_table(
        "warm_ups",
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), primary_key=True),
        sa.Column("halted", sa.Float),
        sa.Column("wave", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("of", sa.Integer, nullable=False),
        sa.Column("why", sa.Text),
        sa.Column("go_on", sa.Float),
    )
    op.create_table(
        "rates",
        sa.Column("factory", sa.String, primary_key=True),
        sa.Column("size", sa.String, primary_key=True),
        sa.Column("per_minute", sa.Float, nullable=False),
        sa.Column("cold_seconds", sa.Float, nullable=False),
        sa.Column("seats", sa.Integer, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
