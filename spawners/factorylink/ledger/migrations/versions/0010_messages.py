"""Migration step 10: adds codes and parameters of the log's messages, which can then be shown in any language.

Lines stored by an earlier release keep their complete English text, which is shown unchanged.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns ``code`` and ``parameters`` to the table ``log_lines``."""
    op.add_column("log_lines", sa.Column("code", sa.Text, nullable=False, server_default='""'))
    op.add_column("log_lines", sa.Column("parameters", sa.Text, nullable=False, server_default="{}"))
