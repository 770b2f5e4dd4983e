"""Decides the factory, the site account and the defaults of a new session.

The module ``permission`` (next to this one) decides who may start a session.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from factorycommon.models import Choice, Reservation, ResolvedChoice, SessionRequest
from factorylink.catalogue.choices import paying
from factorylink.catalogue.loading import ChoiceError, find_size, shortened
from factorylink.catalogue.prices import gpus_of
from factorylink.ledger.charges import HOUR, Charges, OverBudget
from factorylink.ledger.ledger import Ledger
from factorylink.problems import ProblemError, invalid
from factorylink.projects import reservations as reserved
from factorylink.projects.account_leases import AccountLeases, Grant
from factorylink.projects.permissions import Permissions
from factorylink.sessions.permission import Permission
from factorylink.site.factory_connection import FactoryConnection
from factorylink.util import clock

LEAST_SEAT_HOURS = 0.25  # a share of the budget that allows less is refused, and not used up by a seat


@dataclass(frozen=True)
class SeatTerms:
    """The terms of a session that is started for a seat of a workshop.

    ``unopened_until``: the session waits at least until this time for somebody to open it. ``early_hours``: the time
    from the start of the session to that of the class; it is added to the session's hours if possible. ``leaves``: how
    many of the person's other sessions end before this one starts; they do not count towards the person's limits.
    """

    unopened_until: datetime
    early_hours: float = 0.0
    leaves: int = 0


class Admission:
    """Checks whether a session may start, and decides its factory, its site account and its defaults.

    A refusal is a ProblemError that explains the refusal to the person. The caller writes the session into the ledger
    after the check.
    """

    def __init__(
        self,
        ledger: Ledger,
        permission: Permission,
        permissions: Permissions,
        account_leases: AccountLeases,
        charges: Charges,
    ) -> None:
        self._ledger = ledger
        self._permission = permission
        self._permissions = permissions
        self._account_leases = account_leases
        self._charges = charges
        self._promised: defaultdict[str, Fraction] = defaultdict(Fraction)  # GPU-hours of checked seats, by project

    async def admit(
        self, request: SessionRequest, seat: SeatTerms | None = None
    ) -> tuple[FactoryConnection, ResolvedChoice, str]:
        """Check that a session may start; return its factory, its complete choice and its site account.

        ``seat``: the terms, if the workshops service starts the session for a seat; None: any other start, also if a
        person starts a session for a workshop. If ``seat`` is given, the age of the person's login does not count.
        Call this inside ``AccountLeases.beginning``. Raises ProblemError if the session may not start, and LedgerError.
        """
        grant, choice, account = await self._admit(request, seat)
        return grant.connection, choice, account

    @asynccontextmanager
    async def checked(self, request: SessionRequest, seat: SeatTerms) -> AsyncIterator[None]:
        """Check that a session may start, and that the budget allows it, without starting it.

        During the block, other calls of ``checked`` count this session's GPU-hours as reserved from the project's
        budget. Call this inside ``AccountLeases.beginning``. Raises ProblemError if the session may not start, and
        LedgerError.
        """
        grant, choice, _account = await self._admit(request, seat)
        project, gpus = grant.project, gpus_of(grant.connection.factory, choice.size)
        if project is None or not gpus:
            yield
            return
        needs = gpus * Fraction(choice.hours)
        shares = ((project.gpu_hours, None), (project.share(request.user), request.user))
        read = [
            (Fraction(granted), person, await self._charges.balance(project.id, person))
            for granted, person in shares
            if granted is not None
        ]
        for granted, person, used in read:  # nothing is awaited from here on, so no two checks count the same hours
            promised = self._promised.get(project.id, Fraction(0)) if person is None else Fraction(0)
            left = max(Fraction(0), granted - Fraction(used.spent) - Fraction(used.reserved) - promised)
            if round(left * HOUR, 3) < round(needs * HOUR, 3):
                raise OverBudget(project, left * HOUR, needs * HOUR, of_person=person is not None).problem()
        self._promised[project.id] += needs
        try:
            yield
        finally:
            self._promised[project.id] -= needs
            if not self._promised[project.id]:
                del self._promised[project.id]

    async def _admit(self, request: SessionRequest, seat: SeatTerms | None) -> tuple[Grant, ResolvedChoice, str]:
        fresh = seat is None
        self._permission.person(request.user, fresh=fresh)
        grant, choice = await self._choose(request, seat)
        self._permission.at(grant.connection, request.user, fresh=fresh)
        self._permission.one_more_session(request.user, 0 if seat is None else seat.leaves)
        account = await self._account_leases.account(grant, request.user)
        self._permission.account(grant.connection, account)
        if choice.reservation is not None:
            await self._reserved(grant, account, choice.reservation, request)
        return grant, choice, account

    async def _choose(self, request: SessionRequest, seat: SeatTerms | None) -> tuple[Grant, ResolvedChoice]:
        user, choice = request.user, request.choice
        if choice == Choice() and (found := await self._last(user, request.server)) is not None:
            grant, resolved = found
            return grant, _within(resolved, _window(grant, request, None))
        connection = self._permission.connection(choice.factory or self._permission.first_healthy(user, choice.project))
        grant = await self._permission.grant(connection, user, choice)
        begins = connection.site.reservation(choice.reservation) if choice.reservation is not None else None
        limited = seat is not None or choice.hours is None  # a person's own hours are refused rather than shortened
        try:
            # The session cannot start before its reservation, so its hours count from the reservation's start.
            now = clock.now()
            choice = shortened(grant.factory, choice, now if begins is None else max(now, begins.start))
        except ChoiceError as error:
            raise invalid(error.message, error.field) from error
        if limited and choice.hours is not None:
            choice = choice.model_copy(update={"hours": self._permissions.most(grant, choice.hours)})
        resolved = self._permissions.resolve(grant, choice)
        if seat is not None:
            resolved = await self._with_early_hours(grant, resolved, user, seat.early_hours)
        return grant, _within(resolved, _window(grant, request, resolved.reservation))

    async def _with_early_hours(self, grant: Grant, choice: ResolvedChoice, user: str, early: float) -> ResolvedChoice:
        """Return the choice, whose hours are those of the class, with ``early`` hours added for the time before it.

        Fewer hours are added if the size, the end of the project, the project's budget or the person's share does not
        allow more. If the budget or the share does not even pay for the class, the session gets only the hours that are
        paid for. If these are less than ``LEAST_SEAT_HOURS``, the session keeps the hours of the class, and a later
        check refuses the session.
        """
        limits = [choice.hours + early, find_size(grant.connection.factory, choice.size).max_hours]
        project = grant.project
        if project is not None and project.ends is not None:
            limits.append((project.ends - clock.now()) / timedelta(hours=1))
        gpus = gpus_of(grant.connection.factory, choice.size)
        if project is not None and gpus:
            for granted, person in ((project.gpu_hours, None), (project.share(user), user)):
                if granted is None:
                    continue
                used = await self._charges.balance(project.id, person)
                left = (granted - used.spent - used.reserved) / float(gpus)
                limits.append(left if left >= LEAST_SEAT_HOURS else choice.hours)
        return choice.model_copy(update={"hours": math.floor(round(min(limits) * 60, 6)) / 60})

    async def _last(self, user: str, server: str) -> tuple[Grant, ResolvedChoice] | None:
        """Return the permission and the choice of the server's last session, which are used for an empty choice.

        The reservation and the consent to tokens in URLs are left out of the choice. None: there was no such session,
        or its choice is no longer possible; then the defaults are used.
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
        """Raise ProblemError unless a job may run in the reservation ``name``, which may begin later.

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


def _window(grant: Grant, request: SessionRequest, chosen: str | None) -> Reservation | None:
    """Return the reservation in which the job would run; None: there is none, or the site has not reported it.

    ``chosen``: the name of the reservation that the person has chosen.
    """
    name = request.options.reservation or chosen or grant.at.reservation
    return None if name is None else grant.connection.site.reservation(name)


def _within(choice: ResolvedChoice, window: Reservation | None) -> ResolvedChoice:
    """Return the choice, its hours reduced to those that the reservation ``window`` (None: no reservation) allows."""
    return choice.model_copy(update={"hours": reserved.within(choice.hours, window, clock.now())})
