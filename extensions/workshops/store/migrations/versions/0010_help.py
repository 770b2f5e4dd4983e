"""Adds the table of raised hands, which are people's requests for help in a class."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the table of raised hands."""
    op.create_table(
        "hands",
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), primary_key=True),
        sa.Column("person", sa.String, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("asked_by", sa.String, nullable=False),
    )
