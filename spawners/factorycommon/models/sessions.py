"""Sessions, as the hub, pages and notebooks see them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal
from urllib.parse import quote

from pydantic import Field

from factorycommon.models.base import HEAD, JobId, Model, Moment, Person, SessionId, Slot, UnixAccount
from factorycommon.models.messages import Code, Coded, Phrase
from factorycommon.models.plain import LogText, PlainLines, PlainText
from factorycommon.models.prices import Cost
from factorycommon.models.requests import ResolvedChoice


class SessionState(StrEnum):
    """The states of a session; ``unreachable``: the factory does not answer, never taken for ``ended``."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"
    UNREACHABLE = "unreachable"


class EndReason(StrEnum):
    """Why a session ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    IDLE = "idle"
    UNOPENED = "unopened"
    WALLTIME = "walltime"
    OUT_OF_MEMORY = "out-of-memory"
    NODE_FAILED = "node-failed"
    PREEMPTED = "preempted"
    CANCELLED_BY_SITE = "cancelled-by-site"
    REFUSED = "refused"  # the scheduler did not take it
    GAVE_UP = "gave-up"  # the person's own "give up after"
    NEVER_OPENED_DOOR = "never-opened-door"  # nobody sent the environment, or the notebook did not come up
    ACCESS_LOST = "access-lost"  # the person may no longer use the project
    FAILED = "failed"


Whose = Literal["you", "site", "operator", "wait"]  # the site's operators; the gateway's; nobody: wait


class Words(Coded):
    """Something said to a person: what happened, whose move it is, what to do; with the scheduler's own words.

    ``code`` is stable, for pages, scripts and tests; what there is, is listed in ``docs/reasons.md``.
    """

    TEXTS = ("what", "do")

    code: Code
    what: PlainText
    do: PlainText = ""
    whose: Whose = "wait"
    scheduler: PlainLines = ""


class LogLine(Phrase):
    """Something that happened to a session, in words."""

    at: datetime


class Notice(Model):
    """A session ends by itself soon: when, why, and which step before that was passed (minutes)."""

    kind: Literal["walltime", "idle", "unopened", "access"]
    at: Moment
    minutes: int = Field(ge=0, le=10_000)


def notebook_base(base_url: str, user: str, server: str) -> str:
    """Return the notebook's base URL: ``/user/NAME/`` or ``/user/NAME/SERVER/`` below the hub's ``base_url``."""
    name = quote(user, safe="@~")
    return f"{base_url}user/{name}/{quote(server)}/" if server else f"{base_url}user/{name}/"


class Session(Model):
    """One session as hub, pages and notebooks see it. Carries no secret."""

    id: SessionId
    user: Person
    server: Slot
    account: UnixAccount  # site account
    choice: ResolvedChoice
    state: SessionState
    before: SessionState | None = None  # what it was when last seen, while unreachable
    wish: Literal["run", "stop"]
    job: JobId | None = None
    node: str | None = None
    partition: str | None = None
    created: datetime
    started: datetime | None = None  # the job
    earlier_hours: float = 0.0  # of runs before the scheduler began the job again; only while the session lives
    ready: datetime | None = None  # the notebook's first 200
    ends: datetime | None = None  # by walltime
    ended: datetime | None = None
    position: int | None = None  # 1 is next, among pending jobs of its partition that we can see
    expected_start: datetime | None = None
    waits_for: Words | None = None  # while pending or unreachable; while starting, where its door cannot be reached
    door_open: bool = False
    environment_sent: bool = False
    certain: bool = True  # the scheduler's last answer had its job, or its door is open; or it has no job yet
    reachable: bool = False  # a request to url gets to the notebook now
    url: str | None = None  # for the hub and its proxy, the link's port; for people, see `addressed`
    last_activity: datetime | None = None
    busy: bool = False  # a kernel or terminal of it runs something
    busy_with: tuple[PlainText, ...] = ()  # names of those, as far as known
    gpu_percent: int | None = None  # of the busiest GPU in the last minute; None: there is none, or it is not known
    memory_bytes: int | None = None
    ends_idle: datetime | None = None  # when the idle limit would end it, as far as known
    notice: Notice | None = None  # while it runs and its end is near
    remark: Words | None = None  # something was done to its job at the factory; the session continues
    extend_hours: float | None = None  # what may be added to its time; None: not at this factory, or not now
    end_reason: EndReason | None = None
    end: Words | None = None
    log_tail: tuple[LogText, ...] = ()  # the job's own log, at the end
    log: tuple[LogLine, ...] = ()  # what happened
    exit_code: int | None = None
    charged: Cost | None = None  # once it has ended: what all runs of its job cost; None: not known

    def addressed(self, root: str) -> Session:
        """Return the session with the URL at which its person opens it, instead of its port on the link's machine.

        ``root``: the gateway's URL with the hub's base URL (``https://gateway.example.org/``), or its path only. Until
        the session runs, its URL shows the waiting page. A session that has ended, or that runs a cluster's scheduler,
        has no URL.
        """
        opens = self.state != SessionState.ENDED and not self.server.startswith(HEAD)
        return self.model_copy(update={"url": notebook_base(root, self.user, self.server) if opens else None})
