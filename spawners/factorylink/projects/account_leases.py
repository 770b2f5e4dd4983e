"""Decides under which site account a person's jobs run: their own, a shared one, or one that is lent to them alone.

A lent account stays with its person until another person needs it. It is lent to another person only if no job of the
first person runs under it, and after a wipe: nobody else may read the first person's files. An account needs no wipe if
the first person has started nothing under it. An account that is held for a workshop (``account_holds``) is lent to the
people of that workshop only. An account that is lent for a rehearsal is held until the rehearsal is over; if it was
used, and the site has a command for wipes, it is wiped before the hold ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Connection, delete, insert, select

from factorycommon.models import AccountKind, Factory, Project, ProjectAt, ProjectId, SiteAccounts, Slug
from factorycommon.models.plain import plain_text
from factorycommon.models.workshops import RehearsedProject
from factorycommon.models.workshops.seats import FailedWipe
from factorylink.config import Access
from factorylink.errors import FactoryError, Refused
from factorylink.explain import explain
from factorylink.ledger import schema
from factorylink.ledger.ledger import AuditEntry, Ledger, LedgerError
from factorylink.problems import of_words
from factorylink.schedulers.command import Command, Output, done
from factorylink.site.factory_connection import FactoryConnection
from factorylink.state.live_cluster import LiveCluster
from factorylink.state.live_session import LiveSession
from factorylink.util import clock

log = logging.getLogger("factorylink")

WIPE_SECONDS = 300.0
PROOF_SECONDS = 60.0
WIPES = 8  # wipes at a factory at a time
_WAIT_SECONDS = 0.8  # seconds to wait for a wipe, before the person is asked to come again
_SEVERAL = ""  # in place of the person of a lease: several people may have files in the account; nobody gets it unwiped


@dataclass(frozen=True)
class Grant:
    """A person's permission to use a factory through one project.

    ``factory``: the factory with only the sizes that the project allows, their default hours limited by the project;
    ``project`` None: no project is needed; ``at``: the project's settings at the factory.
    """

    connection: FactoryConnection
    factory: Factory
    project: Project | None = None
    at: ProjectAt = field(default_factory=ProjectAt)


@dataclass(frozen=True)
class Hold:
    """The workshop for which an account is held: the id of its project, and its people.

    ``rehearsal``: True if the account is held for a rehearsal of the workshop, not for the class.
    """

    project: ProjectId
    people: frozenset[str] = frozenset()
    rehearsal: bool = False


class AccountLeases:
    """Finds or lends the site accounts of people, and wipes lent accounts. Call ``load`` before use.

    ``inhabitants``: returns all sessions and clusters that have not ended.
    """

    def __init__(self, ledger: Ledger, inhabitants: Callable[[], Iterable[LiveSession | LiveCluster]]) -> None:
        self._ledger = ledger
        self._inhabitants = inhabitants
        # by factory and account, the person who holds it until it is wiped, or ``_SEVERAL``
        self._leases: dict[tuple[Slug, str], str] = {}
        # accounts lent for a start that was refused, or that has just begun
        self._untouched: set[tuple[Slug, str]] = set()
        self._beginning: Counter[str] = Counter()  # people who are starting something now
        self._wiping: dict[tuple[Slug, str], asyncio.Task[None]] = {}
        self._used_in_wipe: set[tuple[Slug, str]] = set()  # of these accounts, those under which a job was found
        self._wipes: dict[Slug, asyncio.Semaphore] = {}  # by factory
        # the accounts that are held for a workshop, by factory and account; ``account_holds`` fills it
        self.holds: dict[tuple[Slug, str], Hold] = {}
        self.failed: dict[tuple[Slug, str], FailedWipe] = {}  # accounts whose last wipe failed
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Load the leases from the ledger. Raises LedgerError."""
        rows = await self._ledger.rows(schema.leases, select(schema.leases))
        self._leases = {(row["factory"], row["account"]): row["user"] for row in rows}

    @contextlib.contextmanager
    def beginning(self, user: str) -> Iterator[None]:
        """Treat the accounts that are lent to ``user`` as used during the block, in which the person starts something.

        Until the session or cluster is started, nothing runs under these accounts, so otherwise they could be lent to
        another person.
        """
        self._beginning[user] += 1
        try:
            yield
        finally:
            self._beginning[user] -= 1

    def own(self, connection: FactoryConnection, at: ProjectAt, user: str) -> str | None:
        """Return the person's own account, or the account that the person shares with others.

        None: the person has neither. Accounts that are lent to the person do not count.
        """
        known = at.site_accounts.personal.get(user) or connection.access.accounts.get(user)
        if known is not None or at.site_accounts != SiteAccounts():
            return known
        return site_account(connection.access, user)

    def has_for_anybody(self, connection: FactoryConnection, at: ProjectAt) -> bool:
        """Return whether people without an account of their own can get one at all: a lent one, or a shared one.

        The result does not depend on whether such an account is free now.
        """
        if at.site_accounts != SiteAccounts():
            return bool(at.site_accounts.pool)
        return bool(connection.access.account_pool)

    def kind(self, connection: FactoryConnection, at: ProjectAt, user: str) -> AccountKind:
        """Return the kind of account under which the person's jobs would run: own, shared, lent, or missing."""
        if at.site_accounts.personal.get(user) or connection.access.accounts.get(user):
            return "own"
        if self.own(connection, at, user) is not None:
            return "shared"
        return "lent" if at.site_accounts.pool else "missing"

    def name(self, connection: FactoryConnection, at: ProjectAt, user: str) -> str | None:
        """Return the account of the person at the factory: their own, the shared one, or one that is lent to them now.

        None: there is none.
        """
        mine = (a for a in at.site_accounts.pool if self._leases.get((connection.factory.id, a)) == user)
        return self.own(connection, at, user) or next(mine, None)

    def seen(self, grant: Grant, user: str) -> str | None:
        """Return the person's account, for views and estimates; lend none.

        If the person has no account, return an account of the pool; None if there is no pool.
        """
        pool = grant.at.site_accounts.pool
        return self.name(grant.connection, grant.at, user) or (pool[0] if pool else None)

    async def account(self, grant: Grant, user: str) -> str:
        """Return the account under which this person's jobs run at the factory; lend one if they have none.

        Call this inside ``beginning``. Raises ProblemError if the person has no account and none can be lent now;
        LedgerError.
        """
        own = self.own(grant.connection, grant.at, user)
        if own is not None:
            return own
        if not grant.at.site_accounts.pool:
            raise of_words("forbidden", explain.own("no-account"))
        async with self._lock:
            if (account := await self._take(grant, user)) is not None:
                return account
            dirty = self._begin_wipe(grant, user)
        await asyncio.wait([self._wiping[dirty]], timeout=_WAIT_SECONDS)
        async with self._lock:
            if (account := await self._take(grant, user)) is not None:
                return account
        raise of_words("limit", explain.own("pool-not-wiped" if dirty in self.failed else "pool-wiping"))

    async def _take(self, grant: Grant, user: str) -> str | None:
        """Return the account that is lent to the person already, or lend a free one.

        None if there is no free account. Raises LedgerError.
        """
        factory, pool = grant.connection.factory.id, grant.at.site_accounts.pool
        able = [
            a
            for a in pool
            if (factory, a) not in self._wiping and not self._used(factory, a, user) and self._open(factory, a, grant)
        ]
        able.sort(key=lambda account: (factory, account) not in self.holds)  # accounts that are held for them first
        for account in able:
            if self._leases.get((factory, account)) == user:
                return account
        free = next((a for a in able if (factory, a) not in self._leases or (factory, a) in self._untouched), None)
        if free is not None:
            hold = None if (factory, free) in self.holds else _hold_of(grant)
            await self._write(factory, free, user, hold)
            self._leases[factory, free] = user
            self._untouched.add((factory, free))
            if hold is not None:
                self.holds[factory, free] = hold
        return free

    async def found(self, factory: Slug, account: str, user: str) -> None:
        """Record that the account is lent to the person, because the link found a job of theirs under it.

        The job proves the loan, so a loan to somebody else, which an older ledger has, ends. But if somebody else uses
        the account now, it is lent to neither of them, and to nobody before it is wiped; what runs under it goes on.
        Raises LedgerError.
        """
        key = factory, account
        async with self._lock:
            self.touches(*key)
            before = self._leases.get(key)
            several = before == _SEVERAL or self._used(factory, account, user)
            now = _SEVERAL if several else user
            if now == before:
                return
            await self._write(factory, account, now)
            self._leases[key] = now
        if several:
            log.warning(
                "Several people use the account %s at %s: if it is for lending, nobody gets it before a wipe",
                account,
                factory,
            )
        elif before is not None:
            log.warning("The account %s at %s is now lent to the person whose job is found there", account, factory)

    def touches(self, factory: Slug, account: str) -> None:
        """Record that a job is started under the account; a lent account may then have files of its person."""
        self._untouched.discard((factory, account))
        if (factory, account) in self._wiping:
            self._used_in_wipe.add((factory, account))

    def _used(self, factory: Slug, account: str, user: str) -> bool:
        """Return whether another person uses the account: something of theirs runs under it, or is being started."""
        holder = self._leases.get((factory, account), user)
        if holder != user and self._beginning[holder] > 0:
            return True
        rows = (one.record for one in self._inhabitants())
        return any((row.factory, row.account) == (factory, account) and row.user != user for row in rows)

    def _open(self, factory: Slug, account: str, grant: Grant) -> bool:
        """Return whether the account may be lent through ``grant``, as far as holds for workshops are concerned.

        True if no workshop holds the account, or if the workshop of ``grant`` does. But an account that is held for a
        rehearsal of this workshop may be lent only while the workshop rehearses.
        """
        hold = self.holds.get((factory, account))
        if hold is None:
            return True
        rehearses = isinstance(grant.project, RehearsedProject)
        return grant.project is not None and hold.project == grant.project.id and (rehearses or not hold.rehearsal)

    def _kept(self, factory: Slug, account: str) -> bool:
        """Return whether the account is held for a workshop, and lent to one of its people."""
        hold = self.holds.get((factory, account))
        return hold is not None and self._leases.get((factory, account)) in hold.people

    # --- for account_holds

    def holder(self, factory: Slug, account: str) -> str | None:
        """Return the person whose files may be in the account; None if it is clean, "" if several people's may be."""
        return None if (factory, account) in self._untouched else self._leases.get((factory, account))

    def lent_to(self, factory: Slug, account: str) -> str | None:
        """Return the person to whom the account is lent, also if they have not used it.

        None: it is lent to nobody; "": several people may have files in it, and it is lent to nobody before a wipe.
        """
        return self._leases.get((factory, account))

    async def pass_on(self, factory: Slug, account: str, hold: Hold) -> bool:
        """Transfer an account from the workshop that holds it now to another; return whether this was done.

        ``hold``: the workshop that gets the account. Nothing is done if the account is not idle (``is_idle``), or if it
        is lent to a person of the workshop that holds it now. Raises LedgerError.
        """
        async with self._lock:
            if self._kept(factory, account) or not self.is_idle(factory, account):
                return False
            await self._ledger.write(partial(write_hold, factory=factory, account=account, hold=hold))
            self.holds[factory, account] = hold
            return True

    def is_idle(self, factory: Slug, account: str) -> bool:
        """Return whether nothing uses the account now.

        That is: no live session or cluster has the account and, if the account is lent, its person is starting nothing.
        """
        holder = self._leases.get((factory, account))
        rows = (one.record for one in self._inhabitants())
        begins = holder is not None and self._beginning[holder] > 0
        return not begins and all((row.factory, row.account) != (factory, account) for row in rows)

    def is_wiping(self, factory: Slug, account: str) -> bool:
        """Return whether the account is being wiped."""
        return (factory, account) in self._wiping

    def wipe(self, connection: FactoryConnection, account: str) -> None:
        """Wipe an account in the background, unless a wipe of the account is running. The account must be idle.

        If the wipe succeeds, the lease ends, unless a job was found under the account meanwhile (``found``). If the
        wipe or the ledger fails, the failure is in ``failed``.
        """
        key = (connection.factory.id, account)
        if key not in self._wiping:
            self._wiping[key] = asyncio.create_task(self._wipe(connection, account), name=f"wipe of {account}")

    async def release(self, factory: Slug, account: str) -> None:
        """End the hold of an account, and its lease if nobody has used the account.

        Nothing is done if the account is not idle (``is_idle``), or if it is being wiped. Raises LedgerError.
        """
        key = factory, account
        async with self._lock:
            if not self.is_idle(*key) or self.is_wiping(*key):
                return
            is_clean = self.holder(*key) is None
            leases = schema.leases

            def write(db: Connection) -> None:
                if is_clean:
                    db.execute(delete(leases).where(leases.c.factory == factory, leases.c.account == account))
                write_hold(db, factory, account, None)

            await self._ledger.write(write)
            if is_clean:
                self._leases.pop(key, None)
                self._untouched.discard(key)
            self.holds.pop(key, None)

    # --- wipes

    def _begin_wipe(self, grant: Grant, user: str) -> tuple[Slug, str]:
        """Begin to wipe an account that another person no longer uses; return its factory and name.

        Raises ProblemError if there is no such account, or if the site has no command for wipes.
        """
        connection = grant.connection
        factory = connection.factory.id
        left = [
            a
            for a in grant.at.site_accounts.pool
            if not self._used(factory, a, user) and self._open(factory, a, grant) and not self._kept(factory, a)
        ]
        if not left or not connection.access.account_wipe:
            raise of_words("limit", explain.own("pool-empty"))
        # Accounts that are being wiped come last; before them, those whose last wipe failed.
        account = min(left, key=lambda name: ((factory, name) in self._wiping, (factory, name) in self.failed))
        self.wipe(connection, account)
        return factory, account

    async def _wipe(self, connection: FactoryConnection, account: str) -> None:
        key = (connection.factory.id, account)
        holder = self._leases.get(key, "")
        try:
            async with self._wipes.setdefault(connection.factory.id, asyncio.Semaphore(WIPES)):
                await _run_wipe(connection, account)
            await self._ledger.note(_entry(holder, key, "wipe"))
            async with self._lock:
                if key not in self._used_in_wipe:
                    await self._write(*key, None)
                    self._leases.pop(key, None)
            self.failed.pop(key, None)
            log.info("The account %s at %s is wiped", account, connection.factory.id)
            if key in self._used_in_wipe:
                log.warning("A job was found under the account during this wipe, so the account stays lent")
        except (FactoryError, LedgerError) as error:
            why = plain_text(str(error), 1000) or "no reason is given"
            log.error("The account %s at %s is not wiped, so it is not lent: %s", account, connection.factory.id, error)  # noqa: TRY400
            self.failed[key] = FailedWipe(account=account, why=why, at=clock.now())
            with contextlib.suppress(LedgerError):
                await self._ledger.note(_entry(holder, key, f"wipe failed: {why[:200]}"))
        finally:
            del self._wiping[key]
            self._used_in_wipe.discard(key)

    async def _write(self, factory: Slug, account: str, user: str | None, hold: Hold | None = None) -> None:
        """Store to whom an account is lent (``user``; None: nobody), and ``hold`` if given. Raises LedgerError."""
        leases = schema.leases

        def write(db: Connection) -> None:
            db.execute(delete(leases).where(leases.c.factory == factory, leases.c.account == account))
            if user is not None:
                db.execute(insert(leases).values(factory=factory, account=account, user=user, at=clock.now()))
            if hold is not None:
                write_hold(db, factory, account, hold)

        await self._ledger.write(write)


