"""Replaces a cluster's lost jobs, and requests replacements for jobs whose walltime is almost over."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import dask
from dask.utils import parse_timedelta

from factorycommon.messages import Message, joined, of_error
from factorycommon.models import Worker
from factorygate.cluster import versions
from factorygate.cluster.cluster_api import ClusterApi
from factorygate.cluster.retirement import WorkerRetirement
from factorygate.cluster.worker import margin
from factorygate.cluster.worker_plan import WorkerPlan
from factorygate.link import LinkError

log = logging.getLogger("factorygate.cluster")

STEP = 2.0  # seconds between two checks of the time
GATHER = 0.05  # seconds in which events are collected and then handled together
QUICK = 60.0  # seconds: a job that ended earlier than this, and whose workers never connected, failed to start
TOGETHER = 30.0  # seconds within which lost jobs are reported as one number
CRASHES = 3  # failed starts in a row after which no more jobs are requested
# Jobs whose workers had connected, and that ended because of their work: most likely a task of the work broke them, and
# would break the next worker, too. After so many in so many seconds, and as many as are wanted, no more jobs are
# requested.
FAILURES, FAILURES_SECONDS = 5, 600.0
BY_WORK = frozenset({"failed", "out-of-memory", "finished"})  # "finished": the worker's program was made to end
FIRST_WAIT = 20.0  # seconds from a job's request until its workers connect, assumed until some have connected
SPARE = 10.0  # seconds by which a replacement is requested earlier than recent jobs took
WAITS = 20  # number of recent jobs whose waits are stored
PAUSE, LONGEST_PAUSE = 5.0, 60.0  # seconds after a refusal until jobs are requested again
KEPT = "factorygate-jobs"  # key of the saved plan in the Dask scheduler's metadata


class ReplacedCluster(Protocol):
    """The part of a cluster that its replacer uses.

    The replacer changes ``worker_plan`` itself, and then calls ``_correct_state``, which starts and retires jobs.
    """

    name: str
    workers: Mapping[str, Any]
    scheduler_comm: Any
    cluster_api: ClusterApi
    worker_plan: WorkerPlan
    leaving: WorkerRetirement

    def stop_adapting(self) -> None:
        """Stop adapting the number of jobs to the work; the number of wanted jobs stays unchanged."""
        ...

    def forget_job(self, name: str) -> None:
        """Remove a lost job from ``worker_plan`` and from ``workers``."""
        ...

    def within_cap(self, more: int) -> None:
        """Raise ValueError if ``more`` further jobs could exceed the cluster's cap in GPU-hours."""
        ...

    def _correct_state(self) -> asyncio.Future[None]:
        """Start and retire jobs until they match ``worker_plan``; return a future that is done then."""
        ...


