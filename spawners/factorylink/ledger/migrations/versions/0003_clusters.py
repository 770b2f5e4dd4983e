"""Migration step 3: adds the tables of clusters, of their batches and of their workers."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables ``clusters``, ``batches`` and ``workers``, and their indices."""
    op.create_table(
        "clusters",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("user", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("factory", sa.String, nullable=False),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("choice", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("processes", sa.Integer, nullable=False),
        sa.Column("gpus", sa.Integer, nullable=False),
        sa.Column("cap_gpu_hours", sa.Float),
        sa.Column("session", sa.String),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("wish", sa.String, nullable=False),
        sa.Column("ended", sa.Float),
        sa.Column("end", sa.Text),
    )
    lives = sa.text("ended IS NULL")
    op.create_index("live_clusters", "clusters", ["id"], sqlite_where=lives, postgresql_where=lives)
    op.create_table(
        "batches",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("cluster", sa.String, sa.ForeignKey("clusters.id"), nullable=False, index=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("hours", sa.Float, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("submit_begun", sa.Float),
        sa.Column("submits", sa.Integer, nullable=False),
        sa.Column("job", sa.String),
    )
    op.create_table(
        "workers",
        sa.Column("batch", sa.String, sa.ForeignKey("batches.id"), primary_key=True),
        sa.Column("task", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("wish", sa.String, nullable=False),
        sa.Column("node", sa.String),
        sa.Column("started", sa.Float),
        sa.Column("ends", sa.Float),
        sa.Column("ended", sa.Float),
        sa.Column("end_reason", sa.Text),
        sa.Column("end", sa.Text),
        sa.Column("log_tail", sa.Text, nullable=False),
    )
