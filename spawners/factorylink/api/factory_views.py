"""Makes the views of the catalogue for one person: what they may use, with health, free resources, estimated starts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import NamedTuple

from factorycommon.models import (
    Choice,
    ChoiceView,
    ComingView,
    CredentialView,
    Estimate,
    FactoryView,
    JobOptions,
    NodeSize,
    Phrase,
    ProjectId,
    ProjectView,
    ReadyView,
    ReservationView,
    SizeView,
)
from factorylink.catalogue.choices import offer, session_bounds, sized, walltime
from factorylink.catalogue.loading import (
    ChoiceError,
    default_environment,
    find_size,
    gpu_label,
    gpu_label_parts,
    smallest_size,
)
from factorylink.catalogue.prices import price
from factorylink.credentials.efp import NEVER
from factorylink.errors import FactoryError
from factorylink.explain import explain
from factorylink.ledger.charges import Charges
from factorylink.problems import ProblemError, from_link_error, gone, invalid, of_words, words_of
from factorylink.projects import reservations as reserved
from factorylink.projects.acceptances import Acceptances
from factorylink.projects.account_leases import AccountLeases, Grant
from factorylink.projects.book import ProjectBook
from factorylink.projects.permissions import Permissions, has
from factorylink.sessions.live_feed import LiveFeed
from factorylink.sessions.permission import Permission
from factorylink.sessions.submitter import Submitter
from factorylink.site import maintenance
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories
from factorylink.util import clock
from factorylink.util.event_feed import encode
from factorylink.util.rate_limiter import RateLimiter

# limit of one person's estimates: at once, and then per minute; a start page requests one for each size
ESTIMATES, ESTIMATES_PER_MINUTE = 40, 30
_STEP_SECONDS = 2.0  # seconds between two events to one reader
_HEARTBEAT_STEPS = 7
_ESTIMATE_KEPT = timedelta(minutes=10)  # older estimates are useless, since the queue has changed
_ESTIMATE_PASSED = timedelta(minutes=1)  # an estimate of "now" becomes useless earlier


class Shared(NamedTuple):
    """A factory's view without personal parts, and its JSON. ``made``: when it was made, by ``clock.ticks``."""

    made: float
    view: FactoryView
    json: str


