"""One factory as the link knows it: the dialect joined to the transport, and all that has to do with time.

The **watcher** asks one question for all sessions (``dialect.jobs``) and is the only one that asks it; whoever needs an
answer newer than now waits for its next one. Where accounts see only their own jobs it asks as one account after the
other (``rounds``), at the same pace. The **survey** asks what is free and who else waits, at a slow pace
and only while someone looks or waits. ``pacing`` holds how often. A failed question changes only ``health``.
No factory waits for another: each has tasks, queue and back-off of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial

from factorylink import availability, explain, pacing, windows
from factorylink.asking import Asker, Down
from factorylink.config import Access
from factorylink.errors import Distrusted, Gone, LinkError, NotDone, Refused
from factorylink.flights import Flights
from factorylink.groups import Groups
from factorylink.models import (
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
    ReservationView,
)
from factorylink.rounds import Rounds
from factorylink.schedulers.dialect import Dialect
from factorylink.schedulers.ends import end_of
from factorylink.survey import Survey
from factorylink.transports.base import Transport

log = logging.getLogger(__name__)

SUBMITS = 8  # at once
ESTIMATES = 30.0  # seconds for which an estimate is remembered


class Site:
    """One factory. ``start`` it before anything else; all methods are for one event loop.

    ``on_answer`` gets every successful answer about our jobs (it must not await ``ask_jobs_now``), and the site account
    whose jobs it is about; None: all. ``accounts`` tells who has live sessions. ``on_health`` is
    called when the state or words of ``health`` changed, ``survey.on_loads`` when what is free was asked anew.
    """

    def __init__(self, factory: Factory, access: Access, transport: Transport, dialect: Dialect, hub_name: str) -> None:
        self.factory = factory
        self.access = access
        self.transport = transport
        self.dialect = dialect
        self._asker = Asker(transport, dialect)
        self.job_name = f"factorygate-{hub_name}"
        self.health = Health(state="starting", since=datetime.now(UTC))
        self.jobs: dict[JobId, Job] = {}
        self.on_answer: Callable[[list[Job], str | None], Awaitable[None]] = _ignore
        self.on_health: Callable[[], None] = lambda: None
        self.survey = Survey(factory, self._asker, dialect, lambda: self.health.state != "unreachable")
        self._groups = Groups(factory.id, transport)
        self._tasks: list[asyncio.Task[None]] = []
        self._watcher: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()  # the watcher's pause is to be reckoned anew
        self._waiters: list[asyncio.Future[list[Job]]] = []
        self._budget = pacing.Budget()
        self._event = float("-inf")  # when something last happened
        self._looked = float("-inf")
        self._awaited = False
        self._failures = 0
        self._positions: availability.Positions | None = None  # made when asked for, of the last answers
        self._rounds = Rounds() if access.private_jobs else None
        self._places = asyncio.Semaphore(SUBMITS)
        self._turns = pacing.Turns(access.submits_per_minute)
        self._estimates: Flights[Estimate] = Flights(ESTIMATES)
        self._ended: Flights[list[End]] = Flights(2)

    async def start(self) -> None:
        """Ask from now on. Returns at once; ``health`` is ``starting`` until the first answer."""
        self.look()
        self._watcher = asyncio.create_task(self._watch())
        others = (self.survey.keep(), self._groups.keep())
        self._tasks = [self._watcher, *(asyncio.create_task(each) for each in others)]

    async def stop(self) -> None:
        """Ask no longer, and end what is under way. The transport stays open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for flights in (self._asker.alive, self._estimates, self._ended):
            await flights.close()
        for waiter in self._waiters:
            waiter.cancel()

    # --- what is known, without asking

    def view_loads(self) -> tuple[PartitionLoad, ...]:
        """What is free, by partition; empty until the first survey."""
        return self.survey.loads()

    def loads_at(self) -> datetime | None:
        """Of when that is: it is asked only while somebody looks. None: it was not asked yet."""
        return self.survey.asked_at

    def fits_now(self, size: NodeSize) -> int:
        """How many more of a size could start now; 0 also where that is not known."""
        return self.survey.fits(size)

    def maintenance(self) -> tuple[MaintenanceView, ...]:
        """Those that come, or are: the next one first."""
        return self.survey.maintenance()

    def reservations(self, account: str, pays: str | None) -> tuple[ReservationView, ...]:
        """Those that a site account may use now, with jobs that the scheduler's account ``pays``."""
        groups = partial(self._groups.of, account)
        return windows.offered(self.survey.reservations, account, pays, groups, datetime.now(UTC))

    async def reservations_now(self, account: str, pays: str | None) -> tuple[ReservationView, ...]:
        """The same, where the site may be asked first in which groups the account is."""
        self.reservations(account, pays)
        await self._groups.told(account)
        return self.reservations(account, pays)

    def position(self, job_id: JobId) -> int | None:
        """1 is next, among the waiting jobs of the partition that we can see (before the first survey: ours)."""
        job = self.jobs.get(job_id)
        if job is None:
            return None
        if self._positions is None or self._positions.survey is not self.survey.queue:
            self._positions = availability.Positions(self.survey.queue, tuple(self.jobs.values()))
        return self._positions.of(job)

    # --- what is awaited

    def expect(self, soon: bool) -> None:
        """Somebody waits for what the next answer says. True, said from outside ``on_answer``: something just
        happened, ask at once and often for a while. From inside ``on_answer`` it only sets the pace until the next."""
        self._awaited = soon
        if soon and asyncio.current_task() is not self._watcher:
            self._event = time.monotonic()
            self._wake.set()

    def private_to(self, accounts: Callable[[], Iterable[str]], once: Iterable[str]) -> None:
        """Who has live sessions, and who is to be asked once in any case. Of use only where jobs are private."""
        if self._rounds is not None:
            self._rounds.accounts = accounts
            for account in once:
                self._rounds.once(account)

    def _happened(self, account: str | None) -> None:
        """An order was carried out, so the factory answers: no back-off any more, and there is news to fetch."""
        if self._rounds is not None and account is not None:
            self._rounds.hurry(account)
        self._failures = 0
        self._event = time.monotonic()
        self._wake.set()

    def look(self) -> None:
        """Somebody looks at what is free here."""
        self._looked = time.monotonic()
        self.survey.want(pacing.LOOKED)

    # --- orders and questions

    async def submit(self, account: str, request: JobRequest, template: str = "", count: int = 1) -> JobId:
        """Submit as the account, ``count`` equal jobs in one array. Refused: not taken. Unreachable: doubtful, it may
        have been taken."""
        script = self.dialect.script(request, template)
        async with self._places:
            job = await self._asker.run(self.dialect.submit(script, count), account)
        self._happened(account)
        return job

    async def turn(self) -> None:
        """Return when a submission may be begun: they are paced. Raises NotAsked where it would be in vain."""
        self._asker.breaker.check()
        if wait := self._turns.take(time.monotonic()):
            await asyncio.sleep(wait)
            self._asker.breaker.check()

    async def cancel(self, account: str, ids: Iterable[JobId]) -> None:
        """See that jobs are over; those that are already are no error."""
        await self._asker.run(self.dialect.cancel(ids), account)
        self._happened(account)

    async def extend(self, account: str | None, job_id: JobId, minutes: int) -> None:
        """Give a running job ``minutes`` in all; asked as ``account``, None: as the watcher."""
        await self._asker.run(self.dialect.extend(job_id, minutes), account)
        self._happened(account)

    async def ask_jobs_now(self) -> list[Job]:
        """An answer to a question that is asked after this call."""
        waiter: asyncio.Future[list[Job]] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._wake.set()
        return await waiter

    async def why_ended(self, account: str, job_id: JobId) -> End | None:
        """How a job ended: from the last answer, else the scheduler, else its accounting. None: nobody knows."""
        known = self.jobs.get(job_id)
        if known is not None and known.state is JobState.ENDED:
            return end_of(known)
        asked_as = None if self._rounds is None else account
        recent = await self._ended.get(asked_as, lambda: self._asker.run(self.dialect.ended(self.job_name), asked_as))
        for end in recent:
            if end.job == job_id:
                return end
        return await self.recorded(account, job_id)

    async def recorded(self, account: str, job_id: JobId) -> End | None:
        """How a job ended, by the site's accounting. None: it has no record, keeps none, or tells neither of us."""
        return (await self.recorded_all(account, [job_id])).get(job_id)

    async def recorded_all(self, account: str, ids: Sequence[JobId]) -> dict[JobId, End]:
        """How those of an account's jobs ended that the site's accounting has a record of, in one question."""
        # Watching is the watcher's: only where it is shown nothing, the account is asked as whom the job ran. A watcher
        # that is the site's service account may not ask at all.
        for identity in (None, account):
            try:
                recorded = await self._asker.run(self.dialect.accounting(ids), identity)
            except Gone:
                return {}
            except Refused as error:
                log.info("%s: its accounting is not told to %s: %s", self.factory.id, identity, error.message)
                continue
            if found := {end.job: end for end in recorded if end.job in ids}:
                return found
        return {}

    async def estimate(self, account: str, request: JobRequest, template: str = "") -> Estimate:
        """When such a job would start; no start where the factory does not say. Remembered for ``ESTIMATES``."""
        key = request.model_dump_json(exclude={"name", "comment", "output", "setup", "command", "teardown"})
        return await self._estimates.get((account, key), lambda: self._estimate(account, request, template))

    async def _estimate(self, account: str, request: JobRequest, template: str) -> Estimate:
        if self.health.state == "ok":
            try:
                question = self.dialect.estimate(self.dialect.script(request, template))
                if question is not None:
                    asked = await self._asker.run(question, account)
                    return asked.model_copy(update={"asked_at": datetime.now(UTC)})
            except LinkError as error:
                log.info("%s gives no estimate: %s", self.factory.id, error.message)
        return Estimate(start=None, basis="none", asked_at=datetime.now(UTC))

    # --- the watcher

    async def _watch(self) -> None:
        while True:
            waiters, self._waiters = self._waiters, []
            account = None if self._rounds is None else self._rounds.next()
            began = time.monotonic()
            self._budget.take()
            try:
                jobs = await self._asker.run(self.dialect.jobs(self.job_name), account, probe=True)
            except LinkError as error:
                self._failed(error, account)
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_exception(error)
            else:
                self._answered(jobs, account, time.monotonic() - began)
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_result(jobs)
                if self._rounds is None or account is not None:
                    await self._tell(jobs, account)
            await self._pause(time.monotonic())

    async def _pause(self, since: float) -> None:
        """Until the next question is due, reckoned anew whenever something happens."""
        jitter = random.SystemRandom().uniform(0.9, 1.1)  # many links shall not ask in step
        while not self._waiters:
            self._wake.clear()
            now = time.monotonic()
            awaited = self._what_is_awaited(now)
            due = since + jitter * pacing.interval(awaited)
            due = max(due, now + self._budget.wait(now, awaited.pending))
            if due <= now:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due - now):
                    await self._wake.wait()

    def _what_is_awaited(self, now: float) -> pacing.Awaited:
        wall = datetime.now(UTC)
        waiting = [job for job in self.jobs.values() if job.state is JobState.PENDING]
        starts = [(job.expected_start - wall).total_seconds() for job in waiting if job.expected_start]
        return pacing.Awaited(
            pending=len(waiting),
            running=sum(job.state in (JobState.RUNNING, JobState.ENDING) for job in self.jobs.values()),
            awaited=self._awaited,
            since_event=now - self._event,
            until_start=min(starts, default=None),
            watched=now - self._looked < pacing.LOOKED,
            answer_seconds=self.health.answer_seconds or 0,
            failures=self._failures,
            questions=1 if self._rounds is None else len(self._rounds.all()),
        )

    def _answered(self, jobs: list[Job], account: str | None, seconds: float) -> None:
        self._failures = 0
        if self._rounds is None:
            self.jobs = {job.id: job for job in jobs}
        elif account is not None:
            jobs[:] = [job for job in jobs if job.account == account]  # the site may show more than was said
            self.jobs = self._rounds.answered(account, jobs)
        self._set_health("ok", answer_seconds=seconds)
        self._positions = None
        if any(job.state is JobState.PENDING for job in jobs):
            self.survey.want(pacing.SURVEY)

    def _failed(self, error: LinkError, account: str | None) -> None:
        if account is not None and isinstance(error, NotDone | Refused):
            log.warning("%s: asked as %s it says: %s", self.factory.id, account, error.message)
            return  # the account's own trouble; the next one is asked in its turn
        self._failures += 1
        log.warning("%s: question %d in a row failed: %s", self.factory.id, self._failures, error.message)
        # One answer that took too long may be a busy scheduler; two, or a scheduler that is not there, are more.
        if self._failures > 1 or isinstance(error, Down | Distrusted) or self.health.state == "starting":
            self._set_health("unreachable", error=error)

    def _set_health(self, state: str, *, error: LinkError | None = None, answer_seconds: float | None = None) -> None:
        old, now = self.health, datetime.now(UTC)
        self.health = Health.model_validate(
            {
                "state": state,
                "since": old.since if old.state == state else now,
                "words": explain.unreachable(error) if error else None,
                "answered_at": old.answered_at if error else now,
                "answer_seconds": old.answer_seconds if error else answer_seconds,
            }
        )
        if (old.state, old.words) != (self.health.state, self.health.words):
            log.info("%s is %s", self.factory.id, state)
            self.on_health()

    async def _tell(self, jobs: list[Job], account: str | None) -> None:
        try:
            await self.on_answer(jobs, account)
        except Exception:  # the watcher must outlive whoever listens to it
            log.exception("%s: an answer could not be worked on", self.factory.id)


async def _ignore(jobs: list[Job], account: str | None) -> None:
    """Nobody listens yet."""
