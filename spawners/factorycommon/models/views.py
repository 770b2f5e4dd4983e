"""The models of the catalogue as a person sees it, with health and free resources."""

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
    """Whether a factory answers the link, and whether an operator lets sessions start there.

    ``state``: ``draining`` means that an operator lets nothing new start there; ``starting`` means that the link has
    started, and its first question to the factory is not answered yet. ``words``: the explanation of the state; None
    for ``ok`` and ``starting``. ``since``: when the state last changed, as far as the link knows; the beginning and the
    end of a drain do not count as changes. ``answer_seconds``: how long the factory's last successful answer took;
    None: there was no answer yet, or the view that contains this ``Health`` leaves the time out.
    """

    state: Literal["ok", "unreachable", "draining", "starting"]
    since: datetime
    words: Words | None = None
    answered_at: datetime | None = None  # time of the last successful answer
    answer_seconds: float | None = None


class PartitionLoad(Model):
    """The total and the free resources of a partition, as the scheduler last reported them."""

    name: str
    gpus_total: int
    gpus_free: int
    cores_total: int
    cores_free: int
    pending: int  # number of visible waiting jobs
    # what is free on the node with the most free GPUs (of several, the one with the most free cores)
    node_gpus_free: int = 0
    node_cores_free: int = 0
    nodes_out: int = 0  # nodes out of use: drained or down
    out_since: datetime | None = None  # since when this number of nodes has been out of use


class Bounds(Model):
    """The allowed range of a number.

    ``preset``: the value if a person chooses none; None: the person may leave the field empty, and then there is no
    value.
    """

    least: float
    most: float
    preset: float | None = None

    def nearest(self, wanted: float | None) -> float | None:
        """Return the allowed value that is nearest to ``wanted``; the preset if ``wanted`` is None."""
        return self.preset if wanted is None else min(self.most, max(self.least, wanted))


class Offer(Model):
    """The possible choices for a node size, and the presets for fields that a person leaves open.

    Pages and widgets also use the preset environment or project in place of a choice that is not possible, and the
    nearest bound in place of hours out of bounds. ``environment``: the preset; None: no environment fits. ``project``:
    the preset; None: no project is needed, or none of the person's projects may use the size. ``project_in``: the
    preset project for people who choose a reservation, by the reservation's id.
    """

    environments: tuple[Slug, ...]
    environment: Slug | None
    hours: Bounds
    project: ProjectId | None = None
    project_in: Mapping[str, ProjectId] = Field(default_factory=dict)

    def nearest_environment(self, wanted: Slug | None) -> Slug | None:
        """Return the environment ``wanted`` if it is offered, else the preset one; None if no environment fits."""
        return wanted if wanted in self.environments else self.environment


class SessionBounds(Model):
    """The bounds of three limits that a person may choose for a session; the same for all node sizes of a factory.

    ``unopened_minutes``: after how long a session ends if nobody opens it; ``idle_minutes``: how long after its last
    use a session ends; ``give_up_hours``: after how long a session that has not started is cancelled.
    """

    idle_minutes: Bounds
    unopened_minutes: Bounds
    give_up_hours: Bounds


class SizeView(Model):
    """A node size as a person sees it: hardware, price, free resources, and expected start."""

    size: NodeSize
    gpu_label: str  # for example "1 x A100 64 GB", "no GPU"
    gpu_label_parts: tuple[Phrase, ...] = ()  # the parts of gpu_label, which commas separate
    fits_now: int  # how many more sessions of this size could start now; 0: none
    offer: Offer
    price: Price
    projects: tuple[ProjectId, ...] = ()  # the person's projects that may use this size
    billed_gpus: int = 0  # ``price.counted``, rounded up
    estimate: Estimate | None = None  # last known estimate, for the size's default hours
    fits_until: datetime | None = None  # when a maintenance of all its nodes starts, or started

    @property
    def gpu_label_message(self) -> str:
        """Return ``gpu_label`` as a message whose parts are translated one by one."""
        parts = self.gpu_label_parts
        return joined(*(part.as_message("text") for part in parts), separator=", ") if parts else self.gpu_label

    def nearest_project(self, wanted: ProjectId | None) -> ProjectId | None:
        """Return the project ``wanted`` if it may use the size, else the preset one, which may be None."""
        return wanted if wanted in self.projects else self.offer.project


