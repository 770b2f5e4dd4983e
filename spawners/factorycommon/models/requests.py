"""The models of a person's choice for a session, and of the request from which a dialect writes a job script."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from factorycommon.models.base import Hours, Model, Occupant, Person, ProjectId, ServerName, Slug, Word

ADOPT = "adopt"  # an option beside those of Choice: adopt the live session; the value is its id


class Choice(Model):
    """The choice for a new session, as the form and the API send it.

    If ``factory`` is None, the link selects one. If ``project`` is None but needed, the link selects the only possible
    project. If several projects are possible, the link selects the project of the person's last choice if it is one of
    these; otherwise the link refuses the choice.

    ``until``: the session gets the hours from its earliest possible start to this time, but at most ``hours`` or, if
    ``hours`` is None, the longest hours of its size; None: ``hours`` alone counts. ``give_up_hours``: the session is
    cancelled if it has not started so many hours after its request; None: there is no such limit.

    If ``reservation`` is None, the project's reservation is used, if it has one. If any other field is None, its
    default is used. But if all fields are None, the link first tries the choice of the server's last session, without
    its ``reservation`` and ``url_tokens``.

    No field may be free text.
    """

    factory: Slug | None = None
    size: Slug | None = None
    environment: Slug | None = None
    hours: Hours | None = None
    # request only as many hours as end by this time, counted from a start now; without ``hours``: as many as possible
    until: AwareDatetime | None = None
    idle_minutes: int | None = Field(default=None, ge=1, le=24 * 60)
    unopened_minutes: int | None = Field(default=None, ge=1, le=24 * 60)
    give_up_hours: Hours | None = None  # cancel the session if it has not started by this time
    project: ProjectId | None = None
    reservation: Word | None = None  # the id of a reservation that is offered to the person
    url_tokens: bool | None = None  # True if kernel clients may send a token in the URL of a WebSocket


class ChoiceQuery(Model):
    """A choice whose defaults and cost a client asks for.

    ``size`` None: the smallest size that has at least ``cores`` cores and ``memory_gb`` GB, and allows ``hours``; the
    default size if ``cores`` and ``memory_gb`` are None, too. A ``size`` that is set must have at least these cores and
    this memory.
    """

    factory: Slug | None = None
    size: Slug | None = None
    environment: Slug | None = None
    hours: Hours | None = None
    project: ProjectId | None = None
    cores: int | None = Field(default=None, ge=1, le=100_000)
    memory_gb: float | None = Field(default=None, gt=0, le=1e6, allow_inf_nan=False)

    def choice(self) -> Choice:
        """Return the query's choice, without ``cores`` and ``memory_gb``."""
        return Choice(**self.model_dump(exclude={"cores", "memory_gb"}))


class ResolvedChoice(Model):
    """A choice that was checked against the catalogue, with all defaults filled in."""

    factory: Slug
    size: Slug
    environment: Slug
    hours: Hours
    idle_minutes: int
    unopened_minutes: int
    give_up_hours: Hours | None = None
    project: ProjectId | None = None
    reservation: Word | None = None
    url_tokens: bool = False


class JobOptions(Model):
    """Scheduler options that an operator adds by the spawner's settings ``req_*`` and ``batch_script``.

    Each option is a validated single word, except ``prologue``, ``epilogue`` and ``template``: these are free text,
    which comes from the operator's configuration only.
    """

    account: Word | None = None
    qos: Word | None = None
    partition: Word | None = None
    constraint: Word | None = None
    reservation: Word | None = None
    gres: Word | None = None
    prologue: str = ""  # the operator's shell lines, from the configuration only
    epilogue: str = ""
    template: str = ""  # the setting ``batch_script``: a Jinja template that replaces the dialect's own


class SessionRequest(Model):
    """Body of ``PUT /sessions/{id}``, which starts a session; the same PUT sent twice submits one job."""

    user: Person
    server: ServerName = ""
    choice: Choice
    options: JobOptions = JobOptions()


class SeatRequest(SessionRequest):
    """The request that the link itself makes for the seat of a workshop.

    ``user`` may be a robot, which takes the place of a participant in a rehearsal. No HTTP request has this form, so a
    robot can have no session but a workshop's seat.
    """

    user: Occupant


class JobRequest(Model):
    """All values from which a dialect writes a job script."""

    name: Word  # the same name for all jobs of this hub: factorygate-<hub>
    comment: Word  # the session's id and its HMAC
    partition: Word
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    reservation: Word | None = None
    gpus: int = Field(ge=0)
    gpu_syntax: Literal["gres", "gres-typed", "gpus-per-node", "constraint"] = "gres"
    gpu_type: Word | None = None
    gres: Word | None = None  # requested in place of ``gpus``
    gpu_slice: Word | None = None  # the slice of a GPU in ``gres``; the job checks that it sees this slice
    cores: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    asks_memory: bool = True  # False: the site derives memory from the cores and refuses jobs that request memory
    whole_node: bool = False
    walltime: int = Field(ge=1)  # walltime in seconds
    # True: the command gets SIGUSR1 shortly before the walltime ends; the signal ends a command that does not handle it
    warned: bool = True
    output: Annotated[
        str, StringConstraints(pattern=r"^/[A-Za-z0-9_./%+-]+$")
    ]  # absolute path of the job's log; INDEX of batch_script stands for the index in an array
    setup: tuple[str, ...] = ()  # shell lines of operator and environment, which run before the command
    command: tuple[str, ...]  # the command; the dialect quotes it
    teardown: tuple[str, ...] = ()