class Offers:
    """Builds the views for the start page: factories, projects, estimates, and the person's choice."""

    def __init__(
        self,
        factories: OfferedFactories,
        projects: ProjectBook,
        permission: Permission,
        permissions: Permissions,
        account_leases: AccountLeases,
        acceptances: Acceptances,
        charges: Charges,
        submitter: Submitter,
        feed: LiveFeed,
    ) -> None:
        self._factories = factories
        self._projects = projects
        self._permission = permission
        self._permissions = permissions
        self._account_leases = account_leases
        self._acceptances = acceptances
        self._charges = charges
        self._submitter = submitter
        self._feed = feed
        # last estimate by factory, account and size, for the size's default hours
        self._estimates: dict[tuple[str, str, str], Estimate] = {}
        self._shared: dict[str, Shared] = {}  # views by factory, shared by all streams
        self._limiter = RateLimiter(ESTIMATES, ESTIMATES_PER_MINUTE)

    def views(self, user: str) -> list[FactoryView]:
        """Return the views of the factories that ``user`` may use, in the order of the factories' ids."""
        return [self._own(permissions, user, self._view(connection)) for connection, permissions in self._places(user)]

    async def projects(self, user: str) -> list[ProjectView]:
        """Return the person's projects, each with what is left of its budget for this person. Raises LedgerError.

        Projects that have ended or not begun are included.
        """
        return await self._projects.views(user, self._charges)

    def ready(self, user: str) -> ReadyView:
        """Return which kind of site account the person has, by project and factory, or why they can start nothing."""
        try:
            self._permissions.check(user)
        except ProblemError as error:
            return ReadyView(nothing=words_of(error.problem))
        return ReadyView(accounts=tuple(self._permissions.accounts(user, self._factories)))

    def coming(self) -> list[ComingView]:
        """Return the factories that have no machine yet; pages show them, but nobody can select them."""
        return self._factories.catalogue.coming()

    def _places(self, user: str) -> Iterator[tuple[FactoryConnection, list[Grant]]]:
        for _, connection in sorted(self._factories.items()):
            if permissions := self._permissions.all(connection, user):
                connection.site.look()
                yield connection, permissions

    async def stream(self, user: str) -> AsyncGenerator[bytes]:
        """Yield server-sent events: the views of the person's factories now, and again after each change.

        There is at most one event every ``_STEP_SECONDS``; without changes, comments keep the connection alive. The
        stream ends when the link closes its event streams.
        """
        last, quiet = "", 0
        while not self._feed.closed:
            views = [self._json(connection, permissions, user) for connection, permissions in self._places(user)]
            data = f"[{','.join(views)}]"
            if data != last:
                yield encode(("factories", data))
                last, quiet = data, 0
            elif quiet >= _HEARTBEAT_STEPS:
                yield b": still here\n\n"
                quiet = 0
            quiet += 1
            await asyncio.sleep(_STEP_SECONDS)  # free nodes change all the time, so wait before the next event

    def _json(self, connection: FactoryConnection, permissions: list[Grant], user: str) -> str:
        """Return a person's view of a factory in JSON.

        The part that is the same for all people is cached for all readers, for ``_STEP_SECONDS / 2``.
        """
        shared, now = self._shared.get(connection.factory.id), clock.ticks()
        if shared is None or now - shared.made >= _STEP_SECONDS / 2:
            view = self._view(connection)
            shared = self._shared[connection.factory.id] = Shared(now, view, view.model_dump_json())
        own = self._own(permissions, user, shared.view)
        return shared.json if own is shared.view else own.model_dump_json()

    async def estimate(
        self, factory_id: str, user: str, size: str, hours: float | None, project: ProjectId | None = None
    ) -> Estimate:
        """Return when a session of the node size ``size`` would start at the factory. Raises ProblemError.

        ``hours`` None: the size's default. ``project`` None: the person's first project that may use the size, or none
        if the person needs no project. Each person may request only a limited number of estimates per minute.
        """
        connection = self._factories.get(factory_id)
        if connection is None:
            raise gone(f"The factory {factory_id}")
        self._permission.estimate(connection, user)
        last = next((r.project.id for r in self._permissions.all(connection, user) if r.project and has(r, size)), None)
        grant = self._permissions.one(connection, user, project, size, last)
        account = self._account_leases.seen(grant, user)
        if account is None:
            raise of_words("forbidden", explain.own("no-account"))
        if (barred := connection.access_status.may_submit(account)) is not None:
            raise of_words("forbidden", barred)
        choice = self._permissions.resolve(grant, Choice(factory=factory_id, size=size, hours=hours))
        if self._limiter.wait(user, clock.ticks()):
            raise of_words("too-many", explain.own("too-many-estimates"))
        try:
            request = await self._submitter.sample(connection, account, choice)
            found = await connection.site.estimate(account, request, JobOptions().template)
        except FactoryError as error:
            raise from_link_error(error) from error
        if found.start is not None and choice.hours == find_size(grant.factory, size).default_hours:
            self._estimates[factory_id, account, choice.size] = found
        return found

    async def choice(self, user: str, wanted: Choice, cores: int | None, memory_gb: float | None) -> ChoiceView:
        """Return a choice with every default filled in, and its highest possible cost.

        If the choice names no factory, ``Permission.first_healthy`` selects one. If the choice names no size, ``cores``
        and ``memory_gb`` select the smallest size that has at least this many cores and GB, and that allows the
        choice's hours. If both are None, the default size is taken. Raises ProblemError if the catalogue or the
        person's project does not allow the choice, if there is no such size, or if the named size has fewer cores or
        GB; LedgerError. A start may still be refused for a reason that is not checked here, for example a drain, a
        limit or the budget.
        """
        connection = self._permission.connection(wanted.factory or self._permission.first_healthy(user, wanted.project))
        try:
            wanted = sized(connection.factory, wanted, cores, memory_gb)
        except ChoiceError as error:
            raise invalid(error.message, error.field) from error
        grant = await self._permission.grant(connection, user, wanted)
        choice = self._permissions.resolve(grant, wanted)
        own = self._own(self._permissions.all(connection, user), user, self._view(connection))
        size = next(view for view in own.sizes if view.size.id == choice.size)
        cost = size.price.of(walltime(choice.hours))
        return ChoiceView(choice=choice, machine=connection.factory.site.machine, size=size, cost=cost)

    def _estimate(self, connection: FactoryConnection, account: str, size: NodeSize) -> Estimate | None:
        """Return the last estimate for this account and node size (for its default hours), without asking the factory.

        None if there is no such estimate, if the estimate is older than ``_ESTIMATE_KEPT``, or if the estimated start
        was more than ``_ESTIMATE_PASSED`` ago.
        """
        known = self._estimates.get((connection.factory.id, account, size.id))
        if known is None or known.start is None:
            return None
        now = datetime.now(UTC)
        passed = now - known.start > _ESTIMATE_PASSED
        return None if passed or now - known.asked_at > _ESTIMATE_KEPT else known

    def _own(self, permissions: list[Grant], user: str, view: FactoryView) -> FactoryView:
        """Return the view with the parts that apply to this person only.

        Returns the object ``view`` itself if there are no such parts.
        """
        connection, own = permissions[0].connection, dict[str, object]()
        account = self._account_leases.seen(permissions[0], user) or ""
        if theirs := reserved.offered(permissions, user, self._account_leases):
            own["reservations"] = theirs
        sizes = [
            self._own_size(permissions, account, of, theirs)
            for of in view.sizes
            if any(has(r, of.size.id) for r in permissions)
        ]
        if any(ours is not theirs for ours, theirs in zip_longest(sizes, view.sizes)):
            own["sizes"] = tuple(sizes)
            if view.default_size not in {of.size.id for of in sizes}:
                own["default_size"] = smallest_size(permissions[0].factory).id
        if (rules_open := self._acceptances.open(user, connection.factory)) is not None:
            own["rules_open"] = rules_open
        if projects := tuple(grant.project.id for grant in permissions if grant.project is not None):
            own |= {"projects": projects, "project_needed": all(grant.project is not None for grant in permissions)}
        if (url := connection.access_status.renew_url) is not None:
            until = connection.access_status.valid_until(account)
            own["credential"] = CredentialView(renew_url=url, until=None if until == NEVER else until)
        return view.model_copy(update=own) if own else view

    def _own_size(
        self, permissions: list[Grant], account: str, of: SizeView, reservations: Iterable[ReservationView]
    ) -> SizeView:
        own: dict[str, object] = {}
        if (estimate := self._estimate(permissions[0].connection, account, of.size)) is not None:
            own["estimate"] = estimate
        if projects := tuple(r.project.id for r in permissions if r.project is not None and has(r, of.size.id)):
            own["projects"] = projects
            inside = {one.id: next((each for each in projects if each in one.projects), None) for one in reservations}
            needed = all(grant.project is not None for grant in permissions)
            preset = {
                "project": projects[0] if needed else None,
                "project_in": {name: each for name, each in inside.items() if each},
            }
            own["offer"] = of.offer.model_copy(update=preset)
        return of.model_copy(update=own) if own else of

    def _view(self, connection: FactoryConnection) -> FactoryView:
        factory = connection.factory
        smallest = smallest_size(factory)
        health = self._factories.health(factory.id)
        coming = connection.site.maintenance()
        sizes = tuple(
            SizeView(
                size=size.model_copy(update={"note": ""}),
                gpu_label=gpu_label(factory, size),
                gpu_label_parts=tuple(Phrase.model_validate({"text": one}) for one in gpu_label_parts(factory, size)),
                offer=offer(factory, size),
                price=(costs := price(factory, size)),
                billed_gpus=math.ceil(costs.counted),
                fits_now=connection.site.fits_now(size) if health.state == "ok" else 0,
                fits_until=closed.start if (closed := maintenance.closing(coming, size.partition)) else None,
            )
            for size in factory.sizes
        )
        return FactoryView(
            id=factory.id,
            name=factory.name,
            site=factory.site,
            scheduler=factory.scheduler,
            accelerator=factory.accelerator,
            health=health.model_copy(update={"answered_at": None, "answer_seconds": None}),
            partitions=connection.site.view_loads(),
            sizes=sizes,
            maintenance=coming,
            largest_now=_largest(sizes),
            environments=factory.environments,
            default_environment=default_environment(factory, smallest).id,
            default_size=smallest.id,
            folder=factory.notebook_folder,
            outbound=factory.outbound,
            idle=factory.idle,
            bounds=session_bounds(factory),
            hints=factory.hints,
        )


def _largest(sizes: tuple[SizeView, ...]) -> str | None:
    fitting = [view.size for view in sizes if view.fits_now]
    return max(fitting, key=lambda size: (size.share, size.cores)).id if fitting else None
