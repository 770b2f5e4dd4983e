"""The ledger's tables, except those of clusters, and the class for a row of the sessions' table.

Times are stored as seconds since 1970. The steps in ``migrations`` change a database of an older release until it has
all tables of this release, including those of clusters (``cluster_tables``); a test checks this.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    column,
    false,
    literal_column,
)

from factorycommon.models import (
    HEAD,
    AccessStatus,
    Choice,
    EndReason,
    Group,
    HubRules,
    JobId,
    JobOptions,
    LogLine,
    Parameters,
    ResolvedChoice,
    SessionId,
    SessionState,
    Words,
)
from factorycommon.models.messages import Code
from factorycommon.service.columns import MomentColumn, ParsedColumn


def only(where: ColumnElement[bool]) -> dict[str, Any]:
    """Return the keyword arguments for an index over the rows that ``where`` selects, for SQLite and PostgreSQL."""
    return {"sqlite_where": where, "postgresql_where": where}


metadata = MetaData()
_LIVES = column("ended").is_(None)
_WANTED = column("wish") == literal_column("'run'")

sessions = Table(
    "sessions",
    metadata,
    Column("id", String, primary_key=True),
    Column("user", String, nullable=False),
    Column("server", String, nullable=False),
    Column("factory", String, nullable=False),
    Column("account", String, nullable=False),
    Column("choice", ParsedColumn(ResolvedChoice), nullable=False),
    Column("options", ParsedColumn(JobOptions), nullable=False),
    Column("port", Integer, nullable=False),
    Column("created", MomentColumn, nullable=False),
    Column("state", ParsedColumn(SessionState), nullable=False),
    Column("wish", String, nullable=False),
    Column("stopped_for", ParsedColumn(EndReason)),
    Column("submit_begun", MomentColumn),
    Column("submits", Integer, nullable=False),
    Column("job", String),
    Column("submitted", MomentColumn),
    Column("node", String),
    Column("partition", String),
    Column("restarts", Integer, nullable=False),
    Column("started", MomentColumn),
    Column("ready", MomentColumn),
    Column("ends", MomentColumn),
    Column("ended", MomentColumn),
    Column("last_activity", MomentColumn),
    Column("end_reason", ParsedColumn(EndReason)),
    Column("end", ParsedColumn(Words)),
    Column("exit_code", Integer),
    Column("log_tail", ParsedColumn(tuple[str, ...]), nullable=False),
    Column("extensions", Integer, nullable=False, server_default="0"),
    Column("unopened_until", MomentColumn),
    Column("opened", MomentColumn),
    # A server has one running session; sessions that are ending may exist beside it.
    Index("one_running_session_of_a_server", "user", "server", unique=True, **only(_LIVES & _WANTED)),
    Index("one_session_of_a_job", "factory", "job", unique=True, **only(_LIVES)),
    Index("live_sessions", "id", **only(_LIVES)),
    Index("sessions_of_a_person", "user", "created"),
)
log_lines = Table(
    "log_lines",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("session", ForeignKey("sessions.id"), nullable=False, index=True),
    Column("at", MomentColumn, nullable=False),
    Column("text", Text, nullable=False),
    # Lines of earlier releases have neither; their text is shown unchanged.
    Column("code", ParsedColumn(Code), nullable=False, server_default='""'),
    Column("parameters", ParsedColumn(Parameters), nullable=False, server_default="{}"),
)
choices = Table(
    "choices",
    metadata,
    Column("user", String, primary_key=True),
    Column("choice", ParsedColumn(Choice), nullable=False),
    Column("at", MomentColumn, nullable=False),
)
# The operators' messages, by factory id or one of three other keys: ``WHOLE_GATEWAY``, ``BANNER`` and
# ``BANNER_UNTIL`` (an ISO 8601 time). These keys are in this table, so that an earlier release, which does not know
# them, can still open the ledger.
WHOLE_GATEWAY, BANNER, BANNER_UNTIL = "*", "*banner", "*banner-until"
drains = Table(
    "drains",
    metadata,
    Column("factory", String, primary_key=True),
    Column("message", Text, nullable=False),
    Column("at", MomentColumn, nullable=False),
)
pauses = Table(
    "pauses",
    metadata,
    Column("factory", String, primary_key=True),
    Column("message", Text, nullable=False),
    Column("at", MomentColumn, nullable=False),
)
audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("at", MomentColumn, nullable=False),
    Column("person", String, nullable=False),
    Column("account", String, nullable=False),
    Column("factory", String, nullable=False),
    Column("action", String, nullable=False),
    Column("job", String),
    Column("detail", Text, nullable=False),
    Column("key_id", String, nullable=False, server_default=""),
)


@dataclass
class SessionRecord:
    """One session's row in the ledger.

    ``wish``: ``stop`` if somebody, or the link itself, has requested the session's end, else ``run``; ``stopped_for``:
    the reason for this request. ``submits``: the number of submissions that were started; ``submit_begun``: when the
    last one was started. ``submitted``: when the job was submitted, by the scheduler's clock; None: not known.
    ``port``: the link's port that leads to the notebook, 0: none. ``ready``: when the notebook, or the Dask scheduler,
    of the job's last run first answered. ``opened``: when the link learned that somebody had opened this notebook.
    ``ends``: when the job's walltime is over. ``end``: why the session has ended, in words for people. ``state`` is
    never ``unreachable``, which is only a view of the session.
    """

    id: SessionId
    user: str
    server: str
    factory: str
    account: str
    choice: ResolvedChoice
    options: JobOptions
    port: int
    created: datetime
    state: SessionState = SessionState.PENDING
    wish: Literal["run", "stop"] = "run"
    stopped_for: EndReason | None = None
    submit_begun: datetime | None = None
    submits: int = 0
    job: JobId | None = None
    submitted: datetime | None = None
    node: str | None = None
    partition: str | None = None
    restarts: int = 0
    started: datetime | None = None
    ready: datetime | None = None
    ends: datetime | None = None
    ended: datetime | None = None
    last_activity: datetime | None = None
    end_reason: EndReason | None = None
    end: Words | None = None
    exit_code: int | None = None
    log_tail: tuple[str, ...] = ()
    extensions: int = 0  # number of extensions
    # set if it was begun for a workshop: it ends if nobody has opened it by then
    unopened_until: datetime | None = None
    opened: datetime | None = None
    log: list[LogLine] = field(default_factory=list)

    @property
    def head(self) -> bool:
        """Return whether the session runs a cluster's Dask scheduler instead of a notebook."""
        return self.server.startswith(HEAD)

    def columns(self) -> dict[str, Any]:
        """Return the values for the sessions' table, by column."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "log"}


# The use of GPUs by person. ``charges`` has one row for each job of sessions and of clusters' workers, also of those
# without a project. ``gpus`` / ``gpu_parts``: the GPUs that are billed, a fraction for a slice of a GPU; ``reserved``:
# the longest duration of the job's present run in seconds; ``earlier``: the duration of earlier runs; ``seconds``: of
# all runs, once the job is over.
charges = Table(
    "charges",
    metadata,
    Column("id", String, primary_key=True),
    Column("project", String),
    Column("factory", String, nullable=False),
    Column("person", String, nullable=False),
    Column("account", String, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("gpu_parts", Integer, nullable=False, server_default="1"),
    Column("reserved", Integer, nullable=False),
    Column("reserved_at", MomentColumn, nullable=False),
    Column("started", MomentColumn),
    Column("earlier", Integer, nullable=False),
    Column("ended", MomentColumn),
    Column("seconds", Integer),
    Index("charges_of_a_project", "project", "ended"),
    Index("charges_by_end", "ended"),
)
# The grant of each project, as last read. The row is locked while a charge of the project is checked.
budgets = Table(
    "budgets",
    metadata,
    Column("project", String, primary_key=True),
    Column("gpu_hours", Float),
    Column("at", MomentColumn, nullable=False),
)


# People as the hub describes them, the holders of lent accounts, and the announced ends for lost access.
people = Table(
    "people",
    metadata,
    Column("user", String, primary_key=True),
    Column("groups", ParsedColumn(frozenset[Group]), nullable=False),
    Column("blocked", Boolean, nullable=False),
    Column("at", MomentColumn, nullable=False),
    Column("access", ParsedColumn(AccessStatus)),
    Column("options", ParsedColumn(JobOptions)),
)
hub_rules = Table(
    "hub_rules",
    metadata,
    Column("name", String, primary_key=True),
    Column("told", ParsedColumn(HubRules), nullable=False),
    Column("at", MomentColumn, nullable=False),
)
leases = Table(
    "leases",
    metadata,
    Column("factory", String, primary_key=True),
    Column("account", String, primary_key=True),
    Column("user", String, nullable=False),
    Column("at", MomentColumn, nullable=False),
)
# Accounts that are kept for one workshop, by the id of its project: from its warm-up to its end, or (``rehearsal``)
# until a rehearsal of it is over.
holds = Table(
    "holds",
    metadata,
    Column("factory", String, primary_key=True),
    Column("account", String, primary_key=True),
    Column("project", String, nullable=False),
    Column("at", MomentColumn, nullable=False),
    Column("rehearsal", Boolean, nullable=False, server_default=false()),
)
losses = Table(
    "losses",
    metadata,
    Column("id", String, primary_key=True),  # id of a session or a cluster
    Column("ends", MomentColumn, nullable=False),
)


# The versions of the sites' rules that people accepted, and when they first did.
acceptances = Table(
    "acceptances",
    metadata,
    Column("user", String, primary_key=True),
    Column("factory", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("at", MomentColumn, nullable=False),
)