class Replacer:
    """Replaces jobs of one cluster that were lost, or whose walltime is almost over, in the cluster's event loop."""

    def __init__(self, cluster: ReplacedCluster) -> None:
        self._cluster = cluster
        self._task: asyncio.Task[None] | None = None
        self._looking: asyncio.Future[None] | None = None
        self._wake = asyncio.Event()
        # jobs whose workers have connected; those of an earlier kernel's jobs may have come long ago
        self._came: set[str] = cluster.worker_plan.connected()
        self._alone: dict[str, float] = {}  # running jobs without connected workers: since when, in the loop's time
        self._waits: deque[float] = deque(maxlen=WAITS)
        self._crashes = 0
        self._failures: deque[float] = deque()  # when jobs with connected workers failed, in the loop's time
        self._pause = 0.0
        self._not_before = 0.0  # no requests before this time, in the loop's time
        self._said = self._said_before = ""
        self._kept: dict[str, Any] = {}
        self._gone: list[float] = []  # when jobs were lost recently, in the loop's time
        self._most: int | None = None  # number of jobs that the link would accept, from its last refusal

    def start(self) -> None:
        """Begin to replace jobs."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    def stop(self) -> None:
        """Stop replacing jobs."""
        for task in (self._task, self._looking):
            if task is not None:
                task.cancel()

    def forgive(self) -> None:
        """Reset the counts of jobs that failed; called when a person requests jobs."""
        self._failures.clear()
        self._crashes = 0

    def changed(self, names: list[str]) -> None:
        """Check the jobs soon; called when the link reports a change of the jobs ``names``."""
        if names:
            self._wake.set()

    def worker_came_or_went(self, op: str) -> None:
        """Check the jobs soon; called when a Dask worker connected or disconnected.

        ``op``: Dask's word for the event; after "remove" the link is made to ask the factory soon, since the worker's
        job may be lost.
        """
        self._wake.set()
        if op == "remove":
            self._ask_link()

    def _ask_link(self) -> None:
        """Have the link ask the factory for the cluster's jobs now, unless such a request is already under way."""
        running = self._task is not None and not self._task.done()
        if running and (self._looking is None or self._looking.done()):
            self._looking = asyncio.ensure_future(self._cluster.cluster_api.look())

    @property
    def usual_wait(self) -> float:
        """Return the seconds that a job usually takes from its request until its workers connect.

        About nine of ten recent jobs took at most this time. As long as this object has seen no job's workers connect,
        the result is ``FIRST_WAIT``.
        """
        return sorted(self._waits)[int(0.9 * (len(self._waits) - 1))] if self._waits else FIRST_WAIT

    async def _keep(self) -> None:
        while True:
            try:
                await self._look()
            except LinkError as error:  # the cluster's message shows the error
                log.info("Not replaced yet: %s", error)
                self._most = error.fits
                if error.fits and not self._pause:
                    self._pause = PAUSE  # request this number at once, but only one time
                else:
                    self._wait_longer()
            except Exception:
                log.exception("The cluster is looked at again")
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), STEP)
                await asyncio.sleep(GATHER)

    async def _look(self) -> None:
        cluster, worker_plan = self._cluster, self._cluster.worker_plan
        connected = worker_plan.connected()
        self._meet(connected)
        changed, lost, suspected = False, [], list[str]()
        for name in list(worker_plan.jobs):
            worker = cluster.cluster_api.workers.get(name)
            if worker is not None and worker.state == "ended":
                lost.append(worker)
                suspected += worker_plan.dask_workers(name) if _is_early(worker) else []
                self._lost(name, worker)
            elif worker is not None and self._is_alone_for_long(name, worker, connected):
                worker_plan.drop((name,))
                changed = True
        self._say_lost(lost)
        if not self._alone.keys().isdisjoint(worker_plan.jobs):
            self._ask_link()  # when the workers went, the factory may not have reported the end of their job yet
        if suspected:
            await cluster.scheduler_comm.suspect_tasks(workers=suspected)
        if strays := cluster.cluster_api.strays({*worker_plan.jobs, *cluster.workers, *cluster.leaving}):
            await cluster.cluster_api.cancel(*strays)
        changed |= worker_plan.let_replacements_take_over()
        asked = self._ask(connected)
        if changed or asked:
            await cluster._correct_state()
        if asked:
            self._pause = 0.0
        self._warn(connected)
        if (plan := worker_plan.saved()) != self._kept:
            await cluster.scheduler_comm.set_metadata(keys=[KEPT], value=plan)
            self._kept = plan

    def _meet(self, connected: set[str]) -> None:
        """Record jobs whose workers connected for the first time, and how long each job took to connect.

        ``usual_wait`` is computed from these times: the longer it is, the earlier replacements are requested.
        """
        for name in connected - self._came:
            self._came.add(name)
            self._crashes = 0
            worker = self._cluster.cluster_api.workers.get(name)
            if worker is not None:
                self._waits.append((datetime.now(UTC) - worker.asked).total_seconds())

    def _lost(self, name: str, worker: Worker) -> None:
        """Remove a lost job from ``worker_plan``, so that it counts as missing and is replaced.

        If a replacement would probably fail in the same way, stop adapting instead, and replace no missing job.
        """
        cluster = self._cluster
        cluster.forget_job(name)
        began, ended = worker.started, worker.ended
        quick = began is None or ended is None or ended - began < timedelta(seconds=QUICK)
        if name not in self._came and quick:
            self._crashes += 1
        words = _why(worker)
        if differ := versions.said(worker.log_tail):
            self._give_up(differ)
        elif worker.end_reason == "refused":
            self._give_up(words)
        elif self._crashes >= CRASHES:
            self._give_up(f"{self._crashes} jobs in a row ended before their workers came: {words}".strip())
        elif name in self._came and _is_early(worker) and self._fails_too_often():
            said = Message(
                "jobs-fail",
                "{jobs} jobs have failed within {minutes} minutes after their workers came, so no others are asked "
                "for. Most likely a task of the work ends its worker.",
            )
            minutes = round(FAILURES_SECONDS / 60)
            self._give_up(joined(said.format(jobs=len(self._failures), minutes=minutes), words))

    def _give_up(self, why: str) -> None:
        """Stop adapting, replace none of the jobs that are missing now, and show ``why`` in the cluster's message.

        The jobs that are still planned are replaced as usual when they end.
        """
        self._cluster.stop_adapting()
        self._cluster.worker_plan.give_up()
        self._cluster.worker_plan.message = why
        log.warning("%s: %s", self._cluster.name, why)

    def _fails_too_often(self) -> bool:
        """Record that one more job failed because of its work, and return whether too many did.

        Too many: within ``FAILURES_SECONDS``, at least ``FAILURES`` jobs, and at least as many as are wanted.
        """
        now = asyncio.get_running_loop().time()
        self._failures.append(now)
        while now - self._failures[0] > FAILURES_SECONDS:
            self._failures.popleft()
        return len(self._failures) >= max(FAILURES, self._cluster.worker_plan.wanted)

    def _say_lost(self, lost: list[Worker]) -> None:
        """Show in the cluster's message how many jobs recently ended and are replaced, and why.

        ``lost``: the jobs whose end was found now; those that ended at their walltime are not mentioned. The reason is
        that of the first one. The message stays as it is if no job is missing.
        """
        found = [worker for worker in lost if worker.end_reason != "walltime"]
        if found and self._cluster.worker_plan.missing:
            now = asyncio.get_running_loop().time()
            self._gone = [then for then in self._gone if now - then < TOGETHER] + len(found) * [now]
            why = _why(found[0])
            said = Message("jobs-replaced", "Jobs that were wanted have ended ({jobs}); others are asked for.")
            self._cluster.worker_plan.message = joined(said.format(jobs=len(self._gone)), why)

    def _is_alone_for_long(self, name: str, worker: Worker, connected: set[str]) -> bool:
        """Return whether a running job's workers have been disconnected for longer than dask's ``lost-worker-timeout``.

        A job whose workers have never connected does not count.
        """
        if name in connected or name not in self._came or worker.state != "running":
            self._alone.pop(name, None)
            return False
        now = asyncio.get_running_loop().time()
        patience: float = parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout"))
        return now - self._alone.setdefault(name, now) > patience

    # --- requesting jobs

    def _ask(self, connected: set[str]) -> bool:
        """Plan the missing jobs, and replacements for jobs that end soon: as many as the cap and the link allow.

        Return whether any job was planned. Nothing is planned during the pause that follows a refusal.
        """
        cluster, worker_plan, asked = self._cluster, self._cluster.worker_plan, 0
        over = [name for name in worker_plan.jobs if name in connected and self._is_over_soon(name)]
        over = [name for name in over if not worker_plan.has_replacement(name)]
        missing = worker_plan.missing
        most, self._most = self._most, None
        if most is not None:
            missing = min(missing, most)
            over = over[: most - missing]
        if not (missing or over) or asyncio.get_running_loop().time() < self._not_before:
            return False
        try:
            for _ in range(missing):
                cluster.within_cap(asked + 1)
                worker_plan.one_more()
                asked += 1
            for name in over:
                cluster.within_cap(asked + 1)
                worker_plan.add_replacement(name)
                asked += 1
        except ValueError as error:
            worker_plan.message = of_error(error)
            self._wait_longer()
        return asked > 0

    def _wait_longer(self) -> None:
        self._pause = min(max(PAUSE, 2 * self._pause), LONGEST_PAUSE)
        self._not_before = asyncio.get_running_loop().time() + self._pause

    def _is_over_soon(self, name: str) -> bool:
        """Return whether a job ends so soon that its replacement must be requested now.

        A replacement is never requested before half of the job's walltime is over.
        """
        left, whole = self._left(name)
        return left < min(margin(whole, 1.0) + self.usual_wait + SPARE, 0.5 * whole)

    def _left(self, name: str) -> tuple[float, float]:
        """Return the seconds that remain of a job's walltime, and its whole walltime.

        Both are infinite if the job does not run.
        """
        worker = self._cluster.cluster_api.workers.get(name)
        if worker is None or worker.state != "running" or worker.ends is None or worker.started is None:
            return float("inf"), float("inf")
        return (worker.ends - datetime.now(UTC)).total_seconds(), (worker.ends - worker.started).total_seconds()

    def _warn(self, connected: set[str]) -> None:
        """Warn in the cluster's message if the jobs of all connected workers end soon.

        No worker can then take the results of the others. The warning is removed once this has changed.
        """
        left = [self._left(name) for name in connected]
        alone = bool(left) and all(seconds < margin(whole) for seconds, whole in left)
        if alone and not self._said:
            minutes = max(1, round(max(seconds for seconds, _ in left) / 60))
            self._said_before = self._cluster.worker_plan.message
            self._said = self._cluster.worker_plan.message = (
                f"All workers' jobs end within {minutes} min, and no other is there yet to take over: what only they "
                "hold is computed again then. Gather what you need."
            )
        elif self._said and not alone:
            if self._cluster.worker_plan.message == self._said:
                self._cluster.worker_plan.message = self._said_before
            self._said = ""


def _why(worker: Worker) -> str:
    """Return a text that says why a job ended; "" if no reason is known."""
    return "" if worker.end is None else worker.end.as_message("what")


def _is_early(worker: Worker) -> bool:
    """Return whether a job ended well before its walltime because its program failed, ended or ran out of memory.

    If the job's workers had connected, a task of the work is the probable cause. Return False if the time of the job's
    end is not known. If only the job's start or planned end is not known, the reason alone decides.
    """
    ends, ended, started = worker.ends, worker.ended, worker.started
    if worker.end_reason not in BY_WORK or ended is None:
        return False
    if ends is None or started is None:
        return True
    return (ends - ended).total_seconds() > margin((ends - started).total_seconds(), 1.0) + SPARE
