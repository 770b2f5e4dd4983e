"""The models of a session, as the hub, pages and notebooks see it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal
from urllib.parse import quote

from pydantic import Field

from factorycommon.models.base import HEAD, JobId, Model, Moment, Occupant, SessionId, Slot, UnixAccount
from factorycommon.models.messages import Code, Coded, Phrase
from factorycommon.models.plain import LogText, PlainLines, PlainText
from factorycommon.models.prices import Cost
from factorycommon.models.requests import ResolvedChoice


class SessionState(StrEnum):
    """The states of a session.

    ``unreachable``: the session cannot be used or followed now, for example because the factory or the door does not
    answer, or the site has suspended the job; the session has not ended.
    """

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"
    UNREACHABLE = "unreachable"


class EndReason(StrEnum):
    """The reasons why a session can end."""

    FINISHED = "finished"
    STOPPED = "stopped"
    IDLE = "idle"
    UNOPENED = "unopened"
    WALLTIME = "walltime"
    OUT_OF_MEMORY = "out-of-memory"
    NODE_FAILED = "node-failed"
    PREEMPTED = "preempted"
    CANCELLED_BY_SITE = "cancelled-by-site"
    REFUSED = "refused"  # the scheduler refused the job
    GAVE_UP = "gave-up"  # the session waited until its user's own "give up after" time
    NEVER_OPENED_DOOR = "never-opened-door"  # the environment never arrived, or the notebook did not start
    ACCESS_LOST = "access-lost"  # the person may no longer use the project
    MOVED = "moved"  # its class moved to another place, where the person has a new session
    FAILED = "failed"


# who can act next: the site's operators; the gateway's operators; nobody, so people must wait
Whose = Literal["you", "site", "operator", "wait"]


class Words(Coded):
    """An explanation for a person: what happened, who can act, what to do, and the scheduler's own message.

    ``code`` is stable, so pages, scripts and tests can rely on it. ``docs/reasons.md`` lists the codes of explanations.
    """

    TEXTS = ("what", "do")

    code: Code
    what: PlainText
    do: PlainText = ""
    whose: Whose = "wait"
    scheduler: PlainLines = ""


class LogLine(Phrase):
    """One event in the life of a session, as a text for people."""

    at: datetime


class Notice(Model):
    """A warning that a session will soon end by itself.

    ``kind``: why the session will end (``unopened``: nobody has opened it; ``access``: its person loses the access to
    the project). ``at``: when the session will end. ``minutes``: from how many minutes before the end this warning is
    shown, for example 15 or 5; the first warning of the kind ``access`` may be shown earlier. How much time is left
    follows from ``at``.
    """

    kind: Literal["walltime", "idle", "unopened", "access"]
    at: Moment
    minutes: int = Field(ge=0, le=10_000)


def notebook_base(base_url: str, user: str, server: str) -> str:
    """Return the notebook's base URL: ``base_url``, followed by ``user/NAME/SERVER/``.

    ``base_url``: the hub's, with a slash at its end; ``server``: "" for the person's default server, whose URL ends
    with ``user/NAME/``.
    """
    name = quote(user, safe="@~")
    return f"{base_url}user/{name}/{quote(server)}/" if server else f"{base_url}user/{name}/"


class Session(Model):
    """One session as the hub, pages and notebooks see it. It contains no secret."""

    id: SessionId
    user: Occupant
    server: Slot
    account: UnixAccount  # the site account it runs as
    choice: ResolvedChoice
    state: SessionState
    before: SessionState | None = None  # while ``unreachable``: the last known state
    wish: Literal["run", "stop"]
    job: JobId | None = None
    node: str | None = None
    partition: str | None = None
    created: datetime
    started: datetime | None = None  # start of the job
    # the hours of earlier runs, after which the scheduler requeued the job; only while the session is live
    earlier_hours: float = 0.0
    ready: datetime | None = None  # first time the notebook answered with 200
    ends: datetime | None = None  # end of the walltime
    ended: datetime | None = None
    # place in the queue; 1 is next, among pending jobs of the partition that the link can see
    position: int | None = None
    expected_start: datetime | None = None
    waits_for: Words | None = None  # explains pending and unreachable; also starting, if the door cannot be reached
    door_open: bool = False
    environment_sent: bool = False
    certain: bool = True  # the scheduler's last answer listed its job, or its door is open, or it has no job yet
    reachable: bool = False  # True if a request to ``url`` reaches the notebook now
    url: str | None = None  # for hub and proxy the link's port; for people the public URL, see `addressed`
    last_activity: datetime | None = None
    busy: bool = False  # True if a kernel or terminal runs something
    busy_with: tuple[PlainText, ...] = ()  # names of the running kernels and terminals, as far as known
    # use of the busiest GPU in the last minute; None: there is no GPU, or it is not known
    gpu_percent: int | None = None
    memory_bytes: int | None = None
    steps: tuple[int, ...] = ()  # numbers, from 0, of the steps of its workshop that the person has done
    ends_idle: datetime | None = None  # when the idle limit would end the session, as far as known
    notice: Notice | None = None  # set while it runs and its end is near
    remark: Words | None = None  # set if the site changed something about its job while the session goes on
    # the hours that can be added to its walltime; None: this factory does not allow it, or not now
    extend_hours: float | None = None
    end_reason: EndReason | None = None
    end: Words | None = None
    log_tail: tuple[LogText, ...] = ()  # last lines of the job's log, once the session has ended
    log: tuple[LogLine, ...] = ()  # events in its life
    exit_code: int | None = None
    charged: Cost | None = None  # once it has ended: the cost of all runs of its job; None: not known

    def addressed(self, root: str) -> Session:
        """Return the session with the URL at which its person opens it, instead of its port on the link's machine.

        ``root``: the beginning of the session's URL: the hub's URL for people (``https://gateway.example.org/``), or
        only its path (``/``). Until the session runs, its URL shows the waiting page. A session that has ended, or that
        runs a cluster's scheduler, has no URL.
        """
        opens = self.state != SessionState.ENDED and not self.server.startswith(HEAD)
        return self.model_copy(update={"url": notebook_base(root, self.user, self.server) if opens else None})
