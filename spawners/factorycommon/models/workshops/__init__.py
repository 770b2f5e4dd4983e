"""What link and workshops service share: what an operator lets workshops use, and the table of workshops' projects.

The service writes into the table which people a workshop has, and until when they may run sessions. The operator's file
of pools says which accounts, QOS and reservations workshops may use. The link reads both files, so an attacker who
controls the service can charge nothing but the pools.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from factorycommon.models.base import Hours, Model, Occupant, Person, Slug, UnixAccount, Word, is_robot, robot_names
from factorycommon.models.projects import Project, ProjectAt, SiteAccounts, Time

PREFIX = "workshop-"  # the ids of workshops' projects begin with it, and those of no other project do
WorkshopSlug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]
WorkshopProjectId = Annotated[str, StringConstraints(pattern=r"^workshop-[a-z0-9][a-z0-9-]{0,47}$")]
GpuHourLimit = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
MOST_SEATS = 1000  # of one workshop
MOST_PROJECTS = 10_000  # of the table that the service writes and the link reads
MOST_TABLE_BYTES = 8 * 2**20
REHEARSAL = "rehearsal-"  # the names of the servers on which seats of a rehearsal run begin with it
MOST_REHEARSE = 10  # people of one rehearsal
LONGEST_REHEARSAL = timedelta(hours=2)


class WorkshopPool(Model):
    """What an operator lets workshops use at one factory; a trainer chooses a pool by the pool's id.

    ``environments``: the environments that a trainer may choose, empty: all; ``seats``: the most seats that the
    workshops on this pool may have at the same time; ``gpu_hours``: the most GPU-hours of one workshop, None: no limit;
    ``max_hours``: how long a session may last at most; ``account``: the scheduler's account that is charged, None: the
    one in ``link.yaml``, if any; ``qos``, ``partition``: as in ``ProjectAt``; ``reservations``: the reservations that a
    trainer may choose; ``site_accounts``: the accounts that are lent to those people of the pool's workshops who have
    no account of their own in ``link.yaml``, empty: the accounts that ``link.yaml`` gives to people are used."""

    id: Slug
    title: str = Field(default="", max_length=200)
    factory: Slug
    sizes: tuple[Slug, ...] = Field(min_length=1, max_length=100)
    environments: tuple[Slug, ...] = Field(default=(), max_length=100)  # empty: all
    seats: int = Field(ge=1, le=100_000)
    gpu_hours: GpuHourLimit | None = None
    max_hours: Hours = 12
    account: Word | None = None
    qos: Word | None = None
    partition: Word | None = None
    reservations: tuple[Word, ...] = Field(default=(), max_length=100)
    site_accounts: tuple[UnixAccount, ...] = Field(default=(), max_length=10_000)

    def at(self, sizes: tuple[Slug, ...], reservation: Word | None = None) -> ProjectAt:
        """Return the settings at the pool's factory for a project that uses these sizes.

        ``reservation``: the reservation in which the project's jobs run; None: there is none. Whether the pool allows
        sizes and reservation is not checked here.
        """
        return ProjectAt(
            account=self.account,
            qos=self.qos,
            partition=self.partition,
            reservation=reservation,
            site_accounts=SiteAccounts(pool=self.site_accounts),
            sizes=sizes,
        )


class WorkshopPools(Model):
    """The contents of ``workshop-pools.yaml``."""

    pools: tuple[WorkshopPool, ...] = Field(default=(), max_length=1000)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        ids = [pool.id for pool in self.pools]
        if twice := sorted({one for one in ids if ids.count(one) > 1}):
            raise ValueError(f"pools: used twice: {', '.join(twice)}; each id is allowed once")
        return self

    def get(self, pool_id: Slug) -> WorkshopPool | None:
        """Return the pool with this id; None if there is none."""
        return next((pool for pool in self.pools if pool.id == pool_id), None)


class WorkshopProjectPlace(Model):
    """What a workshop uses at one factory: sizes of a pool, and one of the pool's reservations or None."""

    pool: Slug
    sizes: tuple[Slug, ...] = Field(min_length=1, max_length=100)
    reservation: Word | None = None


