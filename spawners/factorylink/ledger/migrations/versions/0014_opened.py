"""Migration step 14: adds the time at which somebody first opened a session.

A workshop's report counts the person as present from this time on. Sessions of an earlier release count as opened when
they were ready, unless they ended because nobody opened them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the column ``opened`` to the table ``sessions``, and fill it with the time when each session was ready.

    The column stays empty for sessions that ended because nobody opened them.
    """
    op.add_column("sessions", sa.Column("opened", sa.Float))
    op.execute("""UPDATE sessions SET opened = ready WHERE end_reason IS NULL OR end_reason <> '"unopened"'""")
