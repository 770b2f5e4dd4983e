"""Requests the jobs of one cluster from the link, many jobs in one HTTP request, and follows their states."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Container, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from factorycommon.language import N_
from factorycommon.models import (
    BatchRequest,
    CancelRequest,
    Cluster,
    ClusterRequest,
    Scheduler,
    Worker,
    WorkerLog,
    WorkerState,
)
from factorygate.link import Link, LinkError

log = logging.getLogger("factorygate.cluster")

GATHER = 0.02  # seconds in which requests are collected for one batch
MOST = 1000  # maximum number of jobs in one request
END_SECONDS = 60.0  # seconds to end the cluster; later it ends by itself, since its events are not read
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)  # seconds before the same request is sent again

T = TypeVar("T")
Asked = tuple[str, asyncio.Future[None]]  # a job's name, and the future of its caller


def _closed() -> LinkError:
    return LinkError("gone", N_("The cluster was closed."))


class ClusterApi:
    """The client of the link for one cluster, to be used in one event loop only.

    ``on_change`` is called after each report of the link, with the names of the jobs that changed. A LinkError means
    that the link refuses or does not answer; ``begin``, ``changed``, ``submit`` and ``cancel`` also raise LinkError if
    this object is closed.
    """

    def __init__(self, link: Link, on_change: Callable[[list[str]], None]) -> None:
        self.id = uuid.uuid4().hex
        self.cluster: Cluster | None = None  # from the link's last event, without its workers
        self.workers: dict[str, Worker] = {}
        self.logs: dict[str, tuple[str, ...]] = {}  # last lines of the requested logs, by job
        self.request: ClusterRequest | None = None  # the request that created the cluster
        self._link = link
        self._on_change = on_change
        self._asked: list[tuple[str, float | None, asyncio.Future[None]]] = []
        self._unwanted: list[Asked] = []
        self._waiters: list[asyncio.Future[None]] = []  # futures of callers that wait for the next event
        self._updated_at = datetime.now(UTC)
        self._cancelled: set[str] = set()
        self._making_known = asyncio.Lock()
        self._known = True
        self._begun = False  # True if the link may know the cluster
        self.resumed = False  # True if the cluster existed before this object
        self._closed = False
        self._over: LinkError | None = None  # why no report comes any more
        self._flush: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None

    def remember(self, request: ClusterRequest) -> None:
        """Keep ``request``, with which the cluster is created again if the link loses the cluster.

        Called for a cluster that this object has not created.
        """
        self.request = request

    async def begin(self, request: ClusterRequest) -> None:
        """Create the cluster at the link, and follow its jobs from now on. Raises LinkError."""
        self.request = request
        async with self._making_known:
            self._must_be_open()
            self._begun = True
            try:
                self._take(await self._again(lambda: self._link.put(f"/clusters/{self.id}", request, Cluster)))
            except LinkError as error:
                self._begun = error.transient  # otherwise the link has refused the cluster
                raise
        self._must_be_open()
        if self._following is None:
            self._following = asyncio.create_task(self._follow())

    async def resume(self, cluster_id: str) -> None:
        """Follow a cluster that already exists at the link. Raises LinkError."""
        self.id, self._begun, self.resumed = cluster_id, True, True
        self._take(await self._again(lambda: self._link.get(f"/clusters/{cluster_id}", Cluster)))
        self._following = asyncio.create_task(self._follow())

    async def scheduler(self) -> Scheduler:
        """Return the address and the keys of the cluster's Dask scheduler. Raises LinkError."""
        return await self._again(lambda: self._link.get(f"/clusters/{self.id}/scheduler", Scheduler))

    async def changed(self) -> None:
        """Wait for the link's next report about the cluster: an event, or the answer to a request.

        Raises LinkError if no report can come any more: the event stream has ended for good, or this object is closed.
        """
        self._must_be_open()
        if self._over is not None:
            raise self._over
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    async def submit(self, name: str, hours: float | None = None) -> None:
        """Request a job; return when the link has accepted it.

        Jobs of the same ``hours`` that are requested within ``GATHER`` seconds are accepted or refused together.
        ``hours``: the walltime; None: the cluster's. Raises LinkError.
        """
        done = self._soon()
        self._asked.append((name, hours, done))
        await done

    async def cancel(self, *names: str) -> None:
        """Cancel the jobs ``names``; return when the link has recorded the cancellation. Raises LinkError."""
        if not names:
            return
        done = self._soon()
        self._unwanted += [(name, done) for name in names]
        await done

    def strays(self, known: Container[str]) -> list[str]:
        """Return the names of live jobs that the link knows, but that are neither in ``known`` nor cancelled.

        The link has accepted such a job, but the link's answer was lost, or a later request to cancel the job failed.
        """
        return [
            name
            for name, worker in self.workers.items()
            if worker.state != WorkerState.ENDED and name not in known and name not in self._cancelled
        ]

    async def look(self) -> None:
        """Request the cluster's state from the link now, and keep the answer in ``cluster`` and ``workers``.

        If jobs of the cluster have not ended, the link then asks the factory about them soon, unless the gateway no
        longer offers the factory. An error is only logged. If this object is closed, do nothing.
        """
        if self._closed:
            return
        try:
            self._take(await self._link.get(f"/clusters/{self.id}", Cluster))
        except LinkError as error:
            log.info("The gateway does not say how the cluster is: %s", error)

    async def log(self, name: str) -> tuple[str, ...]:
        """Return the last lines that a job has written, and keep them in ``logs``. Raises LinkError."""
        worker = await self._link.get(f"/clusters/{self.id}/workers/{name}/log", WorkerLog)
        self.logs[name] = worker.lines
        return worker.lines

    async def end(self) -> None:
        """End the cluster with all its jobs, and close this object.

        Nothing is requested if this object is closed already, or has no cluster at the link. Raises LinkError if the
        link refuses or does not answer, after at most ``END_SECONDS``. A cluster that the link does not know counts as
        ended. Pending calls of ``submit`` and ``cancel`` raise LinkError at once.
        """
        self._closed = True
        await self._stop_flush()
        try:
            async with asyncio.timeout(END_SECONDS), self._making_known:
                if self._begun:
                    self._take(await self._again(lambda: self._link.delete(f"/clusters/{self.id}", Cluster)))
        except TimeoutError as error:
            raise LinkError("unreachable", N_("The gateway does not answer now.")) from error
        except LinkError as error:
            if error.kind != "gone":
                raise
        finally:
            await self.close()

    async def close(self) -> None:
        """Stop following the cluster, without cancelling its jobs.

        Pending calls of ``submit``, ``cancel`` and ``changed`` raise LinkError.
        """
        self._closed = True
        await self._stop_flush()
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None
        self._nothing_more(_closed())
        self._begun = False  # existing jobs continue
        await self._link.close()

    async def _stop_flush(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            await asyncio.gather(self._flush, return_exceptions=True)
        self._answer_rest()  # the task may have been cancelled before it started

    def _answer_rest(self) -> None:
        waiting = [*(done for _, _, done in self._asked), *(done for _, done in self._unwanted)]
        self._asked, self._unwanted = [], []
        _answer(waiting, _closed())

    def _must_be_open(self) -> None:
        if self._closed:
            raise _closed()

    # --- together

    def _soon(self) -> asyncio.Future[None]:
        """Return a new future, and start the task that sends the next batch unless this task runs already.

        The caller adds its requests and this future to the batch. The future is completed when the link has answered.
        The future gets a LinkError if the request fails, or if this object is closed meanwhile. Raises LinkError if
        this object is closed already.
        """
        self._must_be_open()
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._flush_soon())
        return asyncio.get_running_loop().create_future()

    async def _flush_soon(self) -> None:
        try:
            while self._asked or self._unwanted:
                await asyncio.sleep(GATHER)
                await self._flush_now()
        finally:  # also if this task is cancelled, since the cluster was closed
            self._answer_rest()

    async def _flush_now(self) -> None:
        """Send the collected requests, and complete each caller's future.

        A future gets a LinkError if the link refuses its request or does not answer, if the request cannot be sent, or
        if this object is closed meanwhile.
        """
        asked, self._asked = self._asked, []
        unwanted, self._unwanted = self._unwanted, []
        problem = _closed()
        try:
            async with self._making_known:
                if unwanted:
                    await self._cancel(unwanted)
                for hours in dict.fromkeys(hours for _, hours, _ in asked):
                    await self._submit([(name, done) for name, wanted, done in asked if wanted == hours], hours)
        except Exception as error:
            log.exception("Jobs were not asked for, or not cancelled")
            problem = LinkError("unreachable", str(error) or type(error).__name__)
        finally:
            _answer([*(done for _, _, done in asked), *(done for _, done in unwanted)], problem)

    async def _submit(self, alike: list[Asked], hours: float | None) -> None:
        """Request all of these jobs or none, in batches of at most ``MOST`` jobs.

        ``alike``: the jobs, which all have the walltime ``hours``. If there are several batches, each batch names
        the number of jobs in this batch and in all later ones, and the link refuses the batch if not all of these jobs
        may start. If the request of a later batch fails, the jobs of the earlier batches are cancelled.
        """
        for first in range(0, len(alike), MOST):
            batch, names = uuid.uuid4().hex, [name for name, _ in alike[first : first + MOST]]
            together = len(alike) - first if len(alike) > MOST else None
            body = BatchRequest(names=tuple(names), hours=hours, together=together)
            try:
                path = f"/clusters/{self.id}/batches/{batch}"
                self._take(await self._again(partial(self._link.put, path, body, Cluster)))
            except LinkError as error:
                if first:
                    await self._take_back([name for name, _ in alike[:first]])
                _answer([done for _, done in alike], error)
                return
        _answer([done for _, done in alike])

    async def _take_back(self, names: list[str]) -> None:
        """Cancel jobs that were accepted before the request of a later batch failed.

        If cancelling fails, the jobs become strays (see ``strays``), which the cluster's ``Replacer`` cancels later.
        """
        try:
            await self._cancel_all(names)
        except LinkError as error:
            log.warning("Jobs whose others were refused are cancelled later: %s", error)
        else:
            self._cancelled.update(names)

    async def _cancel(self, unwanted: list[Asked]) -> None:
        try:
            await self._cancel_all([name for name, _ in unwanted])
        except LinkError as error:
            _answer([done for _, done in unwanted], error)
            return
        self._cancelled.update(name for name, _ in unwanted)
        _answer([done for _, done in unwanted])

    async def _cancel_all(self, names: Iterable[str]) -> None:
        body = CancelRequest(names=tuple(names))
        self._take(await self._again(lambda: self._link.post(f"/clusters/{self.id}/cancel", body, Cluster)))

    async def _again(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the result of ``ask``; repeat the call after the pauses in ``PAUSES`` while its error is transient.

        Repeating a request is safe, since the link treats repetitions as one request. Raises LinkError.
        """
        for pause in PAUSES:
            try:
                return await ask()
            except LinkError as error:
                if not error.transient:
                    raise
                log.info("Asked again in %g s: %s", pause, error)
                await asyncio.sleep(pause)
        return await ask()

    # --- events of the link

    async def _follow(self) -> None:
        pause, problem = 0.5, _closed()
        try:
            while True:
                try:
                    if not (self._known or self._closed):
                        await self._make_known_again()
                    async for _, cluster in self._link.events(f"/clusters/{self.id}/events", Cluster):
                        pause = 0.5
                        self._take(cluster)
                        if cluster.state == "ended":
                            return
                except LinkError as error:
                    log.info("The gateway is asked again in %g s: %s", pause, error)
                    self._known = self._known and error.kind != "gone"
                    if error.kind == "conflict":  # the cluster has ended, and the link knows that
                        problem = error
                        return
                except Exception:  # any error: nobody else follows the cluster
                    log.exception("The gateway is asked again in %g s", pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 10.0)
        finally:
            self._nothing_more(problem)

    def _nothing_more(self, problem: LinkError) -> None:
        self._over = problem
        waiters, self._waiters = self._waiters, []
        _answer(waiters, problem)

    async def _make_known_again(self) -> None:
        """Create the cluster again after the link has lost its ledger, and make the link take over the existing jobs.

        Raises LinkError.
        """
        batches: dict[str, list[str]] = {}
        for name, worker in self.workers.items():  # in the order of their requests
            batches.setdefault(worker.batch, []).append(name)
        alive = {name for name, worker in self.workers.items() if worker.state != WorkerState.ENDED}
        # For running jobs, the link itself counts the time from now on.
        running = sum(_hours_until(self._updated_at, worker) for worker in self.workers.values())
        if self.cluster is None or self.request is None:
            raise _closed()  # the link never received the cluster
        spent = max(0.0, self.cluster.gpu_hours.spent - self.cluster.gpus * running)
        request = self.request.model_copy(update={"spent_gpu_hours": spent})
        async with self._making_known:  # before any other request about the cluster
            await self._link.put(f"/clusters/{self.id}", request, Cluster)
            for batch, names in batches.items():
                if not alive.isdisjoint(names):
                    adopted = BatchRequest(names=tuple(names), adopt=True)
                    await self._link.put(f"/clusters/{self.id}/batches/{batch}", adopted, Cluster)
            if unwanted := sorted(self._cancelled & alive):
                await self._link.post(f"/clusters/{self.id}/cancel", CancelRequest(names=tuple(unwanted)), Cluster)
        self._known = True

    def _take(self, cluster: Cluster) -> None:
        changed = [worker.name for worker in cluster.workers if self.workers.get(worker.name) != worker]
        self.workers.update({worker.name: worker for worker in cluster.workers})
        self.cluster, self._updated_at = cluster.model_copy(update={"workers": ()}), datetime.now(UTC)
        waiters, self._waiters = self._waiters, []
        _answer(waiters)
        self._on_change(changed)


def _answer(waiting: Iterable[asyncio.Future[None]], problem: LinkError | None = None) -> None:
    """Complete the futures that are still pending, with ``problem`` as their exception if it is given."""
    for done in waiting:
        if not done.done():
            if problem is None:
                done.set_result(None)
            else:
                done.set_exception(problem)


def _hours_until(moment: datetime, worker: Worker) -> float:
    """Return the hours for which a job had run at ``moment``; 0 for a job that has ended or not started."""
    if worker.state == WorkerState.ENDED or worker.started is None:
        return 0.0
    return max(0.0, (moment - worker.started) / timedelta(hours=1))
