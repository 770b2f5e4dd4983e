"""The catalogue as a person sees it, with health and free resources."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import Field

from factorycommon.messages import joined
from factorycommon.models.antennas import Antenna
from factorycommon.models.base import Model, Point, ProjectId, Slug, UnixAccount
from factorycommon.models.catalogue import Accelerator, Environment, Folder, Hint, IdleLimits, NodeSize
from factorycommon.models.entry import Coming, Seat, SiteInfo
from factorycommon.models.messages import Phrase
from factorycommon.models.prices import Cost, Price
from factorycommon.models.projects import Mode
from factorycommon.models.requests import ResolvedChoice
from factorycommon.models.rules import AccountHelp, SiteRules
from factorycommon.models.scheduler import Estimate
from factorycommon.models.sessions import Words


class Health(Model):
    """Whether a factory answers; ``answer_seconds``: how long its last good answer took."""

    state: Literal["ok", "unreachable", "draining", "starting"]
    since: datetime
    words: Words | None = None
    answered_at: datetime | None = None  # last good answer
    answer_seconds: float | None = None


class PartitionLoad(Model):
    """What is free in a partition now."""

    name: str
    gpus_total: int
    gpus_free: int
    cores_total: int
    cores_free: int
    pending: int  # jobs waiting that we can see
    node_gpus_free: int = 0  # together on one node: the most that one job could get of them
    node_cores_free: int = 0
    nodes_out: int = 0  # out of use: drained or down
    out_since: datetime | None = None  # since when that many are


class Bounds(Model):
    """What a number may be, and what it is where nothing is chosen. ``preset``: None: nothing, which is allowed."""

    least: float
    most: float
    preset: float | None = None

    def nearest(self, wanted: float | None) -> float | None:
        """Return the allowed value that is nearest to ``wanted``; the preset if ``wanted`` is None."""
        return self.preset if wanted is None else min(self.most, max(self.least, wanted))


class Offer(Model):
    """What may be chosen with a node size, and what is preset where nothing is chosen or something does not fit.

    ``environment``: None: none fits; ``project``: None: none is needed, or none may have the size; ``project_in``:
    what is preset for who wants a reservation, by its id."""

    environments: tuple[Slug, ...]
    environment: Slug | None
    hours: Bounds
    project: ProjectId | None = None
    project_in: Mapping[str, ProjectId] = Field(default_factory=dict)

    def nearest_environment(self, wanted: Slug | None) -> Slug | None:
        """Return the environment ``wanted`` if it is offered, else the preset one."""
        return wanted if wanted in self.environments else self.environment


class SessionBounds(Model):
    """What may be chosen with every node size of a factory."""

    idle_minutes: Bounds
    unopened_minutes: Bounds
    give_up_hours: Bounds


class SizeView(Model):
    """A node size as a person sees it: what it has and costs, what is free, when it would start."""

    size: NodeSize
    gpu_label: str  # "1 x A100 64 GB", "no GPU"
    gpu_label_parts: tuple[Phrase, ...] = ()  # what stands between the commas of gpu_label
    fits_now: int  # how many more of this size could start now; 0: none
    offer: Offer
    price: Price
    projects: tuple[ProjectId, ...] = ()  # of the person's, those that may have it
    billed_gpus: int = 0  # as price.counted
    estimate: Estimate | None = None  # last known, for the size's default hours
    fits_until: datetime | None = None  # a maintenance of all its nodes begins then, or has begun

    @property
    def gpu_label_message(self) -> str:
        """Return the label, to be translated part by part."""
        parts = self.gpu_label_parts
        return joined(*(part.as_message("text") for part in parts), separator=", ") if parts else self.gpu_label

    def nearest_project(self, wanted: ProjectId | None) -> ProjectId | None:
        """Return the project ``wanted`` if it may use the size, else the preset one."""
        return wanted if wanted in self.projects else self.offer.project


class MaintenanceView(Model):
    """Nodes that are taken out of use for a time. ``closes``: partitions that it leaves no node of."""

    name: str
    start: datetime
    end: datetime
    nodes: int  # how many; 0: not known
    closes: tuple[str, ...] = ()


class ReservationView(Model):
    """Nodes that are set aside for a person now. ``partition``: whose they are; empty: of any."""

    id: str  # what a choice names
    name: str
    end: datetime
    partition: str = ""
    projects: tuple[ProjectId, ...] = ()  # of the person's, those that are in it; empty: none is needed


class CredentialView(Model):
    """A login of a person's own that a factory needs. ``until``: None: there is none yet; it may be in the past."""

    renew_url: str
    until: datetime | None = None


