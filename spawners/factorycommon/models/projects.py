"""Projects: the allocations that are charged.

A project has people, permissions with their end, and accounts at each factory.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, model_validator

from factorycommon.models.base import Hours, Model, Person, ProjectId, Slug, UnixAccount, Word

ANTENNA = "antenna:"  # groups that say which antenna a person picked at login


def _proves_something(group: str) -> str:
    if group.startswith(ANTENNA):
        raise ValueError(f"{group!r} gives no right: groups {ANTENNA}… are what people pick themselves at login")
    return group


def _in_our_time(moment: datetime) -> datetime:
    if not _YEARS[0] <= moment.year <= _YEARS[1]:
        raise ValueError(f"{moment.year} is no year for a project; allowed: {_YEARS[0]} to {_YEARS[1]}")
    return moment


_YEARS = (2000, 9000)  # what is reckoned with a moment has room on both sides
Time = Annotated[AwareDatetime, AfterValidator(_in_our_time)]
Group = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
ProvenGroup = Annotated[Group, AfterValidator(_proves_something)]  # that may give a right
Mode = Literal["playground", "fast-lane", "large-scale", "science", "other"]


class SiteAccounts(Model):
    """As whom a project's people run at a factory. ``personal``: each as their own, by person. ``pool``: accounts lent
    to whoever has none of their own; two people never hold one at the same time."""

    personal: dict[Person, UnixAccount] = Field(default_factory=dict)
    pool: tuple[UnixAccount, ...] = ()


class ProjectAt(Model):
    """What a project is at one factory. None takes what the hub's access there says, or the node size."""

    account: Word | None = None  # the scheduler's account string
    qos: Word | None = None
    partition: Word | None = None
    reservation: Word | None = None
    site_accounts: SiteAccounts = SiteAccounts()
    sizes: tuple[Slug, ...] = ()  # node sizes that it may use; empty: all


class Project(Model):
    """One allocation. Its people are ``members``, and whoever is in one of ``groups`` as the hub knows them now.

    ``gpu_hours``: granted, over all factories; None: not counted here. ``max_hours``: of one session; None: the size's.
    """

    id: ProjectId
    title: str = ""
    mode: Mode = "other"
    members: tuple[Person, ...] = ()
    groups: tuple[ProvenGroup, ...] = ()
    managers: tuple[Person, ...] = ()  # see the project's page with everybody's use
    begins: Time | None = None
    ends: Time | None = None  # nothing starts after it, and no session continues beyond it
    gpu_hours: float | None = Field(default=None, ge=0, le=1e12, allow_inf_nan=False)
    max_hours: Hours | None = None
    factories: dict[Slug, ProjectAt] = Field(min_length=1)

    def has(self, person: str, groups: frozenset[str]) -> bool:
        """Return whether the person, whose groups are ``groups``, is in the project."""
        return person in self.members or person in self.managers or not groups.isdisjoint(self.groups)


class Projects(Model):
    """``projects.yaml``."""

    projects: tuple[Project, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Projects:
        ids = [project.id for project in self.projects]
        if twice := sorted({one for one in ids if ids.count(one) > 1}):
            raise ValueError(f"projects: used twice: {', '.join(twice)}; each id is allowed once")
        return self
