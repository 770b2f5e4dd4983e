"""What a session is to be: where, as whom, and with what filled in. Who may begin one is asked of ``permission``."""

from __future__ import annotations

from contextlib import suppress

from factorycommon.models import Choice, ResolvedChoice, SessionRequest
from factorylink.catalogue.choices import paying
from factorylink.catalogue.loading import ChoiceError, shortened
from factorylink.problems import ProblemError, invalid
from factorylink.projects import reservations as reserved
from factorylink.projects.account_leases import Right
from factorylink.sessions.link_state import LinkState
from factorylink.sessions.permission import Permission
from factorylink.site.factory_connection import FactoryConnection
from factorylink.util import clock


class Admission:
    """Says no in words before anything is written."""

    def __init__(self, link_state: LinkState) -> None:
        self._link_state = link_state
        self._permission = Permission(link_state)

    async def admit(self, request: SessionRequest) -> tuple[FactoryConnection, ResolvedChoice, str]:
        """Factory, choice and site account. Call it while the person is ``beginning``. Raises ProblemError."""
        self._permission.person(request.user)
        right, choice = await self._choose(request)
        self._permission.at(right.place, request.user)
        self._permission.one_more_session(request.user)
        account = await self._link_state.account_leases.account(right, request.user)
        self._permission.account(right.place, account)
        if choice.reservation is not None:
            await self._reserved(right, account, choice.reservation, request)
        return right.place, choice, account

    async def _choose(self, request: SessionRequest) -> tuple[Right, ResolvedChoice]:
        user, choice = request.user, request.choice
        if choice == Choice() and (found := await self._last(user, request.server)) is not None:
            return found
        place = self._permission.place(choice.factory or self._permission.first_healthy(user, choice.project))
        try:
            choice = shortened(place.factory, choice, clock.now())
        except ChoiceError as error:
            raise invalid(error.message, error.field) from error
        right = await self._permission.right(place, user, choice)
        return right, self._link_state.permissions.resolve(right, choice)

    async def _last(self, user: str, server: str) -> tuple[Right, ResolvedChoice] | None:
        """An empty choice means the server's last one, where it is still possible; else all defaults."""
        for row in await self._link_state.ledger.recent(user, server, limit=1):
            # A reservation is over by another day; what lets tokens into addresses is asked for each time.
            last = Choice(**row.choice.model_dump(exclude={"reservation", "url_tokens"}))
            with suppress(ProblemError):
                right = self._link_state.permissions.one(
                    self._permission.place(row.factory), user, last.project, last.size
                )
                return right, self._link_state.permissions.resolve(right, last)
        return None

    async def _reserved(self, right: Right, account: str, name: str, request: SessionRequest) -> None:
        """Whether that job may run in the reservation: the account that pays for it has to be in it, too."""
        pays = paying(right.place.access, right.at, request.options)
        if all(one.id != name for one in await right.place.site.reservations_now(account, pays)):
            theirs = reserved.offered(
                self._link_state.permissions.all(right.place, request.user),
                request.user,
                self._link_state.account_leases,
            )
            raise reserved.refusal(name, right, theirs)
