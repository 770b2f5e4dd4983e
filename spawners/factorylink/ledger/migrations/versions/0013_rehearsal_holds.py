"""Migration step 13: marks the site accounts that are held only until a rehearsal of a workshop is over."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column ``rehearsal`` to the table ``holds``."""
    op.add_column("holds", sa.Column("rehearsal", sa.Boolean, nullable=False, server_default=sa.false()))
