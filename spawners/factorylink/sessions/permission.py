"""The one place that says who may begin anything: sessions, clusters with their schedulers and workers, more time,
estimates.

What counts: the hub's rules (a login that is not too old, the gateway's terms, nobody blocked), the site's rules, a
project that may use the factory, the operators' drains and pauses, the limits of one person, and the project's budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from factorycommon.language import N_
from factorycommon.models import Choice, ProjectId, SessionState
from factorylink.explain import explain
from factorylink.ledger import charges
from factorylink.ledger.charges import ChargeReservation
from factorylink.ledger.ledger import Write
from factorylink.problems import conflict, draining, forbidden, invalid, limit, of_words
from factorylink.projects.account_leases import Right
from factorylink.sessions.link_state import LinkState
from factorylink.site.factory_connection import FactoryConnection
from factorylink.state.live_cluster import LiveCluster
from factorylink.state.live_session import LiveSession

TAKEN_OVER = 10  # times the worker jobs that one person may have: a batch is taken over with what of it has ended
WITH_STOPPING = 3  # times the sessions of one person, with those that are asked to stop and have a job all the same


class Permission:
    """Every method raises ProblemError, in words for the person, where the answer is no."""

    def __init__(self, link_state: LinkState) -> None:
        self._link_state = link_state

    # --- the person, the factory, the account, the project

    def person(self, user: str) -> None:
        """Check that this person may begin something somewhere."""
        link_state = self._link_state
        if link_state.projects.blocked(user):
            raise of_words("forbidden", explain.own("blocked"))
        if (refusal := link_state.people.refusal(user)) is not None:
            raise of_words("forbidden", refusal)
        link_state.permissions.check(user)

    def rules(self, place: FactoryConnection, user: str) -> None:
        """Check the person, and that they accepted the site's rules as they are now."""
        self.person(user)
        if (rules_open := self._link_state.acceptances.open(user, place.factory)) is not None:
            raise of_words("forbidden", rules_open, "factory")

    def at(self, place: FactoryConnection, user: str) -> None:
        """Check that this person may begin something at the factory now."""
        self.rules(place, user)
        if place.factory.id in self._link_state.drains:
            raise draining(self._link_state.drains[place.factory.id])
        if (paused := place.access_status.paused) is not None:
            raise of_words("draining", paused)
        health = place.site.health
        if health.state == "unreachable":
            raise of_words("unreachable", health.words or explain.unreachable(""))

    def account(self, place: FactoryConnection, account: str) -> None:
        """Check that something may begin as that site account."""
        if (barred := place.access_status.may_submit(account)) is not None:
            raise of_words("draining" if barred.code == "paused" else "forbidden", barred)

    def place(self, factory_id: str) -> FactoryConnection:
        """Return the factory, if this hub offers it."""
        place = self._link_state.places.get(factory_id)
        if place is None:
            raise invalid(self._link_state.not_offered(factory_id), "factory")
        return place

    def first_healthy(self, user: str, project: ProjectId | None) -> str:
        """Return the factory of a choice that names none: the first by id that is healthy and whose rules the person
        accepted, of those that they may use."""
        mine = [
            name
            for name, place in sorted(self._link_state.places.items())
            for right in self._link_state.permissions.all(place, user)
            if project is None or right.project is None or right.project.id == project
        ]
        if not mine and project is not None and self._link_state.places:
            return min(self._link_state.places)  # where it is said why that project cannot be used
        if not mine:
            raise of_words("forbidden", explain.own("no-account"))
        for name in mine:
            factory = self._link_state.places[name].factory
            if self._link_state.health(name).state == "ok" and self._link_state.acceptances.open(user, factory) is None:
                return name
        return mine[0]

    async def right(self, place: FactoryConnection, user: str, choice: Choice) -> Right:
        """Return what that person may use at the factory, for the project that the choice names, or the last one."""
        last = (
            await self._link_state.ledger.last_choice(user)
            if self._link_state.projects.on and not choice.project
            else None
        )
        return self._link_state.permissions.one(
            place, user, choice.project, choice.size, last.project if last else None
        )

    # --- limits of one person

    def one_more_session(self, user: str) -> None:
        """Check that this person may have one more session."""
        mine = [live.row for live in self._link_state.live.values() if live.row.user == user and not live.row.head]
        rows = [row for row in mine if row.wish == "run"]
        limits = self._link_state.config.limits
        if len(rows) >= limits.sessions_per_person or len(mine) >= WITH_STOPPING * limits.sessions_per_person:
            raise of_words("limit", explain.own("limit-sessions"))
        pending = [row for row in rows if row.state == SessionState.PENDING]
        if len(pending) >= limits.pending_per_person:
            raise limit(
                f"You have {len(pending)} sessions waiting, the most one may have.", "Cancel one on Home first."
            )

    def one_more_cluster(self, user: str, name: str) -> None:
        """Check that this person may have one more cluster, and has none of that name."""
        most = self._link_state.config.limits.clusters_per_person
        mine = [f for f in self._link_state.live_clusters.values() if f.row.user == user and f.row.wish == "run"]
        if len(mine) >= most:
            said = N_("You have {number} clusters, the most one may have.").format(number=len(mine))
            raise limit(said, N_("Close one of them first."))
        if any(live_cluster.row.name == name for live_cluster in mine):
            said = N_("You have a cluster named {name} already. Take it up by its name, or choose another.")
            raise conflict(said.format(name=name))

    def more_workers(self, live_cluster: LiveCluster, more: int, hours: float, *, adopt: bool) -> None:
        """Check that a cluster may have so many more jobs of so many hours, but for its project's budget, which is
        checked as it is held. ``adopt``: the jobs are said to be there already, and none is submitted."""
        row, place = live_cluster.row, self.place(live_cluster.row.factory)
        if not adopt:
            self.at(place, row.user)
            self.account(place, row.account)
            right = self._link_state.permissions.one(place, row.user, row.choice.project, row.choice.size)
            if right.project is not None:
                self._link_state.permissions.hours(right.project, hours)
        size = next((s for s in place.factory.sizes if s.id == row.choice.size), None)
        if size is None or hours > size.max_hours:
            said = N_("{hours} h is above the limit of {size}.")
            raise invalid(said.format(hours=f"{hours:g}", size=row.choice.size), "hours")
        alive = [pair for f in self._link_state.live_clusters.values() if f.row.user == row.user for pair in f.alive()]
        mine, most = len(alive), self._link_state.config.limits.worker_jobs_per_person
        if adopt:  # with those that never were there, so that nobody fills the ledger by saying so again and again
            mine = sum(batch.was_shown(worker) for batch, worker in alive) + self._link_state.adopted[row.user]
            most *= TAKEN_OVER
        if mine + more > most:
            said = N_("You have {jobs} worker jobs, and {more} more would be over the {most} that one may have.")
            do = N_("Scale down, or close a cluster.")
            raise limit(said.format(jobs=mine, more=more, most=most), do, fits=max(0, most - mine))

    # --- more time, estimates

    def more_time(self, live: LiveSession) -> FactoryConnection:
        """Check that a session may ask for more time; return its factory."""
        link_state, row = self._link_state, live.row
        place = link_state.places.get(row.factory)
        if place is None or place.access.extend == "no":
            raise forbidden(N_("At this factory a session's time cannot be made longer. Start another one in time."))
        self.rules(place, row.user)
        if (paused := place.access_status.paused) is not None:
            raise of_words("draining", paused)
        if link_state.payer(row.choice) is not None:
            link_state.permissions.one(place, row.user, row.choice.project, row.choice.size)
        if row.extensions >= link_state.config.limits.extensions_per_session:
            raise of_words("limit", explain.own("limit-extensions"))
        return place

    def estimate(self, place: FactoryConnection, user: str) -> None:
        """Check that this person may get estimates from the factory."""
        self.rules(place, user)

    # --- the budget

    def hold(self, claims: Sequence[ChargeReservation], project: ProjectId | None, alike: int = 0) -> Write:
        """Return a write that reserves the project's budget for ``claims``; it raises OverBudget if the budget does not
        allow it, or does not allow so many more claims that are ``alike``."""
        return charges.reserve(claims, self._link_state.project(project), alike)

    def hold_more(self, charge_id: str, seconds: int, until: datetime, project: ProjectId | None) -> Write:
        """Return what holds so many seconds more for a job that is to go on until then; it raises OverBudget."""
        return charges.reserve_more(charge_id, seconds, until, self._link_state.project(project))
