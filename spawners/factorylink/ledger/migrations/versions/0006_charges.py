"""Migration step 6: adds the use of GPU-hours by each job, and the grant of each project."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables ``charges`` and ``budgets``."""
    op.create_table(
        "charges",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("project", sa.String),
        sa.Column("factory", sa.String, nullable=False),
        sa.Column("person", sa.String, nullable=False),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("gpus", sa.Integer, nullable=False),
        sa.Column("reserved", sa.Integer, nullable=False),
        sa.Column("reserved_at", sa.Float, nullable=False),
        sa.Column("started", sa.Float),
        sa.Column("earlier", sa.Integer, nullable=False),
        sa.Column("ended", sa.Float),
        sa.Column("seconds", sa.Integer),
    )
    op.create_index("charges_of_a_project", "charges", ["project", "ended"])
    op.create_index("charges_by_end", "charges", ["ended"])
    op.create_table(
        "budgets",
        sa.Column("project", sa.String, primary_key=True),
        sa.Column("gpu_hours", sa.Float),
        sa.Column("at", sa.Float, nullable=False),
    )
