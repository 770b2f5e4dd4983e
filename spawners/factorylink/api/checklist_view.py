"""Builds a person's checklist: the projects, site accounts and accepted rules that they need to start a session."""

from __future__ import annotations

from collections.abc import Iterator

from factorycommon.models import (
    ANTENNA,
    AccountKind,
    AccountThere,
    Antenna,
    ChecklistView,
    ProjectAt,
    ProjectId,
    SiteCheck,
    Slug,
)
from factorylink.ledger.charges import Charges
from factorylink.problems import ProblemError, gone, words_of
from factorylink.projects.acceptances import Acceptances
from factorylink.projects.account_leases import AccountLeases
from factorylink.projects.book import ProjectBook
from factorylink.projects.people import KnownPeople
from factorylink.projects.permissions import Permissions
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories


class Checklist:
    """Builds a person's checklist of what they need to start a session: projects, site accounts, accepted rules.

    Also records that a person accepts a site's rules.
    """

    def __init__(
        self,
        factories: OfferedFactories,
        people: KnownPeople,
        projects: ProjectBook,
        permissions: Permissions,
        account_leases: AccountLeases,
        acceptances: Acceptances,
        charges: Charges,
    ) -> None:
        self._factories = factories
        self._people = people
        self._projects = projects
        self._permissions = permissions
        self._account_leases = account_leases
        self._acceptances = acceptances
        self._charges = charges

    async def of(self, user: str) -> ChecklistView:
        """Return a person's checklist as it is now. Raises LedgerError."""
        nothing = None
        try:
            self._permissions.check(user)
        except ProblemError as error:
            nothing = words_of(error.problem)
        return ChecklistView(
            nothing=nothing,
            antenna=self._antenna(user),
            projects=tuple(await self._projects.views(user, self._charges)),
            sites=tuple(self._sites(user)),
        )

    def site(self, factory_id: Slug, user: str | None) -> SiteCheck:
        """Return a site's rules, and when the person accepted them; site accounts are left out.

        The person need not be allowed to use the site. ``user`` None: a person whom the hub does not know yet. Raises
        ProblemError if the gateway does not offer the factory.
        """
        connection = self._factories.get(factory_id)
        if connection is None:
            raise gone(f"The factory {factory_id}")
        factory = connection.factory
        return SiteCheck(
            factory=factory.id,
            name=factory.name,
            machine=factory.site.machine,
            accounts=(),
            rules=factory.site.rules,
            accepted_at=None if user is None else self._acceptances.at(user, factory),
        )

    async def accept(self, user: str, factory_id: Slug, version: str) -> None:
        """Record in the ledger that a person accepts ``version`` of a site's rules.

        Raises ProblemError if the gateway does not offer the factory, the site has no rules, or ``version`` is not the
        present version of the rules. Raises LedgerError.
        """
        connection = self._factories.get(factory_id)
        if connection is None:
            raise gone(f"The factory {factory_id}")
        await self._acceptances.accept(user, connection.factory, version)

    def _sites(self, user: str) -> Iterator[SiteCheck]:
        if self._projects.blocked(user):
            return
        for name, connection in sorted(self._factories.items()):
            if accounts := self._accounts(user, connection):
                site = connection.factory.site
                yield SiteCheck(
                    factory=name,
                    name=connection.factory.name,
                    machine=site.machine,
                    accounts=accounts,
                    account_help=site.account_help,
                    rules=site.rules,
                    accepted_at=self._acceptances.at(user, connection.factory),
                )

    def _accounts(self, user: str, connection: FactoryConnection) -> tuple[AccountThere, ...]:
        """Return the person's site accounts at a factory, each with the projects that use it.

        The account for work without a project is included if the person needs no project. Empty if the person needs a
        project, and none of theirs may use the factory.
        """
        at: dict[ProjectId | None, ProjectAt] = {} if self._projects.needed(user) else {None: ProjectAt()}
        mine = self._projects.of(user)
        at |= {p.id: p.factories[connection.factory.id] for p in mine if connection.factory.id in p.factories}
        found: dict[tuple[AccountKind, str | None], list[ProjectId]] = {}
        for project, there in at.items():
            key = (
                self._account_leases.kind(connection, there, user),
                self._account_leases.name(connection, there, user),
            )
            found.setdefault(key, []).extend([] if project is None else [project])
        return tuple(AccountThere(kind=kind, name=name, projects=tuple(ids)) for (kind, name), ids in found.items())

    def _antenna(self, user: str) -> Antenna | None:
        person, antennas = self._people.get(user), self._factories.catalogue.antennas
        if person is None or antennas is None:
            return None
        return next((one for one in antennas.antennas if f"{ANTENNA}{one.id}" in person.groups), None)
