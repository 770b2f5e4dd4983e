"""Decides the factory, the site account and the defaults of a new session. ``permission`` decides who may start one."""

from __future__ import annotations

from contextlib import suppress

from factorycommon.models import Choice, ResolvedChoice, SessionRequest
from factorylink.catalogue.choices import paying
from factorylink.catalogue.loading import ChoiceError, shortened
from factorylink.ledger.ledger import Ledger
from factorylink.problems import ProblemError, invalid
from factorylink.projects import reservations as reserved
from factorylink.projects.account_leases import AccountLeases, Grant
from factorylink.projects.permissions import Permissions
from factorylink.sessions.permission import Permission
from factorylink.site.factory_connection import FactoryConnection
from factorylink.util import clock


class Admission:
    """Decides before anything is written; a refusal has an explanation."""

    def __init__(
        self,
        ledger: Ledger,
        permission: Permission,
        permissions: Permissions,
        account_leases: AccountLeases,
    ) -> None:
        self._ledger = ledger
        self._permission = permission
        self._permissions = permissions
        self._account_leases = account_leases

    async def admit(self, request: SessionRequest) -> tuple[FactoryConnection, ResolvedChoice, str]:
        """Return the factory, choice and site account of a session that may start. Raises ProblemError.

        Call this inside ``AccountLeases.beginning``.
        """
        self._permission.person(request.user)
        grant, choice = await self._choose(request)
        self._permission.at(grant.connection, request.user)
        self._permission.one_more_session(request.user)
        account = await self._account_leases.account(grant, request.user)
        self._permission.account(grant.connection, account)
        if choice.reservation is not None:
            await self._reserved(grant, account, choice.reservation, request)
        return grant.connection, choice, account

    async def _choose(self, request: SessionRequest) -> tuple[Grant, ResolvedChoice]:
        user, choice = request.user, request.choice
        if choice == Choice() and (found := await self._last(user, request.server)) is not None:
            return found
        connection = self._permission.connection(choice.factory or self._permission.first_healthy(user, choice.project))
        try:
            choice = shortened(connection.factory, choice, clock.now())
        except ChoiceError as error:
            raise invalid(error.message, error.field) from error
        grant = await self._permission.grant(connection, user, choice)
        return grant, self._permissions.resolve(grant, choice)

    async def _last(self, user: str, server: str) -> tuple[Grant, ResolvedChoice] | None:
        """Return the permission and the choice of the server's last session, which replace an empty choice.

        None if there was no such session, or if its choice is no longer possible: then the defaults are used.
        """
        for record in await self._ledger.recent(user, server, limit=1):
            # The reservation and the permission for tokens in URLs are not repeated: a reservation ends, and people
            # must allow such tokens each time.
            last = Choice(**record.choice.model_dump(exclude={"reservation", "url_tokens"}))
            with suppress(ProblemError):
                grant = self._permissions.one(
                    self._permission.connection(record.factory), user, last.project, last.size
                )
                return grant, self._permissions.resolve(grant, last)
        return None

    async def _reserved(self, grant: Grant, account: str, name: str, request: SessionRequest) -> None:
        """Raise ProblemError unless a job may run in the reservation ``name``.

        The reservation must also admit the account that is charged.
        """
        pays = paying(grant.connection.access, grant.at, request.options)
        if all(one.id != name for one in await grant.connection.site.reservations_now(account, pays)):
            theirs = reserved.offered(
                self._permissions.all(grant.connection, request.user),
                request.user,
                self._account_leases,
            )
            raise reserved.refusal(name, grant, theirs)
