"""Requests: a person's choice, and the link's request to a dialect."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from factorycommon.models.base import Hours, Model, Person, ProjectId, ServerName, Slug, Word

ADOPT = "adopt"  # an option beside a choice's: start the server to adopt this session, and no other


class Choice(Model):
    """The form and the API post this; ids only. What is None takes the factory's default."""

    factory: Slug | None = None
    size: Slug | None = None
    environment: Slug | None = None
    hours: Hours | None = None
    until: AwareDatetime | None = None  # fewer hours where it would end later, if it started at once
    idle_minutes: int | None = Field(default=None, ge=1, le=24 * 60)
    unopened_minutes: int | None = Field(default=None, ge=1, le=24 * 60)
    give_up_hours: Hours | None = None  # withdraw the request if it has not started by then
    project: ProjectId | None = None
    reservation: Word | None = None  # one that is offered to the person
    url_tokens: bool | None = None  # kernel clients may send a token in the address of a WebSocket


class ChoiceQuery(Model):
    """A question what a choice becomes, and what it costs. Where no size is named, ``cores`` and ``memory_gb`` ask for
    the smallest that has so much."""

    factory: Slug | None = None
    size: Slug | None = None
    environment: Slug | None = None
    hours: Hours | None = None
    project: ProjectId | None = None
    cores: int | None = Field(default=None, ge=1, le=100_000)
    memory_gb: float | None = Field(default=None, gt=0, le=1e6, allow_inf_nan=False)

    def choice(self) -> Choice:
        """Return the choice that this query asks about."""
        return Choice(**self.model_dump(exclude={"cores", "memory_gb"}))


class ResolvedChoice(Model):
    """A choice checked against the catalogue, with nothing left open."""

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
    """What an operator may add for the scheduler by ``req_*`` of the spawner; validated words, never free text."""

    account: Word | None = None
    qos: Word | None = None
    partition: Word | None = None
    constraint: Word | None = None
    reservation: Word | None = None
    gres: Word | None = None
    prologue: str = ""  # operator's own shell lines, from config only
    epilogue: str = ""
    template: str = ""  # batch_script: a Jinja template in place of the dialect's own


class SessionRequest(Model):
    """Body of ``PUT /sessions/{id}``: the same PUT twice is one job."""

    user: Person
    server: ServerName = ""
    choice: Choice
    options: JobOptions = JobOptions()


class JobRequest(Model):
    """All that a dialect needs to write a job's script."""

    name: Word  # job name, the same for all jobs of this hub: factorygate-<hub>
    comment: Word  # session id and HMAC
    partition: Word
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    reservation: Word | None = None
    gpus: int = Field(ge=0)
    gpu_syntax: Literal["gres", "gres-typed", "gpus-per-node", "constraint"] = "gres"
    gpu_type: Word | None = None
    gres: Word | None = None  # replaces what gpus would ask for
    cores: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    asks_memory: bool = True  # False: the site gives memory by the cores, and takes no job that names it
    whole_node: bool = False
    walltime: int = Field(ge=1)  # seconds
    warned: bool = True  # whether the command is told by USR1 that the walltime is near; unhandled, it ends it
    output: Annotated[
        str, StringConstraints(pattern=r"^/[A-Za-z0-9_./%+-]+$")
    ]  # absolute path of the job's log; see INDEX of batch_script
    setup: tuple[str, ...] = ()  # lines of operator and environment, before the command
    command: tuple[str, ...]  # argv of what runs; quoted by the dialect
    teardown: tuple[str, ...] = ()
