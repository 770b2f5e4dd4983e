"""Holds site accounts of a pool for a workshop, and wipes accounts with files before and after the workshop.

An account is held from the workshop's warm-up (when its first seats are started, before the class) until the workshop
is over. A held account is lent to the people of this workshop only. If files of anybody else may be in the account, the
account is wiped before these people use it. After the workshop, the account is given back when nothing runs under it
any more; if files may be in the account, and the site has a command for wipes, the account is wiped first. An account
that was lent for a rehearsal of the workshop is given back in the same way after the rehearsal, whether or not the
class has begun. An account whose wipe fails is lent to no other person, and is wiped again later.

Seats come before spare accounts. If a workshop cannot hold an account for each of its seats, it also gets spare
accounts of other workshops: accounts that such a workshop holds, does not need for its own seats, and has lent to none
of its people.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy import select

from factorycommon.models import Project, ProjectId, Slug
from factorycommon.models.workshops import ClassProject, RehearsedProject
from factorycommon.models.workshops.seats import HeldAccounts
from factorylink.ledger import schema
from factorylink.ledger.ledger import Ledger
from factorylink.projects.account_leases import AccountLeases, Hold, write_hold
from factorylink.projects.book import ProjectBook
from factorylink.site.offered_factories import OfferedFactories
from factorylink.util import clock

log = logging.getLogger("factorylink")

LOOK_SECONDS = 10.0  # between two looks at the held accounts
AGAIN_SECONDS = 60.0  # until a failed wipe is repeated

_Key = tuple[Slug, str]  # a factory, and an account there


class AccountHolds:
    """Holds accounts of pools for workshops. Call ``load`` before use, and ``run`` in the background."""

    def __init__(
        self, ledger: Ledger, leases: AccountLeases, projects: ProjectBook, factories: OfferedFactories
    ) -> None:
        self._ledger = ledger
        self._leases = leases
        self._projects = projects
        self._factories = factories
        self._lock = asyncio.Lock()
        self._short: dict[tuple[ProjectId, Slug], int] = {}  # how many were held last; too few are logged once

    async def load(self) -> None:
        """Load the holds from the ledger. Raises LedgerError."""
        rows = await self._ledger.rows(schema.holds, select(schema.holds))
        self._leases.holds = {
            (row["factory"], row["account"]): Hold(row["project"], self._people(row["project"]), row["rehearsal"])
            for row in rows
        }

    async def run(self) -> None:
        """Call ``look`` every ``LOOK_SECONDS``, forever; errors go to the log."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:  # any error: this loop must continue, since nothing else does its work
                log.exception("The held accounts are looked at again")

    async def hold(self, project: Project, accounts: Mapping[Slug, int]) -> None:
        """Hold accounts of the project's pools, up to the given number at each factory, and begin the necessary wipes.

        ``accounts``: the number by factory, including the accounts that are held already; fewer are held if the pool
        does not have enough. During a rehearsal, accounts are held only for its robots, one for each at most, and only
        until the rehearsal is over. Raises LedgerError.
        """
        if isinstance(project, RehearsedProject):
            accounts = {factory: min(count, project.robots) for factory, count in accounts.items()}
        async with self._lock:
            for factory, count in accounts.items():
                at = project.factories.get(factory)
                if at is not None and at.site_accounts.pool and factory in self._factories:
                    await self._hold(project, factory, at.site_accounts.pool, count)
        await self.look()

    async def look(self) -> None:
        """Begin to wipe held accounts that need a wipe, and end the holds of workshops and rehearsals that are over.

        While something runs under an account, nothing is done to it. If an account must be wiped before its hold ends,
        this call begins the wipe, and a later call ends the hold. Raises LedgerError.
        """
        async with self._lock:
            for key, hold in tuple(self._leases.holds.items()):
                if not self._projects.tells("", hold.project):
                    continue  # it is not known whether the workshop is over
                people = self._people(hold.project)
                if people != hold.people:
                    self._leases.holds[key] = replace(hold, people=people)
                if self._over(key, hold):
                    await self._give_back(key)
                else:
                    self._clean(key)

    def seen(self, project: Project, factory: Slug) -> HeldAccounts | None:
        """Return how many accounts are held for a project at a factory, and in which state they are.

        None: the project has no pool of accounts at the factory.
        """
        at = project.factories.get(factory)
        if at is None or not at.site_accounts.pool:
            return None
        mine = [account for account in at.site_accounts.pool if self._counts(project, (factory, account))]
        return HeldAccounts(
            pool=len(at.site_accounts.pool),
            held=len(mine),
            ready=sum(self._is_ready((factory, account)) for account in mine),
            free=sum(
                self._is_ready((factory, account)) and self._leases.holder(factory, account) is None for account in mine
            ),
            wiping=sum(self._is_awaited((factory, account)) for account in mine),
            failed=tuple(
                self._leases.failed[factory, a] for a in at.site_accounts.pool if (factory, a) in self._leases.failed
            ),
        )

    def ready(self, project: Project, factory: Slug) -> tuple[str, ...]:
        """Return the accounts that are held for a project, and that its people can use now, in the pool's order.

        These are clean, or lent to one of these people; they are not being wiped, and their last wipe did not fail.
        """
        at = project.factories.get(factory)
        pool = () if at is None else at.site_accounts.pool
        return tuple(one for one in pool if self._holds(project, (factory, one)) and self._is_ready((factory, one)))

    def lendable(self, project: Project, factory: Slug) -> int | None:
        """Return how many accounts of its pool a project could hold now, including those that it holds already.

        An account counts if nothing runs under it, no other workshop holds it, it is clean or can be wiped, and its
        last wipe did not fail. None: the project has no pool of accounts at the factory.
        """
        at, connection = project.factories.get(factory), self._factories.get(factory)
        if at is None or not at.site_accounts.pool:
            return None
        wipes = connection is not None and bool(connection.access.account_wipe)
        return sum(self._is_lendable(project, (factory, account), wipes) for account in at.site_accounts.pool)

    def has_for_robots(self, project: Project, factory: Slug) -> bool:
        """Return whether a project has accounts to lend or to share at a factory, so that robots can use the factory.

        Robots take people's seats in a rehearsal of a class, and have no accounts of their own.
        """
        at, connection = project.factories.get(factory), self._factories.get(factory)
        return at is not None and connection is not None and self._leases.has_for_anybody(connection, at)

    async def _hold(self, project: Project, factory: Slug, pool: Sequence[str], count: int) -> None:
        people, rehearsal = self._people(project.id), isinstance(project, RehearsedProject)
        mine = [a for a in pool if self._counts_as_held(project, (factory, a))]
        others = [a for a in pool if self._is_left((factory, a)) or self._is_free(factory, a, people)]

        def order(account: str) -> tuple[bool, bool, bool]:
            """Return a sort key: first accounts with files of the project's people, then clean ones, then others.

            In each of these groups, accounts whose last wipe failed come last.
            """
            holder = self._leases.holder(factory, account)
            return holder not in people, holder is not None, (factory, account) in self._leases.failed

        for account in sorted(others, key=order)[: max(0, count - len(mine))]:
            hold = Hold(project.id, people, rehearsal)
            await self._ledger.write(partial(write_hold, factory=factory, account=account, hold=hold))
            self._leases.holds[factory, account] = hold
        if isinstance(project, ClassProject) and not rehearsal:
            held = sum(self._counts_as_held(project, (factory, account)) for account in pool)
            for account in self._spares(project.id, factory, pool)[: max(0, min(count, project.seats) - held)]:
                other = self._leases.holds[factory, account].project
                if await self._leases.pass_on(factory, account, Hold(project.id, people)):
                    log.info("The account %s at %s, spare for %s, is held for %s", account, factory, other, project.id)
        held = sum(self._counts_as_held(project, (factory, account)) for account in pool)
        if held < count and self._short.get((project.id, factory)) != held:
            log.warning("Of %d accounts at %s, %d can be held for %s", count, factory, held, project.id)
        self._short[project.id, factory] = held

    def _spares(self, project: ProjectId, factory: Slug, pool: Sequence[str]) -> list[str]:
        """Return the accounts of a pool that other classes hold but do not need for their seats, clean ones first.

        None of these accounts is lent to a person of the class that holds it.
        """
        held: dict[ProjectId, list[str]] = {}
        for (place, account), hold in self._leases.holds.items():
            of_class = hold.project != project and not hold.rehearsal and (place, account) not in self._leases.failed
            if place == factory and of_class:
                held.setdefault(hold.project, []).append(account)
        found: list[str] = []
        for other, accounts in held.items():
            theirs = self._projects.get(other)
            if not isinstance(theirs, ClassProject):
                continue
            of_staff = sum(self._leases.lent_to(factory, account) in theirs.staff for account in accounts)
            idle = [account for account in accounts if account in pool and self._is_unused(factory, account)]
            idle.sort(key=lambda account: self._leases.holder(factory, account) is not None)
            found += idle[: max(0, len(accounts) - of_staff - theirs.seats)]
        return sorted(found, key=lambda account: self._leases.holder(factory, account) is not None)

    def _is_unused(self, factory: Slug, account: str) -> bool:
        """Return whether a held account is idle, and lent to none of the people for whom it is held."""
        hold = self._leases.holds[factory, account]
        return self._leases.lent_to(factory, account) not in hold.people and self._leases.is_idle(factory, account)

    def _counts_as_held(self, project: Project, key: _Key) -> bool:
        """Return whether an account is held for a project, and can be used now or after its wipe."""
        return self._holds(project, key) and key not in self._leases.failed

    def _clean(self, key: _Key) -> None:
        """Begin to wipe a held account that is not ready for its workshop's people, if nothing runs under the account.

        A failed wipe is repeated after ``AGAIN_SECONDS``. Nothing is done if the site has no command for wipes.
        """
        connection = self._factories.get(key[0])
        if connection is None or self._is_ready(key) or not connection.access.account_wipe:
            return
        failed = self._leases.failed.get(key)
        if failed is not None and clock.since(failed.at).total_seconds() < AGAIN_SECONDS:
            return
        if self._leases.is_idle(*key):
            self._leases.wipe(connection, key[1])

    async def _give_back(self, key: _Key) -> None:
        """End the hold of an account whose workshop or rehearsal is over, if nothing runs under the account.

        If the account may have somebody's files and the site has a command for wipes, only begin the wipe; a later call
        ends the hold of the clean account. A failed wipe is repeated after ``AGAIN_SECONDS``.
        """
        connection, holder = self._factories.get(key[0]), self._leases.holder(*key)
        if not self._leases.is_idle(*key) or self._leases.is_wiping(*key):
            return
        if holder is not None and connection is not None and connection.access.account_wipe:
            failed = self._leases.failed.get(key)
            if failed is None or clock.since(failed.at).total_seconds() >= AGAIN_SECONDS:
                self._leases.wipe(connection, key[1])
            return
        await self._leases.release(*key)

    def _is_ready(self, key: _Key) -> bool:
        """Return whether a held account is clean, or lent to one of the workshop's people.

        False while the account is being wiped, and after a failed wipe.
        """
        hold, holder = self._leases.holds.get(key), self._leases.holder(*key)
        if self._leases.is_wiping(*key) or hold is None or key in self._leases.failed:
            return False
        return holder is None or holder in hold.people

    def _is_awaited(self, key: _Key) -> bool:
        """Return whether an account that is held for a workshop is being wiped, or waits for the wipe before its use.

        The wipe begins as soon as nothing runs under the account. While no wipe runs, return False after a failed wipe,
        and if the site has no command for wipes.
        """
        if self._leases.is_wiping(*key):
            return True
        connection = self._factories.get(key[0])
        wipes = connection is not None and bool(connection.access.account_wipe)
        return wipes and key not in self._leases.failed and not self._is_ready(key)

    def _is_free(self, factory: Slug, account: str, people: frozenset[str]) -> bool:
        """Return whether an account is free to be held for a workshop with these people.

        No workshop may hold the account. Something may run under the account only if the files in it are those of one
        of these people.
        """
        holder = self._leases.holder(factory, account)
        free = (factory, account) not in self._leases.holds
        return free and (holder in people or self._leases.is_idle(factory, account))

    def _is_left(self, key: _Key) -> bool:
        """Return whether an account is still held for a class that is over or no longer known.

        Such an account may be held for another workshop at once, since the jobs of the old class are ended anyway.
        False for an account that is held for a rehearsal: it must be wiped before even the same class gets it, because
        the trainer who rehearsed belongs to the class.
        """
        hold = self._leases.holds.get(key)
        if hold is None or hold.rehearsal:
            return False
        return self._projects.tells("", hold.project) and self._over(key, hold)

    def _is_lendable(self, project: Project, key: _Key, wipes: bool) -> bool:
        """Return whether ``lendable`` counts an account; ``wipes``: whether its factory can wipe accounts."""
        hold, holder = self._leases.holds.get(key), self._leases.holder(*key)
        if key in self._leases.failed or (hold is not None and hold.project != project.id):
            return False
        return (holder is None or wipes) and self._leases.is_idle(*key)

    def _holds(self, project: Project, key: _Key) -> bool:
        """Return whether an account is held for a project.

        While robots rehearse in place of people, this means an account that is held for the rehearsal; at any other
        time, one that is held for the class.
        """
        hold = self._leases.holds.get(key)
        of_robots = isinstance(project, RehearsedProject) and project.robots > 0
        return hold is not None and hold.project == project.id and hold.rehearsal == of_robots

    def _people(self, project_id: ProjectId) -> frozenset[str]:
        project = self._projects.get(project_id)
        return frozenset() if project is None else frozenset((*project.members, *project.managers))

    def _counts(self, project: Project, key: _Key) -> bool:
        """Return whether ``seen`` counts an account as held for a project.

        An account counts if ``_holds`` says so. An account whose last wipe failed counts whenever the project holds it,
        whether for the class or for a rehearsal.
        """
        hold = self._leases.holds.get(key)
        is_failed = hold is not None and hold.project == project.id and key in self._leases.failed
        return is_failed or self._holds(project, key)

    def _over(self, key: _Key, hold: Hold) -> bool:
        """Return whether an account need not be held any more.

        True if the workshop of ``hold`` is over or unknown; also if the account is held for a rehearsal, and no
        rehearsal of this workshop goes on at the account's factory now.
        """
        project = self._projects.get(hold.project)
        if project is None or (project.ends is not None and project.ends <= clock.now()):
            return True
        return hold.rehearsal and not (isinstance(project, RehearsedProject) and key[0] in project.factories)
