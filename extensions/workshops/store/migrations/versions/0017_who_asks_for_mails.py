"""Records who requests one-time codes, so that strangers cannot use up the mails that a guest may get."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the column ``requester`` to the tables of tickets and of sent mails."""
    op.add_column("tickets", sa.Column("requester", sa.String))
    op.add_column("sent_mails", sa.Column("requester", sa.String))