class FactoryView(Model):
    """``GET /services/factories/api/factories`` gives a list of these."""

    id: Slug
    name: str
    site: SiteInfo
    scheduler: str
    accelerator: Accelerator
    health: Health
    credential: CredentialView | None = None  # None: nothing is needed of the person
    rules_open: Words | None = None  # why nothing of theirs starts there: its rules, which they have not accepted
    projects: tuple[ProjectId, ...] = ()  # the person's that may be used there; empty: none is needed
    partitions: tuple[PartitionLoad, ...] = ()
    sizes: tuple[SizeView, ...] = ()
    maintenance: tuple[MaintenanceView, ...] = ()  # the next one first
    reservations: tuple[ReservationView, ...] = ()  # that this person may use now
    largest_now: Slug | None = None  # the largest size that could start now, all of it on one node
    environments: tuple[Environment, ...] = ()
    default_environment: Slug
    default_size: Slug
    folder: Folder
    outbound: Literal["compute", "login", "none", "unknown"]
    idle: IdleLimits
    bounds: SessionBounds
    hints: tuple[Hint, ...] = ()


class ChoiceView(Model):
    """A choice with nothing left open, what it is of, and what it costs at most."""

    choice: ResolvedChoice
    machine: str  # what people call the factory
    size: SizeView
    cost: Cost


class ComingView(Model):
    """A factory without a machine yet, as the start page names it."""

    id: Slug
    name: str
    site: Seat
    coming: Coming | None


class ProjectView(Model):
    """A project as one of its people sees it. GPU-hours over all factories; ``granted`` and ``left`` None: not counted.
    ``reserved``: of what runs or waits. ``usable``: it has begun and not ended."""

    id: ProjectId
    title: str
    mode: Mode
    role: Literal["member", "manager"]
    usable: bool
    begins: datetime | None = None
    ends: datetime | None = None
    max_hours: float | None = None  # of one session
    granted: float | None = None
    spent: float = 0.0
    reserved: float = 0.0
    left: float | None = None
    factories: tuple[Slug, ...]


AccountKind = Literal["own", "lent", "shared", "missing"]


class AccountView(Model):
    """As whom somebody would work at a factory for a project. ``lent``: by the project, when they start; ``shared``:
    with others of this gateway; ``missing``: they have no account there, so they cannot."""

    project: ProjectId
    factory: Slug
    machine: str
    account: AccountKind


class ReadyView(Model):
    """What somebody needs before they can begin. ``nothing``: why they can begin nothing anywhere."""

    nothing: Words | None = None
    accounts: tuple[AccountView, ...] = ()


class AccountThere(Model):
    """As whom somebody works at a site, and for which of their projects, where they need one. ``name``: None where none
    is theirs at this moment."""

    kind: AccountKind
    name: UnixAccount | None = None
    projects: tuple[ProjectId, ...] = ()


class SiteCheck(Model):
    """One site on somebody's checklist. ``accepted_at``: when they accepted the present version of its rules."""

    factory: Slug
    name: str
    machine: str
    accounts: tuple[AccountThere, ...]
    account_help: AccountHelp | None = None
    rules: SiteRules | None = None
    accepted_at: datetime | None = None

    @property
    def rules_open(self) -> bool:
        """Whether there are rules that this person has not accepted."""
        return self.rules is not None and self.accepted_at is None

    @property
    def lacks_account(self) -> bool:
        """Whether some project of theirs has no account there for them."""
        return any(account.kind == "missing" for account in self.accounts)

    @property
    def awaits(self) -> bool:
        """Whether its rules are what keeps this person from starting there."""
        return self.rules_open and any(account.kind != "missing" for account in self.accounts)


class ChecklistView(Model):
    """What somebody has of what they need. ``nothing``: why they can begin nothing anywhere; ``antenna``: the one that
    they came by."""

    nothing: Words | None = None
    antenna: Antenna | None = None
    projects: tuple[ProjectView, ...] = ()
    sites: tuple[SiteCheck, ...] = ()


class NetworkFactory(Model):
    """A factory of the network as anybody may see it. ``health``: None where this hub does not offer it.
    ``partitions``: those that its sizes use, as far as known, as they were at ``loads_at``."""

    id: Slug
    name: str
    state: Literal["live", "template", "planned"]
    machine: str | None  # of today; None: none yet
    coming: str | None  # the machine that it is to get
    host: str
    city: str
    country: str
    at: Point | None
    health: Health | None
    partitions: tuple[PartitionLoad, ...] = ()
    loads_at: datetime | None = None
    maintenance: tuple[MaintenanceView, ...] = ()  # without names, the next one first


class NetworkAntenna(Model):
    """An antenna, and the factories that its people run on."""

    id: Slug
    name: str
    country: str
    at: Point | None
    factories: tuple[Slug, ...]


class NetworkView(Model):
    """The whole network, with nothing in it of any person: for the map and the public status page."""

    factories: tuple[NetworkFactory, ...]
    antennas: tuple[NetworkAntenna, ...]
