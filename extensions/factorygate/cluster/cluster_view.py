"""Builds the view of a cluster: the link's data about jobs, joined with the Dask scheduler's data about workers."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol, cast

from distributed.core import Status

from factorycommon.models import Worker
from factorygate.cluster.cluster_api import ClusterApi
from factorygate.cluster.terms import ClusterTerms
from factorygate.cluster.worker import process_names
from factorygate.cluster.worker_place import WorkerPlace
from factorygate.cluster.worker_plan import WorkerPlan
from factorygate.view_data import Adapting, ClusterView, JobState, JobView

GOOD_ENDS = ("stopped", "finished", "walltime")
_LIVE = ("pending", "running", "ending", "unreachable")
_ENDING = "completing"  # code of the link's words about a job that holds its node, although its work is over
ENDED_SHOWN = 20  # number of ended jobs that are shown, the last ones


class ShownCluster(Protocol):
    """The part of a cluster that ``view`` and ``line`` read; they change nothing.

    ``was_left``: True after the cluster's method ``leave``; the cluster continues without this process.
    """

    name: str
    was_left: bool
    status: Status
    place: WorkerPlace
    terms: ClusterTerms
    adapting: Adapting | None
    cluster_api: ClusterApi
    worker_plan: WorkerPlan
    scheduler_info: Any

    @property
    def dashboard_link(self) -> str:
        """Return the URL path, without scheme and host, of the cluster's Dask pages; "" outside a session."""
        ...


def view(cluster: ShownCluster) -> ClusterView:
    """Return what the panel shows of a cluster at this moment."""
    place, cluster_api = cluster.place, cluster.cluster_api
    closed = cluster.status is Status.closed and not cluster.was_left
    there = [] if closed else list(cluster.scheduler_info.get("workers", {}).values())
    by_name = {str(worker["name"]): worker for worker in there}
    wanted = set(cluster.worker_plan.jobs)
    jobs, over = [], []
    for name in dict.fromkeys((*cluster.worker_plan.jobs, *cluster_api.workers)):
        state = cluster_api.workers.get(name)
        count = sum(worker in by_name for worker in process_names(name, place.processes))
        shown = _job(name, state, count, cluster_api.logs.get(name, ()))
        if closed and shown.state in ("asked", *_LIVE):
            shown = replace(shown, state="ended")  # or it ends soon: there are no more events
        if name in wanted or shown.state in _LIVE:
            jobs.append(shown)
        elif shown.state != "ended" or shown.why:
            over.append(shown)
    known = cluster_api.cluster
    running = sum(job.state in ("running", "ending") for job in jobs)  # both are billed
    return ClusterView(
        name=cluster.name,
        factory=place.factory,
        factory_name=place.factory_name,
        size=place.size,
        size_label=place.label,
        status=_status(cluster),
        processes=place.processes,
        workers=len(there),
        threads=sum(worker["nthreads"] for worker in there),
        memory=sum(worker["memory_limit"] for worker in there),
        wanted=cluster.worker_plan.wanted,
        maximum=2000,
        gpu_hours_spent=0.0 if known is None else known.gpu_hours.spent,
        gpu_hours_committed=0.0 if known is None else known.gpu_hours.committed,
        gpu_hours_cap=cluster.terms.cap_gpu_hours,
        gpu_hours_per_hour=float(running * (place.gpus if known is None else known.gpus)),
        adapting=cluster.adapting,
        dashboard=_dashboard(cluster),
        message=cluster.worker_plan.message,
        jobs=(*jobs, *over[-ENDED_SHOWN:]),
    )


def _job(name: str, worker: Worker | None, workers: int, log: tuple[str, ...]) -> JobView:
    if worker is None:
        return JobView(name, "asked", workers=workers)
    state = str(worker.state)
    if state == "ended":
        state = "ended" if worker.end_reason in GOOD_ENDS else "lost" if worker.started else "failed"
    elif state == "running" and worker.waits_for is not None and worker.waits_for.code == _ENDING:
        state = "ending"
    words = worker.end if worker.state == "ended" else worker.waits_for
    return JobView(
        name=name,
        state=cast(JobState, state),
        job=worker.job,
        node=worker.node,
        workers=workers,
        position=worker.position,
        expected_start=_rfc3339(worker.expected_start),
        ends=_rfc3339(worker.ends),
        why="" if words is None else words.as_message("what"),
        do="" if words is None else words.as_message("do"),
        log_tail=worker.log_tail or log,
        has_log=bool(worker.log_tail or worker.started),
    )


def _rfc3339(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def _status(cluster: ShownCluster) -> Any:
    worker = None if cluster.cluster_api.cluster is None else cluster.cluster_api.cluster.state
    if worker in ("ending", "ended"):  # somebody may have ended it on the gateway's pages
        return "closing" if worker == "ending" else "closed"
    name = cluster.status.name
    return {"created": "starting", "closing": "closing", "closed": "closed", "failed": "failed"}.get(name, "running")


def _dashboard(cluster: ShownCluster) -> str | None:
    try:
        return str(cluster.dashboard_link) or None
    except (AttributeError, KeyError, ValueError):
        return None


def line(cluster: ShownCluster) -> str:
    """Return one line of text about a cluster: its name, factory and node size, and how many workers and jobs it has.

    If the cluster is closed, or this process has left it (``leave``), the line says this in place of the numbers.
    """
    seen = view(cluster)
    what = f"{type(cluster).__name__}({seen.name!r}, {seen.factory} {seen.size}: "
    if cluster.was_left:
        return f"{what}left running)"
    if seen.status == "closed":
        return f"{what}closed)"
    return f"{what}{seen.workers} workers, {seen.count('running')} jobs run, {seen.count('pending', 'asked')} wait)"