class MaintenanceView(Model):
    """A maintenance: nodes that are out of use for some time.

    ``closes``: the partitions that lose all their nodes; all partitions of the factory, if the nodes are not known.
    """

    name: str
    start: datetime
    end: datetime
    nodes: int  # number of nodes; 0: not known
    closes: tuple[str, ...] = ()


class ReservationView(Model):
    """A reservation that a person can use now.

    ``partition``: the only partition whose jobs may use it; "" if jobs of every partition may.
    """

    id: str  # the id that a choice uses
    name: str
    end: datetime
    partition: str = ""
    projects: tuple[ProjectId, ...] = ()  # the person's projects that may use it; empty: no project is needed


class CredentialView(Model):
    """The person's own login at a factory that needs one.

    ``renew_url``: where the person gets a token for a new login; ``until``: when the present login expires, which may
    be in the past, None: the link holds no login of the person.
    """

    renew_url: str
    until: datetime | None = None


class FactoryView(Model):
    """A factory as one person sees it. ``GET /services/factories/api/factories`` returns a list of these."""

    id: Slug
    name: str
    site: SiteInfo
    scheduler: str
    accelerator: Accelerator
    health: Health
    credential: CredentialView | None = None  # the person's own login there; None: none is needed
    rules_open: Words | None = None  # why the person can start nothing there: its rules, which they have not accepted
    projects: tuple[ProjectId, ...] = ()  # the person's projects that can be used there; empty: no project is needed
    project_needed: bool = True  # False: the person may also start something there without any of ``projects``
    partitions: tuple[PartitionLoad, ...] = ()
    sizes: tuple[SizeView, ...] = ()
    maintenance: tuple[MaintenanceView, ...] = ()  # sorted by start
    reservations: tuple[ReservationView, ...] = ()  # reservations that this person may use now
    largest_now: Slug | None = None  # the largest size that could start now on a single node
    environments: tuple[Environment, ...] = ()
    default_environment: Slug
    default_size: Slug
    folder: Folder
    outbound: Literal["compute", "login", "none", "unknown"]
    idle: IdleLimits
    bounds: SessionBounds
    hints: tuple[Hint, ...] = ()


class ChoiceView(Model):
    """A choice with all defaults filled in, its node size as the person sees it, and its highest possible cost."""

    choice: ResolvedChoice
    machine: str  # the factory's name for people
    size: SizeView
    cost: Cost


class ComingView(Model):
    """A factory that has no machine yet, as the start page shows it.

    ``site``: the institution that hosts the factory; ``coming``: the planned machine, None: nothing is known about it.
    """

    id: Slug
    name: str
    site: Seat
    coming: Coming | None


class ProjectView(Model):
    """A project as one of its people sees it.

    GPU-hours are sums over all factories. ``granted``, ``spent`` and ``reserved`` are those of the whole project.
    ``granted``: None if the gateway does not limit the project; ``reserved``: GPU-hours held for running and waiting
    jobs. ``left``: what this person may still use, which is the rest of the project's GPU-hours or of the person's
    share, whichever is less; None: neither has a limit. ``usable``: True if the project has begun and has not ended,
    and the person is not blocked.
    """

    id: ProjectId
    title: str
    mode: Mode
    role: Literal["member", "manager"]
    usable: bool
    begins: datetime | None = None
    ends: datetime | None = None
    max_hours: float | None = None  # longest walltime of one session
    granted: float | None = None
    spent: float = 0.0
    reserved: float = 0.0
    left: float | None = None
    factories: tuple[Slug, ...]


AccountKind = Literal["own", "lent", "shared", "missing"]


