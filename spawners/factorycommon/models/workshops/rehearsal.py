"""What the link tells the workshops service for a rehearsal: each place as a class would find it today.

The digests say which environment, size and agreement a place has: a rehearsal holds as long as they stay the same.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from factorycommon.models.base import Hours, Model, Person, Slug, UnixAccount, Word
from factorycommon.models.rules import TeachingAct
from factorycommon.models.sessions import Words
from factorycommon.models.workshops import MOST_SEATS
from factorycommon.models.workshops.seats import MOST_ACCOUNTS, SeatPlace

PartDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PersonTrouble(Model):
    """A person who could start nothing at a place today, and why."""

    person: Person
    why: Words


class BookedNodes(Model):
    """A reservation of the site, as its scheduler last told it. ``nodes``: how many it has, 0: not known; ``refuses``:
    those of the workshop's site accounts that it does not admit; ``project``: whether it admits the account that is
    charged."""

    name: Word
    start: datetime
    end: datetime
    nodes: int = Field(ge=0)
    refuses: tuple[UnixAccount, ...] = Field(default=(), max_length=MOST_ACCOUNTS)
    project: bool = True


class ClosedNodes(Model):
    """A maintenance that is announced. ``all``: whether it leaves no node for the workshop."""

    start: datetime
    end: datetime
    all: bool


class RehearsedSize(Model):
    """The node size of a place. ``gpus``: GPU-hours that one hour of it is charged; ``per_node``: how many seats fit on
    one node; ``nodes``: how many nodes the partition has, None: not known; ``label``: its description, as the start
    page has it."""

    id: Slug
    label: str = Field(default="", max_length=500)
    gpus: Amount
    max_hours: Hours
    per_node: int = Field(ge=1)
    nodes: int | None = None
    digest: PartDigest


class RehearsedEnvironment(Model):
    """One environment that a place offers. ``live``: something can start in it; ``fits``: with the workshop's size."""

    id: Slug
    live: bool
    fits: bool
    digest: PartDigest


class RehearsalPlace(Model):
    """One factory of a workshop. ``size`` None: it is not in the catalogue any more; ``default``: the environment if a
    workshop names none; ``agreed``: what the site's agreement allows for workshops; ``lends``: whether accounts are
    lent to people there, ``wipes``: whether they are emptied in between, ``lendable``: how many could be lent now,
    None: none are lent; ``robots``: whether a robot would have an account there, False: people have their own;
    ``asked``: when the site last told its nodes and reservations, None: not yet; ``reservation``: that of the workshop
    as the site told it, None: it told none; ``people``: who could start nothing there today."""

    seat: SeatPlace
    machine: str = Field(max_length=200)
    size: RehearsedSize | None = None
    environments: tuple[RehearsedEnvironment, ...] = Field(default=(), max_length=1000)
    default: Slug | None = None
    agreed: tuple[TeachingAct, ...] = ()
    agreement: PartDigest
    lends: bool
    wipes: bool
    lendable: int | None = Field(default=None, ge=0, le=MOST_ACCOUNTS)
    robots: bool = True
    asked: datetime | None = None
    reservation: BookedNodes | None = None
    maintenance: tuple[ClosedNodes, ...] = Field(default=(), max_length=100)
    people: tuple[PersonTrouble, ...] = Field(default=(), max_length=3 * MOST_SEATS)

    def environment(self, named: Slug | None) -> RehearsedEnvironment | None:
        """Return the environment that a workshop gets which names this one; None if it is not there."""
        wanted = named or self.default
        return next((one for one in self.environments if one.id == wanted), None)


class RehearsalFacts(Model):
    """Answer to ``GET /projects/{project}/rehearsal``. ``release``: of the link; ``spent`` and ``reserved``: GPU-hours
    of the project; ``gpu_hours``: all that it may use, ``person_gpu_hours``: each participant of these, and
    ``staff_gpu_hours``: each person who runs it; None: no limit."""

    release: str = Field(max_length=100)
    spent: Amount
    reserved: Amount
    gpu_hours: Amount | None = None
    person_gpu_hours: Amount | None = None
    staff_gpu_hours: Amount | None = None
    places: tuple[RehearsalPlace, ...] = Field(max_length=20)


RehearsalColour = Literal["green", "yellow", "red"]
