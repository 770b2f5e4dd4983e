"""Adds the tables of workshops, with their places, people, codes and log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of workshops, places, memberships, join codes and log entries."""
    op.create_table(
        "workshops",
        sa.Column("slug", sa.String, primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("zone", sa.String, nullable=False),
        sa.Column("opens", sa.Float, nullable=False),
        sa.Column("starts", sa.Float, nullable=False),
        sa.Column("ends", sa.Float, nullable=False),
        sa.Column("closes", sa.Float, nullable=False),
        sa.Column("seats", sa.Integer, nullable=False),
        sa.Column("hours", sa.Float, nullable=False),
        sa.Column("gpu_hours", sa.Float),
        sa.Column("person_gpu_hours", sa.Float),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("languages", sa.Text, nullable=False),
        sa.Column("material", sa.Text),
        sa.Column("retention_days", sa.Integer, nullable=False),
        sa.Column("warm_minutes", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("made", sa.Float, nullable=False),
        sa.Column("made_by", sa.String, nullable=False),
        sa.Column("submitted", sa.Float),
        sa.Column("declined", sa.Text, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("warmed", sa.Float),
        sa.Column("closed", sa.Float),
        sa.Column("over", sa.Float),
        sa.Column("erased", sa.Float),
    )
    op.create_table(
        "places",
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("factory", sa.String, nullable=False),
        sa.Column("size", sa.String, nullable=False),
        sa.Column("environment", sa.String),
        sa.Column("pool", sa.String, nullable=False),
        sa.Column("reservation", sa.String),
    )
    op.create_table(
        "memberships",
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), primary_key=True),
        sa.Column("person", sa.String, primary_key=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("seat", sa.Integer),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("name", sa.String),
        sa.Column("mail", sa.String),
        sa.Column("terms_at", sa.Float),
        sa.Column("code", sa.Integer),
    )
    op.create_index("one_person_a_seat", "memberships", ["workshop", "seat"], unique=True)
    op.create_index("memberships_of_a_person", "memberships", ["person"])
    op.create_table(
        "codes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), nullable=False),
        sa.Column("salt", sa.String, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
        sa.Column("uses", sa.Integer),
        sa.Column("used", sa.Integer, nullable=False),
        sa.Column("expires", sa.Float),
        sa.Column("domains", sa.Text, nullable=False),
        sa.Column("made", sa.Float, nullable=False),
        sa.Column("made_by", sa.String, nullable=False),
        sa.Column("revoked", sa.Float),
    )
    op.create_index("ix_codes_workshop", "codes", ["workshop"])
    op.create_table(
        "events",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("workshop", sa.String, sa.ForeignKey("workshops.slug"), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("what", sa.String, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("ix_events_workshop", "events", ["workshop"])