class AccountView(Model):
    """The site account under which a person would work at a factory for a project.

    ``account`` is the kind of account. ``own``: the person's own account; ``lent``: the project lends the person an
    account when they start something; ``shared``: several people of this gateway share the account; ``missing``: the
    person has no account there, so they cannot start anything for this project.
    """

    project: ProjectId
    factory: Slug
    machine: str
    account: AccountKind


class ReadyView(Model):
    """The kind of site account that a person would use for each project and factory, or why they can start nothing.

    ``nothing``: why the person can start nothing at any factory, for example because they are blocked, or need a
    project and can use none now; None: no such reason is known. Missing site accounts are no such reason.
    """

    nothing: Words | None = None
    accounts: tuple[AccountView, ...] = ()


class AccountThere(Model):
    """A person's account at a site, and which of the person's projects use it.

    ``name``: None if the person has no account at the moment; ``projects``: empty if the account is only for work
    without a project.
    """

    kind: AccountKind
    name: UnixAccount | None = None
    projects: tuple[ProjectId, ...] = ()


class SiteCheck(Model):
    """One site on a person's checklist.

    ``accepted_at``: when the person accepted the present version of the site's rules; None: not yet, or the site has
    no rules.
    """

    factory: Slug
    name: str
    machine: str
    accounts: tuple[AccountThere, ...]
    account_help: AccountHelp | None = None
    rules: SiteRules | None = None
    accepted_at: datetime | None = None

    @property
    def rules_open(self) -> bool:
        """Return True if the site has rules that this person has not accepted."""
        return self.rules is not None and self.accepted_at is None

    @property
    def lacks_account(self) -> bool:
        """Return True if the person has no account at the site for at least one project that they may use there now.

        An account that the project would lend the person counts as the person's. For people who need no project, work
        without a project counts as a project.
        """
        return any(account.kind == "missing" for account in self.accounts)

    @property
    def awaits(self) -> bool:
        """Return True if the person has not accepted the site's rules, and has or can get an account there.

        An account for one of their projects, or for work without a project, is enough.
        """
        return self.rules_open and any(account.kind != "missing" for account in self.accounts)


class ChecklistView(Model):
    """A person's checklist: which requirements for starting a session they meet.

    ``nothing``: as in ``ReadyView``; ``antenna``: the antenna through which the person logged in, None: none is known.
    """

    nothing: Words | None = None
    antenna: Antenna | None = None
    projects: tuple[ProjectView, ...] = ()
    sites: tuple[SiteCheck, ...] = ()


class NetworkSize(Model):
    """A node size of a ``NetworkFactory``. ``parts``: the parts of the size's description on the start page."""

    id: Slug
    parts: tuple[Phrase, ...] = ()

    @property
    def label(self) -> str:
        """Return the description as one text; the size's id if there is no description."""
        return ", ".join(part.text for part in self.parts) or self.id


class NetworkFactory(Model):
    """A factory in ``NetworkView``, the public view of the network.

    ``host``: the institution that hosts the factory; ``health``: None if this hub does not offer the factory;
    ``sizes``: the factory's node sizes, empty if this hub does not offer the factory; ``partitions``: the partitions of
    these sizes, with what was free there at the time ``loads_at``. ``loads_at`` None: nothing was reported yet, or this
    hub does not offer the factory.
    """

    id: Slug
    name: str
    state: Literal["live", "template", "planned"]
    machine: str | None  # the present machine; None: there is none yet
    coming: str | None  # the planned machine
    host: str
    city: str
    country: str
    at: Point | None
    health: Health | None
    partitions: tuple[PartitionLoad, ...] = ()
    sizes: tuple[NetworkSize, ...] = ()
    loads_at: datetime | None = None
    maintenance: tuple[MaintenanceView, ...] = ()  # without names, sorted by start


class NetworkAntenna(Model):
    """An antenna, and the ids of the factories to which it is linked."""

    id: Slug
    name: str
    country: str
    at: Point | None
    factories: tuple[Slug, ...]


class NetworkView(Model):
    """The whole network without personal data: for the map and the public status page."""

    factories: tuple[NetworkFactory, ...]
    antennas: tuple[NetworkAntenna, ...]
