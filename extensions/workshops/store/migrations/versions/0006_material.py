"""Adds the tables of workshops' material, and of its last delivery into each session."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables ``materials`` and ``material_deliveries``."""
    op.create_table(
        "materials",
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), primary_key=True),
        sa.Column("repository", sa.String, nullable=False),
        sa.Column("commit_id", sa.String, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("digest", sa.String),
        sa.Column("files", sa.Integer, nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("refused", sa.Text, nullable=False),
    )
    op.create_table(
        "material_deliveries",
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), primary_key=True),
        sa.Column("person", sa.String, primary_key=True),
        sa.Column("session", sa.String, primary_key=True),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("commit_id", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("report", sa.Text),
        sa.Column("problem", sa.Text, nullable=False),
    )
