"""Decides who may start sessions and clusters (with schedulers and workers), extend sessions, and get estimates.

The checks include: the hub's rules (the login is not too old, the gateway's terms are accepted, the person is not
blocked), the site's rules, a project that may use the factory, the operators' drains and pauses, whether the factory
answers, the site account's login, the limits of one person, and the project's budget. Not every request needs all
checks. ``projects.permissions`` finds the project; ``admission`` checks whether a job may run in a reservation.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models import Choice, ProjectId, SessionState, Words, is_robot
from factorylink.config import Limits
from factorylink.explain import explain
from factorylink.ledger import charges
from factorylink.ledger.charges import ChargeReservation
from factorylink.ledger.ledger import Ledger, Write
from factorylink.problems import conflict, draining, forbidden, invalid, limit, of_words
from factorylink.projects.acceptances import Acceptances
from factorylink.projects.account_leases import Grant
from factorylink.projects.book import ProjectBook
from factorylink.projects.people import KnownPeople
from factorylink.projects.permissions import Permissions
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.cluster_table import ClusterTable
from factorylink.state.live_cluster import LiveCluster
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable

# factor of the allowed worker jobs of a person: a batch that is taken over includes jobs that have ended
TAKEN_OVER = 10
WITH_STOPPING = 3  # factor of the allowed sessions of a person: sessions with a stop request may still have a job


class Permission:
    """Checks what a person may start. A check that fails raises ProblemError, with an explanation for the person."""

    def __init__(
        self,
        limits: Limits,
        ledger: Ledger,
        factories: OfferedFactories,
        people: KnownPeople,
        projects: ProjectBook,
        permissions: Permissions,
        acceptances: Acceptances,
        sessions: SessionTable,
        clusters: ClusterTable,
    ) -> None:
        self._limits = limits
        self._ledger = ledger
        self._factories = factories
        self._people = people
        self._projects = projects
        self._permissions = permissions
        self._acceptances = acceptances
        self._sessions = sessions
        self._clusters = clusters

    # --- the person, the factory, the account, the project

    def person(self, user: str, *, fresh: bool = True) -> None:
        """Raise ProblemError unless this person may start something somewhere.

        ``fresh``: whether the age of the login counts; False for the seats of workshops. Robots, which take the seats
        of a class in a rehearsal, may start nothing but seats: if ``fresh`` is True, they are refused.
        """
        if is_robot(user) and fresh:
            raise of_words("forbidden", explain.own("robot-seat-only"))
        if self._projects.blocked(user):
            raise of_words("forbidden", explain.own("blocked"))
        if (refusal := self._people.refusal(user, fresh=fresh)) is not None:
            raise of_words("forbidden", refusal)
        self._permissions.check(user)

    def rules(self, connection: FactoryConnection, user: str, *, fresh: bool = True) -> None:
        """Raise ProblemError unless this person may start something and has accepted the site's present rules.

        ``fresh``: whether the age of the login counts; False for the seats of workshops. If ``fresh`` is True, robots
        are refused.
        """
        self.person(user, fresh=fresh)
        if (rules_open := self._acceptances.open(user, connection.factory)) is not None:
            raise of_words("forbidden", rules_open, "factory")

    def missing(self, connection: FactoryConnection, user: str) -> Words | None:
        """Return why the person is not admitted at the factory; None if they are.

        The possible reasons: the person is blocked, the hub does not admit them, or they have not accepted the
        gateway's terms or the site's rules. The age of the login, the person's project and the state of the factory do
        not count. Raises no ProblemError.
        """
        if self._projects.blocked(user):
            return explain.own("blocked")
        refused = self._people.refusal(user, fresh=False)
        return refused if refused is not None else self._acceptances.open(user, connection.factory)

    def at(self, connection: FactoryConnection, user: str, *, fresh: bool = True) -> None:
        """Check that this person may start something, and that the factory takes new jobs; else raise ProblemError.

        The method ``rules`` checks the person, the method ``place`` checks the factory. ``fresh``: whether the age of
        the login counts; False for the seats of workshops.
        """
        self.rules(connection, user, fresh=fresh)
        self.place(connection)

    def place(self, connection: FactoryConnection) -> None:
        """Raise ProblemError if nobody may start anything at the factory now: it is drained, paused or unreachable."""
        if (drained := self._factories.drained(connection.factory.id)) is not None:
            raise draining(drained)
        if (paused := connection.access_status.paused) is not None:
            raise of_words("draining", paused)
        health = connection.site.health
        if health.state == "unreachable":
            raise of_words("unreachable", health.words or explain.unreachable(""))

    def account(self, connection: FactoryConnection, account: str) -> None:
        """Raise ProblemError if nothing may start at the factory now under that site account.

        The reason is that an operator has paused the factory, or that the account's login at the site has expired or is
        about to expire.
        """
        if (barred := connection.access_status.may_submit(account)) is not None:
            raise of_words("draining" if barred.code == "paused" else "forbidden", barred)

    def connection(self, factory_id: str) -> FactoryConnection:
        """Return the factory with this id. Raises ProblemError if this hub does not offer it."""
        connection = self._factories.get(factory_id)
        if connection is None:
            raise invalid(self._factories.not_offered(factory_id), "factory")
        return connection

    def first_healthy(self, user: str, project: ProjectId | None) -> str:
        """Return the id of a factory for a choice that names no factory.

        This is the first healthy factory by id that the person may use, and whose rules the person has accepted. If
        there is no such factory, this is the first factory that the person may use. If ``project`` is given, only
        factories count that the person may use for this project, or without a project.

        If the person may use no such factory although ``project`` is given, return any factory, so that a later check
        can explain the refusal. Raises ProblemError if ``project`` is None and the person may use no factory, or if
        this hub offers no factory.
        """
        mine = [
            name
            for name, connection in sorted(self._factories.items())
            for grant in self._permissions.all(connection, user)
            if project is None or grant.project is None or grant.project.id == project
        ]
        if not mine and project is not None and self._factories:
            return min(self._factories)  # a later check explains why that project cannot be used
        if not mine:
            raise of_words("forbidden", explain.own("no-account"))
        for name in mine:
            factory = self._factories[name].factory
            if self._factories.health(name).state == "ok" and self._acceptances.open(user, factory) is None:
                return name
        return mine[0]

    async def grant(self, connection: FactoryConnection, user: str, choice: Choice) -> Grant:
        """Return the person's permission to use a factory for the project that ``choice`` names.

        A person who needs no project gets a permission without one if ``choice`` names no project, or a project whose
        jobs are not charged. A person who needs a project, but names none, gets the permission for their only project
        that allows the chosen size at the factory. If several projects allow the size, the permission is for the
        project of the person's last choice.

        Raises LedgerError. Raises ProblemError if there is no such permission, or if several projects allow the size
        and the last choice was none of them.
        """
        last = await self._ledger.last_choice(user) if self._projects.needed(user) and not choice.project else None
        return self._permissions.one(connection, user, choice.project, choice.size, last.project if last else None)

    # --- limits of one person

    def one_more_session(self, user: str, leaves: int = 0) -> None:
        """Raise ProblemError unless this person may have one more session.

        ``leaves``: how many of the person's sessions end before the new one begins.
        """
        mine = [record for record in self._sessions.records() if record.user == user and not record.head]
        if is_robot(user) and mine:  # one seat each
            raise of_words("limit", explain.own("robot-seat-only"))
        rows = [record for record in mine if record.wish == "run"]
        limits = self._limits
        if len(rows) - leaves >= limits.sessions_per_person or len(mine) >= WITH_STOPPING * limits.sessions_per_person:
            raise of_words("limit", explain.own("limit-sessions"))
        pending = [record for record in rows if record.state == SessionState.PENDING]
        if len(pending) - leaves >= limits.pending_per_person:
            raise of_words("limit", explain.own("limit-pending"))

    def one_more_cluster(self, user: str, name: str) -> None:
        """Raise ProblemError if this person has as many clusters as one may have, or already one named ``name``."""
        most = self._limits.clusters_per_person
        mine = [f for f in self._clusters.values() if f.record.user == user and f.record.wish == "run"]
        if len(mine) >= most:
            said = Message("limit-clusters", "You have {number} clusters, the most one may have.").format(
                number=len(mine)
            )
            raise limit(said, N_("Close one of them first."))
        if any(live_cluster.record.name == name for live_cluster in mine):
            said = Message(
                "cluster-name-yours",
                "You have a cluster named {name} already. Take it up by its name, or choose another.",
            )
            raise conflict(said.format(name=name))

    def more_workers(self, live_cluster: LiveCluster, more: int, hours: float, *, adopt: bool) -> None:
        """Raise ProblemError unless a cluster may have ``more`` further worker jobs of ``hours`` each.

        The project's budget is checked later, when GPU-hours are reserved for the jobs. ``adopt``: the client says that
        the jobs exist already, so none is submitted. Then only three things are checked: whether the factory is
        offered, ``hours`` against the limit of the size, and the number of the person's jobs, for which the limit is
        ``TAKEN_OVER`` times as high.
        """
        record, connection = live_cluster.record, self.connection(live_cluster.record.factory)
        if not adopt:
            self.at(connection, record.user)
            self.account(connection, record.account)
            grant = self._permissions.one(connection, record.user, record.choice.project, record.choice.size)
            if grant.project is not None:
                self._permissions.hours(grant.project, hours)
        size = next((s for s in connection.factory.sizes if s.id == record.choice.size), None)
        if size is None or hours > size.max_hours:
            said = Message("hours-too-many", "{hours} h is above the limit of {size}.")
            raise invalid(said.format(hours=f"{hours:g}", size=record.choice.size), "hours")
        alive = [pair for f in self._clusters.values() if f.record.user == record.user for pair in f.alive()]
        mine, most = len(alive), self._limits.worker_jobs_per_person
        if adopt:  # including jobs that never existed, so that repeated claims cannot fill the ledger
            mine = sum(batch.was_shown(worker) for batch, worker in alive) + self._clusters.adopted[record.user]
            most *= TAKEN_OVER
        if mine + more > most:
            said = Message(
                "limit-workers",
                "You have {jobs} worker jobs, and {more} more would be over the {most} that one may have.",
            )
            do = N_("Scale down, or close a cluster.")
            raise limit(said.format(jobs=mine, more=more, most=most), do, fits=max(0, most - mine))

    # --- more time, estimates

    def more_time(self, live_session: LiveSession) -> FactoryConnection:
        """Check that a session may be extended; return its factory.

        Raises ProblemError if the factory, the person's rights or the number of the session's extensions does not allow
        an extension. The caller must also check that the session runs, how many hours are left, and the project's
        budget.
        """
        record = live_session.record
        connection = self._factories.get(record.factory)
        if connection is None or connection.access.extend == "no":
            raise forbidden(
                Message(
                    "no-extensions-here",
                    "At this factory a session's time cannot be made longer. Start another one in time.",
                )
            )
        self.rules(connection, record.user)
        if (paused := connection.access_status.paused) is not None:
            raise of_words("draining", paused)
        if self._projects.payer(record.choice) is not None:
            self._permissions.one(connection, record.user, record.choice.project, record.choice.size)
        if record.extensions >= self._limits.extensions_per_session:
            raise of_words("limit", explain.own("limit-extensions"))
        return connection

    def estimate(self, connection: FactoryConnection, user: str) -> None:
        """Raise ProblemError unless this person may get estimates from the factory."""
        self.rules(connection, user)

    # --- the budget

    def hold(self, claims: Sequence[ChargeReservation], project: ProjectId | None, alike: int = 0) -> Write:
        """Return a write for the ledger that reserves GPU-hours of the project for ``claims``.

        The write raises OverBudget if the project ends before the longest of the jobs would, or if the project's budget
        or the person's share of the budget is too small; with ``project`` None, the write never raises OverBudget. The
        budget must allow all claims and ``alike`` further jobs, each of them equal to the job of the first claim;
        nothing is reserved for the further jobs.
        """
        return charges.reserve(claims, self._projects.get(project), alike)

    def hold_more(self, charge_id: str, seconds: int, until: datetime, project: ProjectId | None) -> Write:
        """Return a write for the ledger that reserves ``seconds`` more for a job that is to continue until ``until``.

        ``charge_id``: the id of the job's charge; for a session's job, this is the session's id. The write raises
        OverBudget if the project's budget or the person's share of the budget is too small, or if the project ends
        before ``until``; with ``project`` None, the write never raises OverBudget.
        """
        return charges.reserve_more(charge_id, seconds, until, self._projects.get(project))
