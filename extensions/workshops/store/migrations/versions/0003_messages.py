"""Adds the tables of messages to a class, and of the people whose session has taken them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables of messages and of their deliveries."""
    op.create_table(
        "messages",
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), primary_key=True),
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("texts", sa.Text, nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("workshop", sa.String, primary_key=True),
        sa.Column("message", sa.String, primary_key=True),
        sa.Column("person", sa.String, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.ForeignKeyConstraint(["workshop", "message"], ["messages.workshop", "messages.id"]),
    )