def write_hold(db: Connection, factory: Slug, account: str, hold: Hold | None) -> None:
    """Store for which workshop an account is held; ``hold`` None: for none."""
    holds = schema.holds
    db.execute(delete(holds).where(holds.c.factory == factory, holds.c.account == account))
    if hold is not None:
        db.execute(
            insert(holds).values(
                factory=factory, account=account, project=hold.project, at=clock.now(), rehearsal=hold.rehearsal
            )
        )


def _hold_of(grant: Grant) -> Hold | None:
    """Return the hold for an account that is newly lent through ``grant``, and that no workshop holds yet.

    The account is then held until the rehearsal is over. None: ``grant`` is for no rehearsal, so the account is not
    held.
    """
    project = grant.project
    if not isinstance(project, RehearsedProject):
        return None
    return Hold(project.id, frozenset((*project.members, *project.managers)), rehearsal=True)


async def _run_wipe(connection: FactoryConnection, account: str) -> None:
    """Wipe an account; check that it is empty if the site has a command for this. Raises FactoryError."""
    wipe, proof, by = connection.access.wipe_commands(account)
    await connection.commands.run(Command(argv=wipe, parse=done, timeout=WIPE_SECONDS), by)
    if proof:
        await connection.commands.run(Command(argv=proof, parse=nothing_left, timeout=PROOF_SECONDS), by)


def nothing_left(output: Output) -> None:
    """Check the output of the command that lists what a wipe has left in an account.

    Raises Refused if the command failed, or printed anything but white space to stdout; Unreachable if a signal ended
    the command.
    """
    done(output)
    if left := output.stdout.strip():
        raise Refused(f"After the wipe there is still: {plain_text(left, 300)}")


def _entry(holder: str, key: tuple[Slug, str], detail: str) -> AuditEntry:
    return AuditEntry(holder, key[1], key[0], "wipe", None, detail)


def site_account(access: Access, user: str) -> str | None:
    """Return the account that link.yaml gives to this person at a factory: their own, or a shared one; None: neither.

    A person without an account of their own gets an account of ``account_pool``, which others may have, too. It is
    always the same account as long as the pool is not changed.
    """
    own = access.accounts.get(user)
    if own is not None or not access.account_pool:
        return own
    digest = hashlib.sha256(user.encode()).digest()
    return access.account_pool[int.from_bytes(digest[:8], "big") % len(access.account_pool)]
