"""Opens connections for a workshop's seats before the seats begin, within the number of logins that the site allows.

If each person works under an account of their own, each seat needs a login, and a site allows only some logins per
minute. This module logs in as accounts of seats that have not begun, while nothing else needs logins. A seat whose
connection is already open needs no login, so more seats may begin per minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Iterator
from datetime import timedelta

from factorycommon.models import Project, ProjectAt, Slug
from factorycommon.models.workshops.seats import SeatPlace, SeatPlaces
from factorylink.errors import Expired, FactoryError, Gone, NotLetIn
from factorylink.projects.account_holds import AccountHolds
from factorylink.projects.account_leases import AccountLeases
from factorylink.sessions.submitter import NOTE, session_folder
from factorylink.sessions.workshop_seats import logs_in, pace
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.session_table import SessionTable
from factorylink.util import clock
from factorylink.util.background_tasks import BackgroundTasks

log = logging.getLogger("factorylink")

MINUTE = 60.0
KEPT = 240.0  # seconds for which a connection certainly stays open without use: the pool closes it after 300
LOOK_SECONDS = 2.0  # seconds until the next check whether logins are left
LONGEST = 600.0  # seconds for which one call of ``begin`` opens connections
SILENT = 2  # accounts in a row without an answer, after which no more are tried: a single account may be broken
_NOBODY = "0" * 32  # the id of no session

_Key = tuple[Slug, str]  # a factory, and an account there


class WarmConnections:
    """Opens SSH connections for a workshop's seats before they begin, and counts each one as open for four minutes.

    Nothing is stored: after a restart of the link no connection is open, and the next ``begin`` opens them again.
    """

    def __init__(
        self,
        table: SessionTable,
        factories: OfferedFactories,
        leases: AccountLeases,
        holds: AccountHolds,
        tasks: BackgroundTasks,
    ) -> None:
        self._table = table
        self._factories = factories
        self._leases = leases
        self._holds = holds
        self._tasks = tasks
        self._opened: dict[_Key, float] = {}  # when a connection was opened, in ticks
        self._failed: dict[_Key, float] = {}  # when an account could not log in, in ticks
        self._logins: dict[Slug, deque[float]] = {}  # logins of this module in the last minute, in ticks
        self._running: set[tuple[str, Slug]] = set()  # by project and factory

    def begin(self, project: Project, factories: Collection[Slug]) -> None:
        """Open connections in the background for the seats of a workshop at ``factories`` that have not begun.

        ``project``: the workshop's project. Connections are opened only at factories where the link logs in over SSH as
        each site account itself.
        """
        for factory_id, at in project.factories.items():
            connection, key = self._factories.get(factory_id), (project.id, factory_id)
            if factory_id not in factories or connection is None or not logs_in(connection.access):
                continue
            if key in self._running:
                continue
            if next(self._next(project, at, connection), None) is not None:
                self._running.add(key)
                self._tasks.begin(self._run(project, at, connection), f"connections of {project.id} to {factory_id}")

    def raised(self, project: Project, found: SeatPlaces) -> SeatPlaces:
        """Return ``found`` with a corrected ``per_minute`` (how many seats may begin per minute) for some factories.

        The number is corrected only for factories where the link logs in over SSH as each site account itself. Seats
        whose connection is open are added, because they need no login. Logins that this object made in the last minute
        are subtracted, because a site allows only some logins per minute. The result is at least 1 and at most the
        submissions per minute of ``link.yaml``.
        """
        return found.model_copy(update={"places": tuple(self._raised(project, one) for one in found.places)})

    def _raised(self, project: Project, place: SeatPlace) -> SeatPlace:
        connection = self._factories.get(place.factory)
        if connection is None or not logs_in(connection.access):
            return place
        accounts = self._accounts(project, project.factories[place.factory], connection)
        warm = sum(self._is_warm((place.factory, account)) for account in accounts)
        per_minute = place.per_minute + warm - len(self._recent(place.factory))
        return place.model_copy(update={"per_minute": max(1, min(per_minute, connection.access.submits_per_minute))})

    async def _run(self, project: Project, at: ProjectAt, connection: FactoryConnection) -> None:
        factory_id, until, silent = connection.factory.id, clock.ticks() + LONGEST, 0
        try:
            while (account := next(self._next(project, at, connection), None)) is not None:
                if clock.ticks() >= until:
                    return
                if self._left(connection) <= 0:
                    await asyncio.sleep(LOOK_SECONDS)
                    continue
                self._recent(factory_id).append(clock.ticks())
                try:
                    await _open(connection, account)
                except FactoryError as error:
                    self._failed[factory_id, account] = clock.ticks()  # the next accounts do not wait for this one
                    log.info("%s: no connection is opened as %s yet: %s", factory_id, account, error.message)
                    silent = 0 if isinstance(error, NotLetIn | Expired) else silent + 1
                    if silent >= SILENT:
                        log.info("%s: no further connections are opened before seats begin", factory_id)
                        return
                    continue
                silent = 0
                self._opened[factory_id, account] = clock.ticks()
        finally:
            self._running.discard((project.id, factory_id))

    def _left(self, connection: FactoryConnection) -> int:
        """Return how many logins at a factory this object may make now; a number below 1 allows no login.

        The number is the seats per minute that ``pace`` allows, minus the sessions that were begun and the logins that
        this object made in the last minute. ``pace`` leaves some of the site's logins to the poller and to other
        starts.
        """
        factory_id, now = connection.factory.id, clock.now()
        begun = sum(now - one.record.created < timedelta(seconds=MINUTE) for one in self._table.at(factory_id))
        return pace(connection.access, shared=False) - begun - len(self._recent(factory_id))

    def _recent(self, factory_id: Slug) -> deque[float]:
        """Return the times of this object's logins at a factory in the last minute, as values of ``clock.ticks``.

        Callers append the times of new logins.
        """
        recent = self._logins.setdefault(factory_id, deque())
        while recent and clock.ticks() - recent[0] >= MINUTE:
            recent.popleft()
        return recent

    def _next(self, project: Project, at: ProjectAt, connection: FactoryConnection) -> Iterator[str]:
        """Yield the accounts to log in as next: those of ``_accounts`` without an open connection, in the same order.

        Accounts that could not log in within the last ``KEPT`` seconds are left out.
        """
        for account in self._accounts(project, at, connection):
            key = connection.factory.id, account
            failed = self._failed.get(key)
            if not self._is_warm(key) and (failed is None or clock.ticks() - failed >= KEPT):
                yield account

    def _accounts(self, project: Project, at: ProjectAt, connection: FactoryConnection) -> Iterator[str]:
        """Yield the site accounts under which seats of ``project`` may begin, except those with a live session.

        All are accounts at the factory of ``connection``. If the project has a pool there, these are the ready accounts
        of the pool, in the pool's order. Otherwise they are the own accounts of the project's members, in the order of
        ``project.members``. Seats may begin in another order.
        """
        factory_id = connection.factory.id
        used = {one.record.account for one in self._table.at(factory_id)}
        if at.site_accounts.pool:
            yield from (one for one in self._holds.ready(project, factory_id) if one not in used)
            return
        for person in project.members:
            account = self._leases.own(connection, at, person)
            if account is not None and account not in used and self._leases.kind(connection, at, person) == "own":
                yield account

    def _is_warm(self, key: _Key) -> bool:
        opened = self._opened.get(key)
        if opened is not None and clock.ticks() - opened >= KEPT:
            del self._opened[key]
            return False
        return opened is not None


async def _open(connection: FactoryConnection, account: str) -> None:
    """Log in as an account by reading a file that does not exist: every site allows that. Raises FactoryError."""
    folder = await session_folder(connection, account, _NOBODY)
    try:
        await connection.commands.read(account, f"{folder}/{NOTE}")
    except Gone:
        return  # as expected: there is no such file
