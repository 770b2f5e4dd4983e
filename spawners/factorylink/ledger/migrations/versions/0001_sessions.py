"""Migration step 1: adds the tables of sessions, of drained factories and of the audit.

There are also tables of the lines in the sessions' logs, and of what each person has last chosen for a session.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables ``sessions``, ``log_lines``, ``choices``, ``drains`` and ``audit``, and their indices."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("user", sa.String, nullable=False),
        sa.Column("server", sa.String, nullable=False),
        sa.Column("factory", sa.String, nullable=False),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("choice", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("wish", sa.String, nullable=False),
        sa.Column("stopped_for", sa.Text),
        sa.Column("submit_begun", sa.Float),
        sa.Column("submits", sa.Integer, nullable=False),
        sa.Column("job", sa.String),
        sa.Column("node", sa.String),
        sa.Column("partition", sa.String),
        sa.Column("restarts", sa.Integer, nullable=False),
        sa.Column("started", sa.Float),
        sa.Column("ready", sa.Float),
        sa.Column("ends", sa.Float),
        sa.Column("ended", sa.Float),
        sa.Column("last_activity", sa.Float),
        sa.Column("end_reason", sa.Text),
        sa.Column("end", sa.Text),
        sa.Column("exit_code", sa.Integer),
        sa.Column("log_tail", sa.Text, nullable=False),
    )
    lives = sa.text("ended IS NULL")
    wanted = sa.text("ended IS NULL AND wish = 'run'")
    for name, columns, unique, where in (
        ("one_running_session_of_a_server", ["user", "server"], True, wanted),
        ("one_session_of_a_job", ["factory", "job"], True, lives),
        ("live_sessions", ["id"], False, lives),
        ("sessions_of_a_person", ["user", "created"], False, None),
    ):
        op.create_index(name, "sessions", columns, unique=unique, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "log_lines",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("session", sa.String, sa.ForeignKey("sessions.id"), nullable=False, index=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "choices",
        sa.Column("user", sa.String, primary_key=True),
        sa.Column("choice", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_table(
        "drains",
        sa.Column("factory", sa.String, primary_key=True),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("person", sa.String, nullable=False),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("factory", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("job", sa.String),
        sa.Column("detail", sa.Text, nullable=False),
    )
