"""Starts or finds a cluster's Dask scheduler that runs outside of this process, and connects to this scheduler."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from distributed.deploy.spec import ProcessInterface

from factorycommon.models import Cluster, Scheduler, SchedulerJob
from factorygate.cluster import pages, versions
from factorygate.cluster.cluster_api import ClusterApi
from factorygate.cluster.forwarder import Forwarder
from factorygate.cluster.keys import Keys
from factorygate.cluster.terms import ClusterTerms
from factorygate.link import LinkError, LinkRoute

UP_SECONDS = 60.0  # seconds for a scheduler's process beside the notebook to import its modules, make keys and listen


@dataclass(frozen=True)
class SchedulerRequest:
    """The parameters for starting or finding a cluster's scheduler.

    ``route``: the gateway's address and the token for requests to the gateway; ``idle_minutes``: minutes without work
    after which the scheduler ends; ``hours``: walltime of the scheduler's job; None: the link's default.
    """

    name: str
    cluster_api: ClusterApi
    terms: ClusterTerms
    route: LinkRoute
    idle_minutes: float
    hours: float | None


# starts a scheduler, and creates the cluster at the link
Begins = Callable[[SchedulerRequest], Awaitable["ExternalScheduler"]]


def beginning(scheduler: str | None, here: bool, name: str | None) -> Begins | None:
    """Return the function that starts the cluster's scheduler; None if the scheduler is to run in this process.

    ``scheduler``: "job": a job of its own; "here": on this node; None: on this node if the cluster is at this session's
    factory, else a job of its own. ``here``: whether the cluster is at this session's factory. ``name``: the name of a
    cluster that outlives this kernel; None: the cluster ends with this kernel. On this node, the scheduler of a cluster
    with a name is a process of its own; that of a cluster without a name runs in this process.
    """
    if scheduler == "job" or (scheduler is None and not here):
        return as_job
    return None if name is None else beside


class ExternalScheduler(ProcessInterface):
    """A Dask scheduler outside of this process.

    ``address``: the address for workers. ``external_address``: the address for clients in this process, which ``start``
    sets if the scheduler runs at another factory; None: these clients use ``address``, too.
    """

    def __init__(self, description: Scheduler, where: str, forwarder: Forwarder | None = None) -> None:
        """Check the versions of the scheduler against those installed here. Raises VersionsDifferError.

        ``description``: the scheduler's own report; ``where``: a text that names the place where the scheduler runs;
        ``forwarder``: the connection, if the scheduler runs at another factory.
        """
        versions.check(description.versions, where)
        super().__init__()
        self.description = description
        self.keys = Keys.of(description)
        self.address = description.address
        self._forwarder = forwarder

    async def start(self) -> None:
        """Listen for connections to a scheduler at another factory; other schedulers need no preparation.

        Raises OSError if this node's sockets cannot be made.
        """
        if self._forwarder is not None:
            self.external_address = await self._forwarder.open()
        await super().start()

    async def close(self) -> None:
        """Close the connection to the scheduler, if it is at another factory. The scheduler itself continues."""
        if self._forwarder is not None:
            await self._forwarder.close()
        await super().close()


async def beside(wanted: SchedulerRequest) -> ExternalScheduler:
    """Start a scheduler on this node that outlives this kernel, and create the cluster; return the scheduler.

    Raises RuntimeError if the scheduler's process does not start; LinkError; ValueError if ``wanted`` is invalid. After
    an error or a cancellation, the process is killed; if the creation of the cluster had begun, the end of the cluster
    is requested, too.
    """
    folder = pages.folder(wanted.cluster_api.id)
    process, description = await _process(folder, wanted)
    try:
        await wanted.cluster_api.begin(wanted.terms.request(wanted.name, scheduler=description))
        return ExternalScheduler(description, "there")
    except BaseException:
        await _stop(process)
        with suppress(LinkError):
            await wanted.cluster_api.end()
        shutil.rmtree(folder, ignore_errors=True)
        raise


async def as_job(wanted: SchedulerRequest) -> ExternalScheduler:
    """Create the cluster with its scheduler as a job; once this job runs, return the started scheduler object.

    While the job waits, print why. Raises LinkError, also if the scheduler's job ends; VersionsDifferError; ValueError
    if ``wanted`` is invalid; OSError if this node's sockets for a scheduler at another factory cannot be made. After an
    error or a cancellation, the end of the cluster is requested if the link may know the cluster.
    """
    cluster_api = wanted.cluster_api
    try:
        head = SchedulerJob(idle_minutes=wanted.idle_minutes, hours=wanted.hours)
        await cluster_api.begin(wanted.terms.request(wanted.name, head=head))
        said = ""
        while not _runs(cluster_api.cluster):
            waits = _waits(cluster_api.cluster)
            if waits not in ("", said):
                said = waits
                print(f"The cluster's scheduler at {wanted.terms.place.factory_name} waits: {said}")
            await cluster_api.changed()
        found = await _reached(wanted)
        await found.start()
    except BaseException:
        with suppress(LinkError):
            await cluster_api.end()
        raise
    return found


def _waits(cluster: Cluster | None) -> str:
    """Return a text that says why the Dask scheduler does not run yet; "" if no reason is known.

    For example, its job waits in the queue, or the link cannot reach the factory or the job's door. ``cluster``: the
    link's last report of the cluster; None: there was none yet.
    """
    head = None if cluster is None else cluster.head
    return "" if head is None or head.waits_for is None else head.waits_for.what


def _runs(cluster: Cluster | None) -> bool:
    """Return whether the scheduler's job runs. Raises LinkError if the cluster has ended or is ending.

    ``cluster``: the link's last report of the cluster; None: there was none yet, so the job does not run.
    """
    if cluster is None:
        return False
    if cluster.state != "live":
        words = cluster.end
        what, do = ("", "") if words is None else (words.as_message("what"), words.as_message("do"))
        raise LinkError("refused", what or "The cluster's scheduler ended.", do)
    return cluster.head is not None and cluster.head.state == "running"


async def again(wanted: SchedulerRequest, known: Cluster) -> ExternalScheduler:
    """Return the started scheduler object of the existing cluster ``known``.

    Also make ``wanted.cluster_api`` follow the cluster's jobs. Raises LinkError; VersionsDifferError; ValueError if
    ``wanted`` is invalid; OSError if this node's sockets for a scheduler at another factory cannot be made.
    """
    cluster_api = wanted.cluster_api
    await cluster_api.resume(known.id)
    found = await _reached(wanted)
    if known.head is None:
        request = wanted.terms.request(wanted.name, scheduler=found.description)
        request = request.model_copy(update={"session": known.session})
    else:
        request = wanted.terms.request(wanted.name, head=SchedulerJob(idle_minutes=wanted.idle_minutes))
    cluster_api.remember(request)
    await found.start()
    return found


async def _reached(wanted: SchedulerRequest) -> ExternalScheduler:
    """Return an ``ExternalScheduler`` for the cluster's running scheduler; the returned object is not started yet.

    If the scheduler is at another factory, the object has a forwarder to it.

    Raises LinkError, VersionsDifferError; OSError if the folder for the forwarder's socket cannot be made.
    """
    cluster_api, place = wanted.cluster_api, wanted.terms.place
    description = await cluster_api.scheduler()
    if place.here:
        return ExternalScheduler(description, f"at {place.factory_name}")
    route = Forwarder(wanted.route, cluster_api.id, pages.folder(cluster_api.id) / pages.SOCKET)
    return ExternalScheduler(description, f"at {place.factory_name}", route)


async def _process(folder: Path, wanted: SchedulerRequest) -> tuple[subprocess.Popen[bytes], Scheduler]:
    """Start the scheduler's process; return the process and the scheduler's description.

    If the person has passed a token of their own, the process gets this token as an environment variable, because the
    process must keep the cluster alive at the link for as long as the scheduler runs. Raises RuntimeError if the
    process ends, or has not begun to listen after ``UP_SECONDS``.
    """
    own = {"FACTORYGATE_TOKEN": wanted.route.token} if wanted.route.own else {}
    file, log = folder / "scheduler.json", folder / "scheduler.log"
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    # Not an asyncio subprocess, which asyncio would kill together with its transport.
    process = subprocess.Popen(  # noqa: ASYNC220  # begins in milliseconds
        [
            *(
                sys.executable,
                "-P",
                "-m",
                "factorygate.session.scheduler_process",
                "--file",
                str(file),
                "--name",
                wanted.name,
            ),
            *("--idle-seconds", str(60 * wanted.idle_minutes), "--pages", str(folder / pages.SOCKET)),
            *("--cluster", wanted.cluster_api.id),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,
        env=os.environ | own,
        start_new_session=True,  # signals that interrupt or end the kernel must not reach it
    )
    os.close(said)
    try:
        async with asyncio.timeout(UP_SECONDS):
            while not file.exists() and process.poll() is None:  # noqa: ASYNC110  # no event reports a new file
                await asyncio.sleep(0.05)
        return process, Scheduler.model_validate_json(file.read_bytes())
    except (TimeoutError, FileNotFoundError) as error:
        await _stop(process)
        raise RuntimeError(f"The cluster's scheduler did not come up: {_tail(log)}") from error
    except BaseException:
        await _stop(process)
        raise


async def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kill a scheduler that nobody uses yet, and return when it has ended."""
    process.kill()
    await asyncio.to_thread(process.wait)


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]
