"""One factory: asks its scheduler and gives it orders, by dialect and transport, with background tasks and rate limits.

The **poller** (``job_poller``) asks about the jobs of all sessions and clusters together. The **survey**
(``load_poller``) asks for free resources, waiting jobs and reservations, at a low rate and only while somebody looks at
the factory or a job waits. No factory waits for another factory: each has tasks, a queue and a back-off of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial

from factorycommon.models import (
    End,
    Estimate,
    Factory,
    Health,
    Job,
    JobId,
    JobRequest,
    JobState,
    MaintenanceView,
    NodeSize,
    PartitionLoad,
    Reservation,
    ReservationView,
)
from factorylink.config import Access
from factorylink.errors import FactoryError, Gone, Refused
from factorylink.jobs.ownership import Found, OwnJob
from factorylink.schedulers.dialect import Dialect
from factorylink.schedulers.ends import end_of
from factorylink.site import availability, maintenance
from factorylink.site.job_orders import JobOrders, of_its_form
from factorylink.site.job_poller import JobPoller
from factorylink.site.load_poller import LoadPoller
from factorylink.site.scheduler_client import SchedulerClient
from factorylink.site.submission_turns import SubmissionTurns
from factorylink.site.unix_groups import Groups
from factorylink.transports.base import CommandRunner
from factorylink.transports.command_slots import CommandSlots
from factorylink.util import rate_limiter
from factorylink.util.single_flight import SingleFlight

log = logging.getLogger(__name__)

SUBMITS = 8  # submissions at once
ESTIMATES = 30.0  # seconds for which an estimate is cached


class Site:
    """One factory: questions to its scheduler, and orders about its jobs.

    Call ``private_to``, ``knows_ids`` and ``count_earlier`` before ``start``, and methods that wait for an answer after
    ``start``. Use the object in one event loop only. ``on_answer`` is called with the scheduler's answers about this
    gateway's jobs, each with the site account whose jobs the answer lists (None: all accounts). ``on_answer`` must not
    await ``ask_jobs_now``. ``on_health`` is called when the state or the explanation in ``health`` has changed,
    ``load_poller.on_loads`` after each new answer about free resources, waiting jobs or reservations.
    """

    def __init__(
        self, factory: Factory, access: Access, commands: CommandRunner, dialect: Dialect, hub_name: str
    ) -> None:
        self.factory = factory
        self.access = access
        self.commands = commands
        self.dialect = dialect
        self._scheduler_client = SchedulerClient(commands, dialect)
        self.job_name = f"factorygate-{hub_name}"
        self.on_answer: Callable[[list[Job], str | None], Awaitable[None]] = _ignore
        self.on_health: Callable[[], None] = lambda: None
        self._orders = JobOrders(
            self._scheduler_client,
            dialect,
            has_answered=lambda: self.health.answered_at is not None,
            happened=lambda account: self._watch.happened(account),
        )
        self._watch = JobPoller(
            factory.id,
            self._scheduler_client,
            dialect,
            self.job_name,
            access.private_jobs,
            self._answered,
            lambda: self.on_health(),
            self._orders.by_id,
        )
        self.load_poller = LoadPoller(
            factory, self._scheduler_client, dialect, lambda: self.health.state != "unreachable"
        )
        self._groups = Groups(factory.id, commands)
        self._tasks: list[asyncio.Task[None]] = []
        self._positions: availability.Positions | None = None  # computed on demand, from the last answers
        # this gateway's waiting jobs: when an answer first listed each of them, in ticks
        self._waits_since: dict[JobId, float] = {}
        # this gateway's jobs that waited: since when the answers lack them, in ticks
        self._left: dict[JobId, float] = {}
        # with limits per account, so that no account blocks the submissions of others
        self._submits = CommandSlots(SUBMITS, SUBMITS // 2, 1)
        self._turns = SubmissionTurns(access.submits_per_minute)
        self._estimates: SingleFlight[Estimate] = SingleFlight(ESTIMATES)
        self._ended: SingleFlight[list[End]] = SingleFlight(2)

    async def start(self) -> None:
        """Start the factory's tasks; return before the scheduler has answered, while ``health`` is ``starting``."""
        self.look()
        self._tasks = [asyncio.create_task(each.keep()) for each in (self._watch, self.load_poller, self._groups)]

    async def stop(self) -> None:
        """Stop the factory's tasks and running questions. The transport stays open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for work in (self._scheduler_client.alive, self._estimates, self._ended, self._orders):
            await work.close()
        self._watch.close()
        self._turns.close()

    async def _answered(self, jobs: list[Job], account: str | None) -> None:
        self._positions = None
        waiting = {job.id for job in self.jobs.values() if job.state is JobState.PENDING}
        now = time.monotonic()
        left = {id: now for id in self._waits_since if id not in self.jobs} | self._left
        # A later answer about the queue lacks these jobs as well.
        self._left = {id: at for id, at in left.items() if at >= self.load_poller.queue_asked and id not in self.jobs}
        self._waits_since = {id: self._waits_since.get(id, now) for id in waiting}
        if waiting:
            self.load_poller.want(rate_limiter.SURVEY)
        if any(self._newer(id) for id in waiting):
            self.load_poller.hurry()
        await self.on_answer(jobs, account)

    # --- what is known, without asking

    @property
    def health(self) -> Health:
        """Return the factory's health; ``starting`` until the scheduler first answers or counts as unreachable."""
        return self._watch.health

    @property
    def jobs(self) -> dict[JobId, Job]:
        """Return this gateway's jobs by id, from the last answers."""
        return self._watch.jobs

    @property
    def silent(self) -> frozenset[JobId]:
        """Return the ids of known jobs that the last answer lacks, and about which the question by id got no answer.

        It is unknown whether these jobs have ended.
        """
        return self._watch.silent

    def view_loads(self) -> tuple[PartitionLoad, ...]:
        """Return the load of each partition; empty before the scheduler's first answer about nodes."""
        return self.load_poller.loads()

    def loads_at(self) -> datetime | None:
        """Return when the scheduler last answered about free resources and waiting jobs; None: not yet.

        This may be long ago: the link asks only while somebody needs the answer.
        """
        return self.load_poller.asked_at

    def fits_now(self, size: NodeSize) -> int:
        """Return how many more sessions of a size could start now; 0 if that is not known."""
        return self.load_poller.fits(size)

    def all_out(self, partitions: str) -> bool:
        """Return whether every node of these partitions is out of service; False if that is not known.

        ``partitions``: a job's partitions, separated by commas.
        """
        return all(self.load_poller.all_out(name) for name in partitions.split(","))

    def maintenance(self) -> tuple[MaintenanceView, ...]:
        """Return the present and future maintenances, the next one first."""
        return self.load_poller.maintenance()

    def reservations(self, account: str, pays: str | None) -> tuple[ReservationView, ...]:
        """Return the reservations that a site account may use now, without those for maintenance.

        Reservations for Unix groups are missing until the account's groups have been looked up; this call requests the
        look-up if it is needed. ``pays``: the scheduler's account that is charged; None: the site account's default.
        """
        groups = partial(self._groups.of, account)
        return maintenance.offered(self.load_poller.reservations, account, pays, groups, datetime.now(UTC))

    async def reservations_now(self, account: str, pays: str | None) -> tuple[ReservationView, ...]:
        """Return the reservations that a site account may use now or later, without those for maintenance.

        If the account's Unix groups must be looked up first, wait a moment for the look-up. If the groups are still
        unknown then, reservations for groups are missing. ``pays``: the scheduler's account that is charged; None: the
        site account's default, whose name is not known here, so reservations that list accounts are missing.
        """
        groups, now = partial(self._groups.of, account), datetime.now(UTC)
        maintenance.offered(self.load_poller.reservations, account, pays, groups, now, coming=True)
        await self._groups.wait_for(account)
        return maintenance.offered(self.load_poller.reservations, account, pays, groups, now, coming=True)

    def reservation(self, name: str) -> Reservation | None:
        """Return the reservation with the id ``name``, as last reported.

        None: there is none, it is over, or it is for a maintenance.
        """
        now = datetime.now(UTC)
        known = (one for one in self.load_poller.reservations if one.id == name and not one.maintenance)
        return next((one for one in known if one.end > now), None)

    def position(self, job_id: JobId) -> int | None:
        """Return a job's place in the queue of its partition; 1 is next. Jobs that the link may not see do not count.

        For a job in several partitions, return its best place. None: the job is not known or does not wait, or the
        scheduler's last list of waiting jobs is older than the job.
        """
        job = self.jobs.get(job_id)
        if job is None or self._newer(job_id):
            return None
        if self._positions is None or self._positions.queue is not self.load_poller.queue:
            self._positions = availability.Positions(self.load_poller.queue, tuple(self.jobs.values()), self._left)
        return self._positions.of(job)

    def _newer(self, job_id: JobId) -> bool:
        """Return whether a waiting job is newer than the last list of waiting jobs, and missing in this list."""
        since = self._waits_since.get(job_id)
        return since is not None and since > self.load_poller.queue_asked and job_id not in self.load_poller.queue.ids

    # --- what is awaited

    def expect(self, soon: bool) -> None:
        """Set how soon the next answer is needed.

        ``soon`` True: somebody waits for the next answer. The site is asked as soon as the rate limit and the back-off
        after failures allow, and then frequently for some time. False: nobody waits for the next answer. If
        ``on_answer`` calls this method with True, only the interval to the next question becomes shorter.
        """
        self._watch.expect(soon)

    def private_to(self, accounts: Callable[[], Iterable[str]], once: Iterable[str]) -> None:
        """Set the site accounts under which to ask for jobs; no effect unless accounts see only their own jobs.

        ``accounts``: returns the accounts that have live sessions or clusters; ``once``: accounts under which to ask
        once, even if they have no live sessions or clusters.
        """
        self._watch.private_to(accounts, once)

    def knows_ids(self, known: Callable[[str | None], Iterable[JobId]]) -> None:
        """Set which jobs the poller asks for by id if the answer to its question by name lacks them.

        ``known`` is called with a site account, and returns the ids of this account's jobs. If ``known`` is called with
        None, it returns the ids of all accounts' jobs.
        """
        self._watch.known = known

    async def by_id(self, ids: Iterable[JobId], account: str | None = None) -> list[Job]:
        """Return the jobs with these ids that the scheduler knows, whatever their names. Raises FactoryError.

        Ids that do not have this scheduler's form are left out. ``account``: the site account that asks; None: the
        watcher (the account as which the link asks the scheduler).
        """
        return await self._orders.by_id(ids, account)

    async def ask_jobs_now(self) -> list[Job]:
        """Wait until the poller has asked again; return the jobs in the answer. Raises FactoryError.

        A question that is already being asked does not count. If accounts see only their own jobs, the poller asks as
        the account whose turn is next, and the answer lists only this account's jobs. If no account has to be asked,
        the poller asks as the watcher (the account as which the link asks the scheduler).
        """
        return await self._watch.ask_now()

    def look(self) -> None:
        """Record that somebody looks at this factory now.

        For the next ``rate_limiter.LOOKED`` seconds, the link asks for free resources, waiting jobs and reservations,
        and asks about jobs more often.
        """
        self._watch.look()
        self.load_poller.want(rate_limiter.LOOKED)

    # --- orders and questions

    async def submit(self, account: str, request: JobRequest, template: str = "", count: int = 1) -> JobId:
        """Submit a job as the account, or ``count`` equal jobs as one array; return the id.

        ``template``: the operator's template for the batch script; "": the dialect's own. Raises FactoryError, such as
        Refused if the link or the scheduler refused the job. After an Unreachable other than NotDone, the scheduler may
        have accepted the job. After any other error, there is no job.
        """
        script = self.dialect.script(request, template)
        async with self._submits.of(account):
            job = await self._scheduler_client.run(self.dialect.submit(script, count), account)
        self._watch.happened(account)
        return job

    def check(self) -> None:
        """Raise NotAsked if the scheduler is down, or has left the last questions unanswered."""
        self._scheduler_client.circuit_breaker.check()

    def count_earlier(self, ago: Iterable[float]) -> None:
        """Count the submissions of an earlier process of the link in the rate limit of ``turn``.

        ``ago``: how many seconds ago each was made.
        """
        self._turns.count_earlier(ago)

    async def turn(self, person: str) -> None:
        """Wait until the rate limit allows a submission for this person.

        While several people wait, they get their turns one after the other, however many jobs each of them has. Raises
        NotAsked if the scheduler is down, or has left the last questions unanswered.
        """
        self.check()
        await self._turns.take(person)
        self.check()

    async def cancel(self, account: str, jobs: Iterable[OwnJob]) -> dict[JobId, Found]:
        """Cancel jobs of an account; return what was found under each id. Raises FactoryError.

        The scheduler is asked about the jobs first; only those found to be ``Found.OURS`` are cancelled. For an array,
        there is a finding under the id of each task that has not ended; if there is no such task, the array's id has
        the finding ``Found.GONE``.
        """
        return await self._orders.cancel(account, jobs)

    async def extend(self, account: str | None, job: OwnJob, minutes: int) -> Found:
        """Set a running job's time limit to ``minutes``, if the job still has the comment that it was submitted with.

        The scheduler is asked about the job first. Return what was found under the job's id; the limit was set only if
        the result is ``Found.OURS``. ``account``: the site account that gives the order; None: the watcher (the account
        as which the link asks the scheduler). Raises FactoryError.
        """
        return await self._orders.extend(account, job, minutes)

    async def why_ended(self, account: str, job_id: JobId) -> End | None:
        """Return how a job ended; None: no source shows the job's end. Raises FactoryError.

        The sources are the poller's last answers, then a question to the scheduler about ended jobs, then the site's
        accounting. The first source that shows the end is used.
        """
        known = self.jobs.get(job_id)
        if known is not None and known.state is JobState.ENDED:
            return end_of(known)
        asked_as = account if self.access.private_jobs else None
        recent = await self._ended.get(
            asked_as, lambda: self._scheduler_client.run(self.dialect.ended(self.job_name), asked_as)
        )
        for end in recent:
            if end.job == job_id:
                return end
        return await self.recorded(account, job_id)

    async def recorded(self, account: str, job_id: JobId) -> End | None:
        """Return how a job ended, from the site's accounting. Raises FactoryError.

        None if there is no record of the job, or if neither the watcher (the account as which the link asks the
        scheduler) nor ``account`` may see it.
        """
        return (await self.recorded_all(account, [job_id])).get(job_id)

    async def recorded_all(self, account: str, ids: Sequence[JobId]) -> dict[JobId, End]:
        """Return how an account's jobs ended, by id, from the site's accounting. Raises FactoryError.

        The watcher (the account as which the link asks the scheduler) asks about all ``ids`` in one question. If the
        watcher is refused, or gets no record of any of these jobs, the same question is asked as ``account``. Jobs
        without a record are left out.
        """
        # Usually the watcher asks. Only if the watcher sees no record, the account under which the job ran asks. A
        # watcher that is the site's service account may not ask at all.
        ids = of_its_form(self.dialect, ids)
        for identity in (None, account) if ids else ():
            try:
                recorded = await self._scheduler_client.run(self.dialect.accounting(ids), identity)
            except Gone:
                return {}
            except Refused as error:
                log.info("%s: its accounting is not told to %s: %s", self.factory.id, identity, error.message)
                continue
            if found := {end.job: end for end in recorded if end.job in ids}:
                return found
        return {}

    async def estimate(self, account: str, request: JobRequest, template: str = "") -> Estimate:
        """Return an estimate of when a job of this request would start; ``start`` is None if there is no estimate.

        An answer is cached for ``ESTIMATES`` seconds. ``template``: the operator's template for the batch script; "":
        the dialect's own.
        """
        key = request.model_dump_json(exclude={"name", "comment", "output", "setup", "command", "teardown"})
        return await self._estimates.get((account, key, template), lambda: self._estimate(account, request, template))

    async def _estimate(self, account: str, request: JobRequest, template: str) -> Estimate:
        if self.health.state == "ok":
            try:
                question = self.dialect.estimate(self.dialect.script(request, template))
                if question is not None:
                    asked = await self._scheduler_client.run(question, account)
                    return asked.model_copy(update={"asked_at": datetime.now(UTC)})
            except FactoryError as error:
                log.info("%s gives no estimate: %s", self.factory.id, error.message)
        return Estimate(start=None, basis="none", asked_at=datetime.now(UTC))


async def _ignore(jobs: list[Job], account: str | None) -> None:
    """Do nothing; this is ``Site.on_answer`` until another function is set."""