class RehearsalWindow(Model):
    """The time of a rehearsal, in which only some people, or robots, may start sessions for a workshop at one factory.

    It lasts at most ``LONGEST_REHEARSAL``, and ends at the latest when the workshop's own time begins. The sessions
    use the workshop's budget, but not its reservation. ``people``: the people of the workshop who rehearse, empty if
    robots rehearse; ``robots``: the number of robots that rehearse in place of people, each with one session at a time.
    """

    people: tuple[Person, ...] = Field(default=(), max_length=MOST_REHEARSE)
    robots: int = Field(default=0, ge=0, le=MOST_SEATS)
    factory: Slug
    begins: Time
    ends: Time

    @model_validator(mode="after")
    def _short_and_of_somebody(self) -> Self:
        if bool(self.people) == bool(self.robots):
            raise ValueError("either people rehearse, or robots")
        if self.ends - self.begins > LONGEST_REHEARSAL:
            raise ValueError(f"a rehearsal lasts at most {LONGEST_REHEARSAL}")
        return self


class ClassProject(Project):
    """The project of a workshop.

    ``seats``: the number of seats; ``staff``: the people who run the workshop and have no seat; ``staff_gpu_hours``:
    the most GPU-hours that each of these people may use, None: only the project's own limit counts.
    """

    seats: int = Field(ge=1, le=MOST_SEATS)
    staff: frozenset[Person] = frozenset()
    staff_gpu_hours: GpuHourLimit | None = None

    def share(self, person: Person) -> float | None:
        """Return the most GPU-hours that this person may use; None: only the project's own limit counts."""
        return self.staff_gpu_hours if person in self.staff else self.person_gpu_hours


class RehearsedProject(ClassProject):
    """The project of a workshop during a rehearsal: what the people or robots who rehearse may use.

    Only projects of this class have robots among their members.
    """

    members: tuple[Occupant, ...] = ()

    @property
    def robots(self) -> int:
        """Return how many robots may have a seat in the project."""
        return sum(is_robot(one) for one in self.members)


def shares(
    hours: float | None, seats: int, staff: int, wanted: float | None, least: float
) -> tuple[float | None, float | None]:
    """Return the GPU-hours of each participant, and those of each person who runs the class; None: no limit.

    ``hours``: the GPU-hours of the class, None: no limit; ``seats``, ``staff``: the numbers of seats and of people who
    run the class; ``wanted``: the GPU-hours that the trainer wants for each person, None: the trainer names none;
    ``least``: the GPU-hours of a session that lasts as long as the class allows.

    Seats come first. Each seat gets ``wanted``; if this is None, the seat gets ``hours / (seats + staff)`` or
    ``least``, whichever is more. No seat gets more than ``hours / seats``. The people who run the class share what the
    seats leave, and none of them gets more than a seat. So all shares together are never more than ``hours``. If
    ``hours`` is None, each person gets ``wanted``.
    """
    if hours is None:
        return wanted, wanted
    most = hours / seats
    each = max(hours / (seats + staff), min(least, most)) if wanted is None else min(wanted, most)
    return each, min(each, max(0.0, hours - seats * each) / max(1, staff))


