"""Adds reports, which stay when the data about people are deleted, and the attendance that a certificate requires."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table ``reports``, and add the column ``certificate_percent`` to the table of workshops."""
    op.add_column("workshops", sa.Column("certificate_percent", sa.Integer, nullable=False, server_default="75"))
    op.create_table(
        "reports",
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
