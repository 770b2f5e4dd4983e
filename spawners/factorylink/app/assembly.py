"""Creates all parts of a link, and gives each part the other parts that it uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from fastapi import FastAPI

from factorycommon.models import Job, Slug
from factorylink.api import metrics_view
from factorylink.api.auth import Callers
from factorylink.api.checklist_view import Checklist
from factorylink.api.factory_views import Offers
from factorylink.api.hub import hub_app
from factorylink.api.user import user_app
from factorylink.api.workshop_history import SizeCosts
from factorylink.api.workshops import workshops_app
from factorylink.background.access_revocation import AccessRevocation
from factorylink.background.hub_recovery import HubRecovery
from factorylink.background.measuring import Measuring, measure_loop
from factorylink.background.warm_connections import WarmConnections
from factorylink.clusters.admission import ClusterAdmission
from factorylink.clusters.reconciler import ClusterReconciler
from factorylink.clusters.scheduler_jobs import SchedulerJobs
from factorylink.clusters.service import Clusters
from factorylink.clusters.submitter import ClusterSubmitter
from factorylink.clusters.worker_ends import WorkerEnds
from factorylink.config import LinkConfig
from factorylink.doors.manager import DoorManager
from factorylink.hub_client import HubClient
from factorylink.jobs.identity import Identity
from factorylink.ledger.charges import Charges
from factorylink.ledger.cluster_store import ClusterStore
from factorylink.ledger.ledger import Ledger
from factorylink.ledger.project_history import ProjectHistory
from factorylink.projects.acceptances import Acceptances
from factorylink.projects.account_holds import AccountHolds
from factorylink.projects.account_leases import AccountLeases
from factorylink.projects.book import ProjectBook, ProjectTable
from factorylink.projects.charge_reservations import ChargeReservations
from factorylink.projects.people import KnownPeople
from factorylink.projects.permissions import Permissions
from factorylink.sessions.account_work import AccountWork
from factorylink.sessions.admission import Admission
from factorylink.sessions.door_events import DoorListener
from factorylink.sessions.extension import Extender
from factorylink.sessions.help_relay import HelpRelay
from factorylink.sessions.live_feed import LiveFeed
from factorylink.sessions.mail import Mailer
from factorylink.sessions.material import MaterialArchives, MaterialSender
from factorylink.sessions.operator_overview import OperatorOverview
from factorylink.sessions.orphans import OrphanFinder
from factorylink.sessions.permission import Permission
from factorylink.sessions.reconciler import SessionReconciler
from factorylink.sessions.robots import RobotNotebooks
from factorylink.sessions.service import Sessions
from factorylink.sessions.session_views import SessionViews
from factorylink.sessions.submission import Submission
from factorylink.sessions.submitter import Submitter
from factorylink.sessions.termination import Termination
from factorylink.sessions.workshop_feed import WorkshopFeed
from factorylink.sessions.workshop_seats import WorkshopSeats
from factorylink.site.audit_entries import AuditEntries
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.cluster_table import ClusterTable
from factorylink.state.job_owners import JobOwners
from factorylink.state.session_table import SessionTable
from factorylink.util import clock
from factorylink.util.background_tasks import BackgroundTasks


@dataclass(frozen=True)
class LinkParts:
    """The parts of a link. Only the process and its tests use this object; no part receives it."""

    config: LinkConfig
    ledger: Ledger
    tasks: BackgroundTasks
    doors: DoorManager
    factories: OfferedFactories
    charges: Charges
    people: KnownPeople
    projects: ProjectBook
    account_leases: AccountLeases
    account_holds: AccountHolds
    acceptances: Acceptances
    permissions: Permissions
    permission: Permission
    audit: AuditEntries
    live_sessions: SessionTable
    live_clusters: ClusterTable
    owners: JobOwners
    views: SessionViews
    feed: LiveFeed
    workshop_feed: WorkshopFeed
    workshop_seats: WorkshopSeats
    account_work: AccountWork
    extender: Extender
    relay: HelpRelay
    listener: DoorListener
    admission: Admission
    sessions: Sessions
    session_reconciler: SessionReconciler
    clusters: Clusters
    cluster_reconciler: ClusterReconciler
    offers: Offers
    checklist: Checklist
    revocation: AccessRevocation
    operator: OperatorOverview
    measuring: Measuring
    figures: metrics_view.LinkMetrics

    async def start(self) -> None:
        """Start the link. Raises LedgerError.

        The ports of all live sessions are opened first; then each factory is asked for its jobs, and doors are
        connected.
        """
        await self.factories.load()
        await self.people.load()
        await self.account_leases.load()
        await self.acceptances.load()
        await self.projects.refresh()
        await self.account_holds.load()
        await self.clusters.load()
        await self.sessions.load()
        for connection in self.factories.values():
            await self._ask(connection)
        self.sessions.resume()
        await self.revocation.load()

    async def _ask(self, connection: FactoryConnection) -> None:
        """Start asking a factory for its jobs, and handling its answers."""
        site, factory_id = connection.site, connection.factory.id
        site.on_answer = partial(self._answered, connection)
        site.private_to(partial(self.owners.accounts, factory_id), await self._may_have_jobs(connection))
        site.knows_ids(partial(self.owners.job_ids, factory_id))
        site.count_earlier(clock.since(at).total_seconds() for at in self._submissions(factory_id))
        site.on_health = partial(self.feed.factory_changed, factory_id)
        connection.access_status.on_change = partial(self.feed.factory_changed, factory_id)
        self.tasks.begin(site.start(), f"start of {factory_id}")

    def _submissions(self, factory_id: Slug) -> Iterator[datetime]:
        """Yield when the last submissions of live sessions and of batches of cluster jobs at a factory began."""
        begun = [live_session.record.submit_begun for live_session in self.live_sessions.at(factory_id)]
        for live_cluster in self.live_clusters.values():
            if live_cluster.record.factory == factory_id:
                begun += [batch.submit_begun for batch in live_cluster.record.batches.values()]
        yield from (at for at in begun if at is not None)

    async def _answered(self, connection: FactoryConnection, jobs: list[Job], account: str | None = None) -> None:
        await self.session_reconciler.answered(connection, jobs, account)
        await self.cluster_reconciler.answered(connection, jobs, account)

    async def _may_have_jobs(self, connection: FactoryConnection) -> set[str]:
        """Return the site accounts that may have jobs at the factory.

        These are the accounts in the ledger, and those of ``link.yaml`` and of the projects: the ledger may have been
        lost while jobs ran.
        """
        access, factory_id = connection.access, connection.factory.id
        found = {*access.account_pool, *access.accounts.values()}
        for project in self.projects.all():
            if (at := project.factories.get(factory_id)) is not None:
                found |= {*at.site_accounts.pool, *at.site_accounts.personal.values()}
        return found | set(await self.ledger.accounts(factory_id)) | self.owners.accounts(factory_id)

    async def close(self) -> None:
        """End the streams and the background tasks, and close the connections to doors and factories.

        Jobs and notebooks continue. The servers and the ledger are not closed.
        """
        self.end_streams()
        await self.tasks.close()
        await self.doors.shutdown()
        await self.factories.close()

    def end_streams(self) -> None:
        """End all event streams, so that the servers can close their connections."""
        self.feed.close()
        self.workshop_feed.close()
        self.relay.close()

    def measure(self) -> None:
        """Start the measurements that run in the background: sums of GPU-hours, and the delay of the event loop."""
        self.tasks.begin(self.measuring.keep(), "sums of GPU-hours")
        self.tasks.begin(measure_loop(), "the event loop's lag")

    # --- interfaces

    def metrics(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return self.figures.exposition()

    def callers(self, hub: HubClient) -> Callers:
        """Return the object that identifies the callers of the user API by their tokens."""
        return Callers(hub, self.live_sessions, self.projects, self.factories, self.config.root)

    def hub_app(self, recovery: HubRecovery) -> FastAPI:
        """Return the app for the hub and the operator.

        ``recovery``: makes the hub start each server that a live session needs and the hub does not have.
        """
        return hub_app(
            sessions=self.sessions,
            extender=self.extender,
            feed=self.feed,
            clusters=self.clusters,
            offers=self.offers,
            recovery=recovery,
            checklist=self.checklist,
            factories=self.factories,
            people=self.people,
            projects=self.projects,
            charges=self.charges,
            ledger=self.ledger,
            operator=self.operator,
            metrics=self.metrics,
        )

    def workshops_app(self) -> FastAPI:
        """Return the app for the workshops service."""
        return workshops_app(
            projects=self.projects,
            live_sessions=self.live_sessions,
            live_clusters=self.live_clusters,
            sessions=self.sessions,
            feed=self.workshop_feed,
            seats=self.workshop_seats,
            holds=self.account_holds,
            connections=WarmConnections(
                self.live_sessions, self.factories, self.account_leases, self.account_holds, self.tasks
            ),
            history=ProjectHistory(self.ledger, SizeCosts(self.factories)),
            charges=self.charges,
            factories=self.factories,
            material=MaterialSender(self.sessions, MaterialArchives(self.config.state_dir / "material")),
            permission=self.permission,
            relay=self.relay,
        )

    def metrics_app(self) -> FastAPI:
        """Return the app for Prometheus."""
        return metrics_view.metrics_app(self.metrics)

    def user_app(self, callers: Callers, base_url: str) -> FastAPI:
        """Return the app for people's scripts and notebooks. ``base_url``: the hub's base path."""
        return user_app(
            callers=callers,
            sessions=self.sessions,
            extender=self.extender,
            feed=self.feed,
            clusters=self.clusters,
            offers=self.offers,
            relay=self.relay,
            base_url=base_url,
        )


def assemble(
    config: LinkConfig,
    ledger: Ledger,
    identity: Identity,
    factories: OfferedFactories,
    doors: DoorManager,
    public_key: str,
    project_table: ProjectTable | None = None,
    workshops: ProjectTable | None = None,
) -> LinkParts:
    """Create all parts of a link without starting anything.

    ``public_key``: the key that doors accept. ``project_table``: the projects other than those of workshops, None if
    only guests and robots of workshops need a project; ``workshops``: the projects of workshops, None if there are no
    workshops.
    """
    limits, tasks = config.limits, BackgroundTasks()
    metrics_view.begin(factories)
    audit = AuditEntries(factories)
    table, live_clusters = SessionTable(ledger, factories, doors, audit, tasks), ClusterTable()
    owners = JobOwners(identity, table, live_clusters)

    people = KnownPeople(ledger)
    projects = ProjectBook(people, project_table, workshops)
    charges = Charges(ledger)
    reservations = ChargeReservations(factories, projects)
    account_leases = AccountLeases(ledger, owners.all)
    account_holds = AccountHolds(ledger, account_leases, projects, factories)
    acceptances = Acceptances(ledger, config)
    permissions = Permissions(config, projects, account_leases)

    views = SessionViews(table, factories, doors, projects, config.session_url)
    feed = LiveFeed(table, live_clusters, factories, views)
    permission = Permission(limits, ledger, factories, people, projects, permissions, acceptances, table, live_clusters)
    account_work = AccountWork(tasks.spawn)
    submitter = Submitter(ledger, identity, limits, public_key, projects)
    termination = Termination(table, ledger, audit, factories, doors, identity, tasks)
    extender = Extender(table, views, permission, ledger, audit, doors, identity, tasks)
    listener = DoorListener(config, table, ledger, factories, doors, extender, Mailer(config.mail), tasks)
    submission = Submission(table, ledger, audit, submitter, termination, tasks)
    orphans = OrphanFinder(table, ledger, audit, doors, identity, account_leases, reservations, account_work, limits)
    session_reconciler = SessionReconciler(
        table,
        ledger,
        audit,
        doors,
        identity,
        owners.is_of_batch,
        orphans,
        limits,
        termination,
        extender,
        listener,
        submission.again,
    )
    admission = Admission(ledger, permission, permissions, account_leases, charges)
    sessions = Sessions(
        table,
        views,
        ledger,
        audit,
        doors,
        factories,
        permission,
        admission,
        account_leases,
        reservations,
        submission,
        listener,
        termination,
        charges,
        tasks,
    )
    RobotNotebooks(table, sessions, config.hub.base_url, tasks)

    store = ClusterStore(ledger)
    ends = WorkerEnds(store)
    cluster_submitter = ClusterSubmitter(store, ends, ledger, audit, submitter, projects, identity, tasks)
    cluster_reconciler = ClusterReconciler(
        live_clusters,
        store,
        ledger,
        ends,
        cluster_submitter,
        reservations,
        owners,
        identity,
        account_work,
        limits,
        tasks,
    )
    cluster_admission = ClusterAdmission(table, permission, permissions, people, projects, account_leases)
    scheduler_jobs = SchedulerJobs(table, views, sessions, charges, permissions, factories, doors, tasks)
    clusters = Clusters(
        live_clusters,
        store,
        table,
        ledger,
        audit,
        factories,
        permission,
        cluster_admission,
        account_leases,
        reservations,
        cluster_submitter,
        cluster_reconciler,
        ends,
        scheduler_jobs,
        limits,
        tasks,
    )
    measuring = Measuring(charges)
    figures = metrics_view.LinkMetrics(
        table,
        live_clusters,
        views,
        feed,
        factories,
        projects,
        ledger,
        measuring,
        session_reconciler.same_name,
        account_leases,
        config,
        {} if config.tls is None else {"own": config.tls.certificate, "authority": config.tls.authority},
    )
    return LinkParts(
        config=config,
        ledger=ledger,
        tasks=tasks,
        doors=doors,
        factories=factories,
        charges=charges,
        people=people,
        projects=projects,
        account_leases=account_leases,
        account_holds=account_holds,
        acceptances=acceptances,
        permissions=permissions,
        permission=permission,
        audit=audit,
        live_sessions=table,
        live_clusters=live_clusters,
        owners=owners,
        views=views,
        feed=feed,
        workshop_feed=WorkshopFeed(table, views),
        workshop_seats=WorkshopSeats(table, views, sessions, factories, people, permission, account_holds),
        account_work=account_work,
        extender=extender,
        relay=HelpRelay(),
        listener=listener,
        admission=admission,
        sessions=sessions,
        session_reconciler=session_reconciler,
        clusters=clusters,
        cluster_reconciler=cluster_reconciler,
        offers=Offers(
            factories, projects, permission, permissions, account_leases, acceptances, charges, submitter, feed
        ),
        checklist=Checklist(factories, people, projects, permissions, account_leases, acceptances, charges),
        revocation=AccessRevocation(table, owners.all, ledger, people, projects, doors, sessions, clusters, limits),
        operator=OperatorOverview(views, factories, ledger, sessions, tasks),
        measuring=measuring,
        figures=figures,
    )
