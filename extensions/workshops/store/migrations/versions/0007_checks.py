"""Adds the table of people's connection checks before a workshop."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table ``checks``."""
    op.create_table(
        "checks",
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), primary_key=True),
        sa.Column("person", sa.String, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("tests", sa.Text, nullable=False),
    )
