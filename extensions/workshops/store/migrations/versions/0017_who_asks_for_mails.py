"""Who has requested one-time codes, so that strangers do not use up a guest's mails."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("tickets", sa.Column("requester", sa.String))
    op.add_column("sent_mails", sa.Column("requester", sa.String))
