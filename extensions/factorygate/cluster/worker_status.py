"""Passes the Dask scheduler's messages about workers to a cluster, as long as the cluster runs."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from distributed.core import Status
from distributed.objects import SchedulerInfo

from factorycommon.language import N_
from factorycommon.messages import Message, joined
from factorygate.cluster.cluster_api import ClusterApi
from factorygate.cluster.worker_plan import WorkerPlan

log = logging.getLogger("factorygate.cluster")

PAUSE, LONGEST_PAUSE = 0.1, 10.0  # seconds before the scheduler is asked again


class FollowedCluster(Protocol):
    """The part of a cluster that ``follow`` uses."""

    status: Status
    scheduler_comm: Any
    cluster_api: ClusterApi
    worker_plan: WorkerPlan

    def _update_worker_status(self, op: str, msg: Any) -> None:
        """Handle one message of the Dask scheduler about its workers: ``op`` is its kind, ``msg`` its content."""
        ...

    def watch_again(self, comm: Any, scheduler_info: Any) -> None:
        """Replace the broken connection for the Dask scheduler's messages about workers by ``comm``.

        ``scheduler_info``: the first message from ``comm``, which describes the scheduler and its workers.
        """
        ...


async def follow(cluster: FollowedCluster, comm: Any) -> None:
    """Pass the Dask scheduler's messages about workers to the cluster until the cluster ends.

    ``comm``: a connection that is subscribed to these messages. If the connection breaks, open another, since otherwise
    the cluster would not know its workers.
    """
    problem: Exception
    while True:
        try:
            while True:
                for op, message in await comm.read():
                    cluster._update_worker_status(op, message)
        except OSError as error:
            problem = error
        except Exception as error:  # any error: no other task reads these messages
            log.exception("What the scheduler told of workers could not be taken")
            problem = error
        comm.abort()
        comm = await _again(cluster, problem)
        if comm is None:
            return


async def _again(cluster: FollowedCluster, problem: Exception) -> Any:
    """Return a new connection that is subscribed to the scheduler's messages; None if the cluster ends or has ended.

    ``problem``: the error that broke the last connection.
    """
    pause = PAUSE
    broken = Message("scheduler-lost", "The connection to the Dask scheduler broke ({error}).").format(error=problem)
    cluster.worker_plan.message = broken
    while cluster.status is Status.running and not _is_over(cluster.cluster_api):
        try:
            comm = await cluster.scheduler_comm.live_comm()
            comm.name = "Cluster worker status"
            await comm.write({"op": "subscribe_worker_status"})
            scheduler_info = SchedulerInfo(await comm.read())
        except OSError as error:
            log.info("The scheduler does not answer: %r", error)
        else:
            cluster.watch_again(comm, scheduler_info)
            cluster.worker_plan.message = joined(broken, N_("It was opened again."))
            return comm
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return None


def _is_over(cluster_api: ClusterApi) -> bool:
    return cluster_api.cluster is not None and cluster_api.cluster.state == "ended"
