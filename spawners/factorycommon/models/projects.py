"""The models of projects, which are the allocations that are charged, and of ``projects.yaml``.

A project has people, a beginning and an end, granted GPU-hours, and settings for each of its factories.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, model_validator

from factorycommon.models.base import Hours, Model, Person, ProjectId, Slug, UnixAccount, Word

ANTENNA = "antenna:"  # prefix of the groups that record which antenna a person selected at login


def _proves_something(group: str) -> str:
    if group.startswith(ANTENNA):
        raise ValueError(f"{group!r} gives no right: groups {ANTENNA}… are what people pick themselves at login")
    return group


def _in_our_time(moment: datetime) -> datetime:
    if not _YEARS[0] <= moment.year <= _YEARS[1]:
        raise ValueError(f"{moment.year} is no year for a project; allowed: {_YEARS[0]} to {_YEARS[1]}")
    return moment


_YEARS = (2000, 9000)  # dates stay well inside the allowed years, so that adding or subtracting days cannot leave them
Time = Annotated[AwareDatetime, AfterValidator(_in_our_time)]
Group = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
ProvenGroup = Annotated[Group, AfterValidator(_proves_something)]  # a group that may grant permissions
Mode = Literal["playground", "fast-lane", "large-scale", "science", "other"]


class SiteAccounts(Model):
    """The Unix accounts under which a project's people run jobs at a factory.

    ``personal``: own accounts, by person. ``pool``: accounts that are lent to people without their own account; two
    people never hold the same account at the same time."""

    personal: dict[Person, UnixAccount] = Field(default_factory=dict)
    pool: tuple[UnixAccount, ...] = ()


class ProjectAt(Model):
    """A project's settings at one factory.

    ``account``: the scheduler's account that is charged, None: that of ``link.yaml``, if any; ``partition`` None: that
    of the node size; ``qos`` None: that of the node size or, if the size has none, of ``link.yaml``; ``reservation``
    None: no reservation; ``site_accounts``: the Unix accounts of the project's people; ``sizes``: the node sizes that
    the project may use, empty: all. An account, QOS, partition or reservation that the operator has set for the spawner
    (``JobOptions``) takes precedence over the project's. So does a reservation that the person chose.
    """

    account: Word | None = None  # the scheduler's account that is charged
    qos: Word | None = None
    partition: Word | None = None
    reservation: Word | None = None
    site_accounts: SiteAccounts = SiteAccounts()
    sizes: tuple[Slug, ...] = ()  # node sizes that the project may use; empty: all


class Project(Model):
    """One project: an allocation that is charged.

    Its people are ``members``, ``managers``, and all who are in one of ``groups`` at the moment. ``mode``: EuroHPC's
    access mode; if ``begins`` is set, the mode's presets fill in ``ends`` and ``gpu_hours`` where ``projects.yaml``
    leaves them out. ``gpu_hours``: granted GPU-hours for all factories together; None: the gateway does not limit them.
    ``max_hours``: the longest walltime of a job; None: the project does not limit it.
    """

    id: ProjectId
    title: str = ""
    mode: Mode = "other"
    members: tuple[Person, ...] = ()
    groups: tuple[ProvenGroup, ...] = ()
    managers: tuple[Person, ...] = ()  # people who see the use of all members on the project's page
    begins: Time | None = None
    ends: Time | None = None  # no session starts after this time, and no session continues beyond it
    gpu_hours: float | None = Field(default=None, ge=0, le=1e12, allow_inf_nan=False)
    # the most GPU-hours that each person may use of them, with all jobs; None: as much as there is
    person_gpu_hours: float | None = Field(default=None, ge=0, le=1e12, allow_inf_nan=False)
    max_hours: Hours | None = None
    factories: dict[Slug, ProjectAt] = Field(min_length=1)

    def has(self, person: str, groups: frozenset[str]) -> bool:
        """Return True if the person is a member or a manager of the project, or in one of its groups."""
        return person in self.members or person in self.managers or not groups.isdisjoint(self.groups)

    def share(self, person: Person) -> float | None:  # noqa: ARG002  (subclasses may not give all people the same)
        """Return the most GPU-hours that this person may use; None: only the project's own limit counts."""
        return self.person_gpu_hours


class Projects(Model):
    """The contents of ``projects.yaml``."""

    projects: tuple[Project, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Projects:
        ids = [project.id for project in self.projects]
        if twice := sorted({one for one in ids if ids.count(one) > 1}):
            raise ValueError(f"projects: used twice: {', '.join(twice)}; each id is allowed once")
        return self
