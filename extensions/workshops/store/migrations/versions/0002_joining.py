"""Adds the tables of guests, invitations, tickets of people who join, and mails that were sent."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of guests, invitations, tickets and sent mails."""
    op.create_table(
        "guests",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("mail", sa.String, nullable=False, unique=True),
        sa.Column("shown", sa.Text, nullable=False),
        sa.Column("made", sa.Float, nullable=False),
    )
    op.create_table(
        "invitations",
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), primary_key=True),
        sa.Column("mail", sa.String, primary_key=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("shown", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", sa.String, nullable=False),
    )
    op.create_table(
        "tickets",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), index=True),
        sa.Column("code", sa.Integer),
        sa.Column("made", sa.Float, nullable=False),
        sa.Column("mail", sa.String, index=True),
        sa.Column("typed", sa.String),
        sa.Column("digits", sa.String),
        sa.Column("sent", sa.Float),
        sa.Column("wrong", sa.Integer, nullable=False),
    )
    op.create_table(
        "sent_mails",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("address", sa.String, nullable=False),
        sa.Column("workshop", sa.String),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_index("sent_to_an_address", "sent_mails", ["address", "at"])
