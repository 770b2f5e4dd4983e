"""Adds the table of rehearsals of workshops."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the table of rehearsals."""
    op.create_table(
        "rehearsals",
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), primary_key=True),
        sa.Column("factory", sa.String, primary_key=True),
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("until", sa.Float),
        sa.Column("seats", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("signature", sa.String),
    )