class WorkshopProject(Model):
    """The project of one workshop, as the workshops service writes it for the link.

    ``members``: the people who may run something; ``managers``: those who see what each member uses; ``staff``: those
    who run the workshop and have no seat; ``begins``, ``ends``: the time in which the people may run something;
    ``gpu_hours``, ``max_hours``: the most GPU-hours of the workshop, and the most hours of a session, None: only the
    pools limit them; ``person_gpu_hours``: the most GPU-hours that the trainer wants each person to use, None: a share
    of the workshop's GPU-hours, which ``shares`` computes; ``rehearsal``: a time before ``begins`` in which some of the
    people, or robots, may run something.
    """

    id: WorkshopProjectId
    title: str = Field(default="", max_length=200)
    members: tuple[Person, ...] = Field(default=(), max_length=2 * MOST_SEATS)
    managers: tuple[Person, ...] = Field(default=(), max_length=MOST_SEATS)
    staff: tuple[Person, ...] = Field(default=(), max_length=MOST_SEATS)
    begins: Time
    ends: Time
    seats: int = Field(ge=1, le=MOST_SEATS)
    gpu_hours: GpuHourLimit | None = None
    person_gpu_hours: GpuHourLimit | None = None
    max_hours: Hours | None = None
    factories: dict[Slug, WorkshopProjectPlace] = Field(min_length=1, max_length=20)
    rehearsal: RehearsalWindow | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_seats(cls, given: Any) -> Any:
        """Fill in the number of seats if a service of the release before this one wrote the project without it."""
        if not isinstance(given, dict) or "seats" in given:
            return given
        members, managers, staff = (given.get(key, ()) for key in ("members", "managers", "staff"))
        if not all(isinstance(one, list | tuple) for one in (members, managers, staff)):
            return given  # refused by the fields
        runs_it = {one for one in (*managers, *staff) if isinstance(one, str)}
        seated = sum(isinstance(one, str) and one not in runs_it for one in members)
        return {**given, "seats": min(max(1, seated), MOST_SEATS)}

    def project(
        self,
        pools: WorkshopPools,
        now: datetime | None = None,
        seat_gpus: Mapping[Slug, float] = MappingProxyType({}),
    ) -> tuple[ClassProject | None, tuple[str, ...]]:
        """Return the project as the workshop's pools allow it, and texts that say what the pools do not allow.

        A factory is left out if its pool does not exist, or does not allow what the workshop uses there; the project is
        None if no factory is left. ``seat_gpus``: the GPUs that are billed for a seat, by factory. They are needed to
        compute the GPU-hours of each person and robot; the texts do not depend on them.

        If a rehearsal goes on at the time ``now``, the project is what the people or robots who rehearse may use.
        ``now`` None: a rehearsal is ignored. It is also ignored if its factory is left out, or if all its people have
        left the workshop. If there are more robots than the workshop has seats, or than the pool at the rehearsal's
        factory has, the rehearsal is ignored, and a text says so.
        """
        found, wrong = dict[Slug, ProjectAt](), list[str]()
        hours, longest = self.gpu_hours, self.max_hours
        for factory, place in self.factories.items():
            pool = pools.get(place.pool)
            if pool is None or pool.factory != factory:
                wrong.append(f"{self.id}: there is no pool {place.pool} for workshops at {factory}")
            elif strange := [size for size in place.sizes if size not in pool.sizes]:
                wrong.append(f"{self.id}: the pool {pool.id} does not allow the size {strange[0]}")
            elif place.reservation is not None and place.reservation not in pool.reservations:
                wrong.append(f"{self.id}: the pool {pool.id} does not allow the reservation {place.reservation}")
            else:
                found[factory] = pool.at(place.sizes, place.reservation)
                hours = _least(hours, pool.gpu_hours)
                longest = _least(longest, pool.max_hours)
        if not found:
            return None, tuple(wrong)
        least = (longest or 0.0) * max((seat_gpus.get(factory, 0.0) for factory in found), default=0.0)
        each, of_staff = shares(hours, self.seats, len(self.staff), self.person_gpu_hours, least)
        made = ClassProject(
            id=self.id,
            title=self.title,
            members=self.members,
            managers=self.managers,
            begins=self.begins,
            ends=self.ends,
            gpu_hours=hours,
            person_gpu_hours=each,
            max_hours=longest,
            factories=found,
            seats=self.seats,
            staff=frozenset(self.staff),
            staff_gpu_hours=of_staff,
        )
        rehearsal = self.rehearsal_at(now)
        if rehearsal is None or rehearsal.factory not in found:
            return made, tuple(wrong)
        if not rehearsal.robots:
            return self._rehearsed(made, rehearsal), tuple(wrong)
        pool = pools.get(self.factories[rehearsal.factory].pool)
        if pool is None or rehearsal.robots > min(self.seats, pool.seats):
            wrong.append(f"{self.id}: {rehearsal.robots} robots are more than its seats, or those of its pool")
            return made, tuple(wrong)
        return self._with_robots(made, rehearsal, seat_gpus.get(rehearsal.factory, 0.0)), tuple(wrong)

    def changes(self) -> tuple[datetime, ...]:
        """Return the times at which the result of the method ``project`` may change; empty without a rehearsal."""
        rehearsal = self.rehearsal
        return () if rehearsal is None else (rehearsal.begins, rehearsal.ends, self.begins)

    def rehearsal_at(self, now: datetime | None) -> RehearsalWindow | None:
        """Return the rehearsal that goes on at the time ``now``; None if there is none, or if ``now`` is None.

        None also if the workshop itself has begun.
        """
        rehearsal = self.rehearsal
        if rehearsal is None or now is None or not rehearsal.begins <= now < min(rehearsal.ends, self.begins):
            return None
        return rehearsal

    def _rehearsed(self, made: ClassProject, rehearsal: RehearsalWindow) -> ClassProject:
        """Return the project as it is while some of its people rehearse.

        This is ``made`` itself if none of these people is in the project any more.
        """
        people = tuple(one for one in rehearsal.people if one in (*self.members, *self.managers))
        if not people:
            return made
        changed = {
            "members": people,
            "managers": tuple(one for one in self.managers if one in people),
            "person_gpu_hours": None,  # one person has all seats of the rehearsal
        }
        return RehearsedProject(**dict(made) | changed | _limited_to(rehearsal, made))

    def _with_robots(self, made: ClassProject, rehearsal: RehearsalWindow, gpus: float) -> ClassProject:
        """Return the project as it is while robots rehearse.

        Each robot may use the GPU-hours that one seat needs for the whole time of the rehearsal. ``gpus``: the GPUs
        that are billed for a seat; with 0, a robot has no limit of its own.
        """
        longest = (rehearsal.ends - rehearsal.begins) / timedelta(hours=1)
        changed = {
            "members": robot_names(self.id.removeprefix(PREFIX), rehearsal.robots),
            "managers": (),
            "staff": frozenset[str](),
            "person_gpu_hours": gpus * longest or None,
        }
        return RehearsedProject(**dict(made) | changed | _limited_to(rehearsal, made))


class WorkshopProjects(Model):
    """The contents of the table of workshops' projects, a file that the workshops service writes and the link reads."""

    projects: tuple[WorkshopProject, ...] = Field(default=(), max_length=MOST_PROJECTS)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        ids = [project.id for project in self.projects]
        if len(set(ids)) < len(ids):
            raise ValueError("projects: an id is used twice")
        return self


def _limited_to(rehearsal: RehearsalWindow, made: ClassProject) -> dict[str, Any]:
    """Return the fields that each rehearsal changes in a project, with their new values.

    These are the time, the factory (without a reservation), and the GPU-hours of the people who run the workshop, which
    get no limit of their own.
    """
    at = made.factories[rehearsal.factory]
    return {
        "begins": rehearsal.begins,
        "ends": rehearsal.ends,
        "staff_gpu_hours": None,
        "factories": {rehearsal.factory: at.model_copy(update={"reservation": None})},
    }


def _least(first: float | None, second: float | None) -> float | None:
    """Return the smaller of two limits; None stands for no limit."""
    return min((one for one in (first, second) if one is not None), default=None)
