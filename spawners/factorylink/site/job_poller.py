"""The poller of one factory: asks repeatedly about all of this gateway's jobs, and passes the answers on.

The poller first asks for jobs by their name. If the answer lacks jobs whose ids the link knows, the poller then asks
for them by id, since somebody may have changed their names. No other part of the running link asks by name for the
present jobs: code that needs a newer answer waits for the poller's next answer. (``job_orders`` asks by id before each
order; ``Site.why_ended`` asks by name how jobs have ended.) If accounts see only their own jobs, the poller asks as one
account after the other (``account_rotation``). ``rate_limiter`` limits the rate of all the poller's questions together.
A failed question changes nothing that is known about jobs: if the question by name fails, only ``health`` may change;
if a question by id fails, its ids are in ``silent``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import statistics
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime

from factorycommon.models import Health, Job, JobId, JobState
from factorylink.errors import Distrusted, FactoryError, Misread, NotDone, Refused, Unreachable
from factorylink.explain import explain
from factorylink.schedulers.dialect import Dialect
from factorylink.site.account_rotation import AccountRotation
from factorylink.site.job_orders import pieces
from factorylink.site.scheduler_client import Down, SchedulerClient
from factorylink.util import rate_limiter

log = logging.getLogger(__name__)

# By the usual one of this many answers, questions become rarer. So one answer that is late, for example because many
# jobs end at that moment, delays no question.
ANSWERS = 3
ACCOUNT_SECONDS = 30.0  # seconds for all questions of one account's turn, including the wait for a slot


class JobPoller:
    """Asks for this gateway's jobs while ``keep`` runs.

    ``name``: the name of the jobs. ``private``: whether accounts see only their own jobs. ``on_answer`` is called with
    each successful answer, and with the account whose jobs the answer lists (None: all accounts). If ``private``,
    ``on_answer`` is not called with answers to the watcher, the account as which the link asks the scheduler.
    ``on_health`` is called when the state or the explanation in ``health`` has changed. ``by_id``: asks the scheduler
    for jobs by their ids, as an account (None: the watcher).
    """

    def __init__(
        self,
        factory_id: str,
        scheduler_client: SchedulerClient,
        dialect: Dialect,
        name: str,
        private: bool,
        on_answer: Callable[[list[Job], str | None], Awaitable[None]],
        on_health: Callable[[], None],
        by_id: Callable[[Iterable[JobId], str | None], Awaitable[list[Job]]],
    ) -> None:
        self.health = Health(state="starting", since=datetime.now(UTC))
        self.jobs: dict[JobId, Job] = {}  # a new dict after each answer
        # ids of an account's jobs, or of all jobs
        self.known: Callable[[str | None], Iterable[JobId]] = lambda _account: ()
        # missing in the last answer, and the question by id was not answered
        self.silent: frozenset[JobId] = frozenset()
        self._factory = factory_id
        self._scheduler_client = scheduler_client
        self._dialect = dialect
        self._name = name
        self._on_answer = on_answer
        self._on_health = on_health
        self._by_id = by_id
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()  # set when the pause must be computed again
        self._waiters: list[asyncio.Future[list[Job]]] = []  # callers that wait for the next question
        self._in_flight: list[asyncio.Future[list[Job]]] = []  # callers that wait for the question that is being asked
        self._budget = rate_limiter.QuestionRateLimiter()
        # when something last happened, in ticks, the latest last
        self._events: deque[float] = deque([float("-inf")], maxlen=rate_limiter.MANY_EVENTS)
        self._unchanged = 0  # number of answers since the last event alone, and since an answer that showed a change
        self._looked = float("-inf")
        self._awaited = False
        self._failures = 0
        self._answer_seconds: deque[float] = deque(maxlen=ANSWERS)  # how long the last answers took
        self._rounds = AccountRotation() if private else None

    def expect(self, soon: bool) -> None:
        """Set how soon the next answer is needed.

        ``soon`` True: somebody waits for the next answer. The poller asks as soon as the rate limit and the back-off
        after failures allow, and then frequently for some time. False: nobody waits for the next answer. If
        ``on_answer`` calls this method with True, the poller only shortens the interval to the next question.
        """
        self._awaited = soon
        if soon and asyncio.current_task() is not self._task:
            self._record_event()

    def private_to(self, accounts: Callable[[], Iterable[str]], once: Iterable[str]) -> None:
        """Set the site accounts under which to ask for jobs; no effect unless accounts see only their own jobs.

        ``accounts``: returns the accounts that have live sessions or clusters; ``once``: accounts under which to ask
        once, even if they have no live sessions or clusters.
        """
        if self._rounds is not None:
            self._rounds.accounts = accounts
            for account in once:
                self._rounds.once(account)

    def happened(self, account: str | None) -> None:
        """Let ``keep`` ask again soon, without back-off.

        Called when an order was carried out: this shows that the factory answers, and jobs may have changed.
        ``account``: the site account as which the order was carried out; None: the watcher, the account that asks about
        all jobs.
        """
        if self._rounds is not None and account is not None:
            self._rounds.hurry(account)
        self._failures = 0
        self._record_event()

    def look(self) -> None:
        """Record that somebody looks at this factory now, which makes the questions more frequent."""
        self._looked = time.monotonic()

    async def ask_now(self) -> list[Job]:
        """Wait until the poller has asked again; return the jobs in the answer. Raises FactoryError.

        A question that is already being asked does not count. If accounts see only their own jobs, the poller asks as
        the account whose turn is next, and the answer lists only this account's jobs. If no account has to be asked,
        the poller asks as the watcher (the account as which the link asks the scheduler).
        """
        waiter: asyncio.Future[list[Job]] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._wake.set()
        return await waiter

    def close(self) -> None:
        """Cancel all pending calls of ``ask_now``."""
        for waiter in (*self._in_flight, *self._waiters):
            waiter.cancel()

    # --- the loop

    async def keep(self) -> None:
        """Ask the scheduler for this gateway's jobs, again and again, until cancelled."""
        self._task = asyncio.current_task()
        while True:
            waiters, self._waiters = self._waiters, []
            self._in_flight = waiters
            account = None if self._rounds is None else self._rounds.next()
            began = time.monotonic()
            # An account's commands may take any time, and so may its earlier commands, which still hold its slots.
            deadline = None if account is None else asyncio.get_running_loop().time() + ACCOUNT_SECONDS
            self._budget.take()
            try:
                jobs = await self._asked_by_name(account, deadline)
                seconds = time.monotonic() - began
                if self._rounds is None or account is not None:
                    jobs = [*jobs, *await self._asked_by_id(jobs, account, deadline)]
            except FactoryError as error:
                self._took(account, began)
                await self._failed(error, account)
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_exception(error)
            else:
                self._took(account, began)
                self._answered(jobs, account, seconds)
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_result(jobs)
                if self._rounds is None or account is not None:
                    await self._tell(jobs, account)
            await self._pause(time.monotonic())

    def _took(self, account: str | None, began: float) -> None:
        if self._rounds is not None and account is not None:
            self._rounds.took(account, long=time.monotonic() - began > ACCOUNT_SECONDS / 3)

    async def _asked_by_name(self, account: str | None, deadline: float | None) -> list[Job]:
        """Return the jobs that the scheduler lists under this gateway's name. Raises FactoryError.

        ``account``: the site account under which to ask; None: the watcher, the account that asks about all jobs.
        ``deadline``: the time of the event loop's clock after which to give up and raise Unreachable; None: no limit.
        """
        try:
            async with asyncio.timeout_at(deadline):
                return await self._scheduler_client.run(self._dialect.jobs(self._name), account, probe=True)
        except TimeoutError:
            raise Unreachable(f"It took longer than {ACCOUNT_SECONDS:g} s.") from None

    async def _asked_by_id(self, jobs: list[Job], account: str | None, deadline: float | None) -> list[Job]:
        """Ask by id for the known jobs that are missing in ``jobs``; return those that the scheduler lists.

        ``jobs``: the answer to the question by name. ``account``: the site account under which to ask for its jobs;
        None: ask for the jobs of all accounts, as the watcher. If a question fails, nothing is raised: the ids
        without an answer are stored in ``silent``. ``deadline``: the time of the event loop's clock after which to give
        up; None: no limit.
        """
        there = {job.id for job in jobs}
        asked: dict[JobId, list[JobId]] = {}  # by requested id: a job's, or an array's with several missing jobs
        missed = {id for id in self.known(account) if id not in there}
        array_of = self._dialect.array_of
        arrays = Counter(array_of(id) for id in missed)
        for id in sorted(missed):
            array = array_of(id)
            asked.setdefault(array if array is not None and arrays[array] > 1 else id, []).append(id)
        found: list[Job] = []
        silent: set[JobId] = set()
        error: FactoryError | None = None
        for some in pieces(list(asked)):
            # after any other error the factory will not answer the next questions either, so they are not asked
            if error is None or isinstance(error, Refused | Misread):
                self._budget.take()
                try:
                    async with asyncio.timeout_at(deadline):
                        found += await self._by_id(some, account)
                    continue
                except FactoryError as failed:
                    error = failed
                except TimeoutError:
                    error = Unreachable(f"It took longer than {ACCOUNT_SECONDS:g} s.")
            silent |= {id for each in some for id in asked[each]}
        self.silent = frozenset(silent)
        if error is not None:
            log.warning("%s: %d jobs are asked for by id again: %s", self._factory, len(silent), error.message)
        return [job for job in found if job.id not in there]

    async def _pause(self, since: float) -> None:
        """Wait until the next question is due; return at once while somebody waits in ``ask_now``.

        The time is computed again whenever something happens. ``since``: when the last question ended.
        """
        jitter = random.SystemRandom().uniform(0.9, 1.1)  # many links must not ask at the same moment
        while not self._waiters:
            self._wake.clear()
            now = time.monotonic()
            awaited = self._what_is_awaited(now)
            due = since + jitter * rate_limiter.interval(awaited)
            due = max(due, now + self._budget.wait(now, awaited.pending))
            if due <= now:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due - now):
                    await self._wake.wait()

    def _record_event(self) -> None:
        self._events.append(time.monotonic())
        # Earlier answers of a burst do not show its last jobs, so they count as one.
        self._unchanged = min(self._unchanged, 1) if self._last_events_are_a_burst() else 0
        self._wake.set()

    def _last_events_are_a_burst(self) -> bool:
        """Return whether the last ``MANY_EVENTS`` events happened within ``AT_A_TIME`` seconds."""
        return (
            len(self._events) == rate_limiter.MANY_EVENTS
            and self._events[-1] - self._events[0] < rate_limiter.AT_A_TIME
        )

    def _what_is_awaited(self, now: float) -> rate_limiter.Awaited:
        wall = datetime.now(UTC)
        waiting = [job for job in self.jobs.values() if job.state is JobState.PENDING]
        starts = [(job.expected_start - wall).total_seconds() for job in waiting if job.expected_start]
        questions = 1 if self._rounds is None else max(1, len(self._rounds.all()))
        burst = self._last_events_are_a_burst()
        return rate_limiter.Awaited(
            pending=len(waiting),
            running=sum(job.state in (JobState.RUNNING, JobState.ENDING) for job in self.jobs.values()),
            awaited=self._awaited,
            since_event=now - self._events[-1],
            burst=burst and now - self._events[0] < rate_limiter.AT_A_TIME,
            unchanged=self._unchanged // questions if burst else 0,
            until_start=min(starts, default=None),
            watched=now - self._looked < rate_limiter.LOOKED,
            answer_seconds=statistics.median_low(self._answer_seconds or (0.0,)),
            failures=self._failures,
            questions=questions,
        )

    def _answered(self, jobs: list[Job], account: str | None, seconds: float) -> None:
        self._failures = 0
        self._answer_seconds.append(seconds)
        known = self.jobs
        if self._rounds is None:
            self.jobs = {job.id: job for job in jobs}
        elif account is not None:
            jobs[:] = [job for job in jobs if job.account == account]  # the site may list jobs of other accounts, too
            self.jobs = self._rounds.answered(account, jobs)
        self._unchanged = 0 if _changed(known, self.jobs) else self._unchanged + 1
        self._set_health("ok", answer_seconds=seconds)

    async def _failed(self, error: FactoryError, account: str | None) -> None:
        if account is not None and not isinstance(error, Down | Distrusted):
            log.warning("%s: asked as %s it says: %s", self._factory, account, error.message)
            if isinstance(error, NotDone | Refused):
                return  # the problem concerns this account only; the next account is asked in its turn
            try:
                await self._scheduler_client.lives()
            except FactoryError as silence:
                # use the watcher's message, since the output of an account's shell is not for other people
                error = silence
            else:
                return
        self._failures += 1
        log.warning("%s: question %d in a row failed: %s", self._factory, self._failures, error.message)
        # One late answer may mean a busy scheduler. Two, or a scheduler that is down, count as a failure.
        if self._failures > 1 or isinstance(error, Down | Distrusted) or self.health.state == "starting":
            self._set_health("unreachable", error=error)

    def _set_health(
        self, state: str, *, error: FactoryError | None = None, answer_seconds: float | None = None
    ) -> None:
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
            log.info("%s is %s", self._factory, state)
            self._on_health()

    async def _tell(self, jobs: list[Job], account: str | None) -> None:
        try:
            await self._on_answer(jobs, account)
        except Exception:  # any error: the poller must continue, whatever its listeners raise
            log.exception("%s: an answer could not be worked on", self._factory)


def _changed(before: Mapping[JobId, Job], after: Mapping[JobId, Job]) -> bool:
    """Return whether a job started, ended, got nodes that boot, or was put back into the queue.

    New jobs that wait are no change, nor are ended jobs that the scheduler no longer lists.
    """
    for id, job in before.items():
        now = after.get(id)
        if job.state is not JobState.ENDED and (now is None or (now.state, now.phase) != (job.state, job.phase)):
            return True
    return any(job.state is not JobState.PENDING for id, job in after.items() if id not in before)
