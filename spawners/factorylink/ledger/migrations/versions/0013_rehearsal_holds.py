"""Migration step 13: adds a column that marks site accounts held only until a rehearsal of a workshop is over.

No account is marked at first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column ``rehearsal`` to the table ``holds``."""
    op.add_column("holds", sa.Column("rehearsal", sa.Boolean, nullable=False, server_default=sa.false()))
