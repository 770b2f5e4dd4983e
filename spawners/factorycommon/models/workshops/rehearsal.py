"""What the link tells the workshops service for a rehearsal: what a class would find at each of its factories today.

Digests identify the environment, the node size and the agreement with the site. The result of a rehearsal counts only
as long as these digests do not change.
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
    """A person who could start nothing at a factory today, and why."""

    person: Person
    why: Words


class BookedNodes(Model):
    """A reservation of the site, as its scheduler last reported it.

    ``nodes``: the number of its nodes, 0: not known; ``refuses``: the workshop's lent or shared site accounts that the
    reservation does not admit; ``project``: whether the reservation admits the scheduler's account that is charged.
    """

    name: Word
    start: datetime
    end: datetime
    nodes: int = Field(ge=0)
    refuses: tuple[UnixAccount, ...] = Field(default=(), max_length=MOST_ACCOUNTS)
    project: bool = True


class ClosedNodes(Model):
    """A maintenance that is announced or goes on.

    ``all``: whether it leaves no node for the workshop's node size; True also if its nodes are not known.
    """

    start: datetime
    end: datetime
    all: bool


class RehearsedSize(Model):
    """The node size that a workshop uses at a factory.

    ``gpus``: the GPU-hours that are charged for one hour of a session; ``per_node``: how many seats fit on one node;
    ``nodes``: how many such nodes the factory has, None: not known; ``label``: the size's description, as on the start
    page; ``digest``: changes when the catalogue or the workshop's pool says something else about jobs of this size.
    """

    id: Slug
    label: str = Field(default="", max_length=500)
    gpus: Amount
    max_hours: Hours
    per_node: int = Field(ge=1)
    nodes: int | None = None
    digest: PartDigest


class RehearsedEnvironment(Model):
    """One environment of a workshop's factory, as the catalogue has it now.

    ``live``: whether sessions can start in it; False for a template, which nobody has installed yet; ``fits``: whether
    it may be used with the workshop's node size; ``digest``: changes with the environment's entry in the catalogue.
    """

    id: Slug
    live: bool
    fits: bool
    digest: PartDigest


class RehearsalPlace(Model):
    """What a class would find today at one factory of its workshop.

    ``seat``: what the factory allows the workshop now. ``size``: None if the node size is not in the catalogue any
    more. ``default``: the environment that is used if the workshop names none; None: none fits, or ``size`` is None.

    ``agreed``: what the site's agreement allows for workshops; at a testbed, everything. ``agreement``: a digest of all
    that was agreed with the site.

    ``lends``: whether accounts are lent to people there. ``wipes``: whether these accounts are emptied between two
    people. ``lendable``: how many accounts could be held for the workshop now; None: none are lent there. ``robots``:
    whether a robot could get a lent or shared account there.

    ``asked``: when the site last reported its nodes and reservations; None: not yet. ``reservation``: the workshop's
    reservation as the site reported it; None: the workshop has none, the site did not report it, it is over, or a
    rehearsal goes on. ``people``: the workshop's people who are not admitted at the factory today, and why.
    """

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
        """Return the environment with the id ``named``; if ``named`` is None, the factory's default environment.

        Return None if there is no such environment.
        """
        wanted = named or self.default
        return next((one for one in self.environments if one.id == wanted), None)


class RehearsalFacts(Model):
    """Response to ``GET /projects/{project}/rehearsal``: what a class of this workshop would find today.

    ``release``: the link's release; ``spent``: the GPU-hours that the project has used; ``reserved``: those that its
    jobs may still use. ``gpu_hours``: the most GPU-hours that all people of the project may use together;
    ``person_gpu_hours``: the most for each participant; ``staff_gpu_hours``: the most for each person who runs the
    workshop; None in one of these three: no such limit.
    ``places``: those of the workshop's factories that the gateway offers; while the workshop rehearses, only the
    factory of the rehearsal.
    """

    release: str = Field(max_length=100)
    spent: Amount
    reserved: Amount
    gpu_hours: Amount | None = None
    person_gpu_hours: Amount | None = None
    staff_gpu_hours: Amount | None = None
    places: tuple[RehearsalPlace, ...] = Field(max_length=20)


RehearsalColour = Literal["green", "yellow", "red"]
