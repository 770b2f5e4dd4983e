"""``python -P -m factorygate.cluster.worker``: the program that a worker's job runs.

It reads the address and the keys of its Dask scheduler from a 0600 file, and runs one Dask worker in each process, each
with its part of the job's GPUs. Its workers leave before the job's walltime is over, after handing their results to
other workers, if there are any.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from factorycommon.models import Scheduler, WorkerOptions
from factorygate import gpu_slices
from factorygate.job_environment import job_environment

log = logging.getLogger("factorygate.cluster")

# How long before the walltime the workers leave, to hand over their results: at most this many seconds, and at most
# this share of the walltime.
MARGIN, MARGIN_SHARE = 120.0, 0.2
ASKED = "worker.json"  # a file beside the scheduler's file
# Additional seconds by which the workers' end is spread over a batch. So jobs that started together do not all leave at
# the same moment: some are left to take the results, and replacements of the first jobs can start on their nodes.
SPREAD, SPREAD_SHARE = 300.0, 0.1
PATIENCE = 60.0  # seconds without a scheduler after which a worker ends
LOOK = 0.5  # seconds between two looks for the scheduler's file
CLOSE = 5.0  # seconds for a worker to end when its job ends
UNREGISTER = 2.0  # seconds, before that, to unregister at the scheduler
VISIBLE = {"NVIDIA": ("CUDA_VISIBLE_DEVICES",), "AMD": ("ROCR_VISIBLE_DEVICES",), "Intel": ("ZE_AFFINITY_MASK",)}


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line, which contains no secrets. ``--memory``: bytes of each process."""
    parser = argparse.ArgumentParser(prog="factorygate.cluster.worker", description=__doc__)
    parser.add_argument("--file", type=Path, required=True, help="the scheduler's address, and keys")
    parser.add_argument("--names", type=lambda text: text.split(","), required=True, help="of the batch's jobs")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--vendor", default="NVIDIA", choices=sorted(VISIBLE))
    parser.add_argument("--seconds", type=float, required=True, help="the job's walltime")
    parser.add_argument("--tmp", type=Path, default=Path(tempfile.gettempdir()), help="node-local folder")
    return parser.parse_args(argv)


def own_name(names: list[str], environment: dict[str, str]) -> str:
    """Return this job's name: the entry of ``names`` at the job's index in its job array.

    A job outside of an array has the first name.
    """
    return names[(job_environment(environment).index or 1) - 1]


def job_ends(seconds: float, environment: dict[str, str], now: float) -> float:
    """Return when the job ends, in seconds since 1970.

    ``seconds``: the job's walltime, which is added to ``now`` if the variables in ``environment`` do not name the end.
    """
    ends = job_environment(environment).ends
    return now + seconds if ends is None else ends


def margin(seconds: float, place: float = 0.0) -> float:
    """Return how many seconds before a job's end its workers leave.

    ``seconds``: the job's walltime; ``place``: the job's position among the jobs of its batch, from 0 to 1; jobs at 1
    leave first.
    """
    return min(MARGIN, MARGIN_SHARE * seconds) + place * min(SPREAD, SPREAD_SHARE * seconds)


def process_names(name: str, processes: int) -> list[str]:
    """Return the names of a job's Dask workers: the job's name, with a number appended if there are several workers."""
    return [name] if processes == 1 else [f"{name}-{index}" for index in range(processes)]


def devices(processes: int, gpus: int, vendor: str, environment: dict[str, str]) -> list[dict[str, str]]:
    """Return for each process of a job the environment variables that limit the process to its part of the GPUs.

    The dicts are empty if ``gpus``, the number of the job's GPUs, is 0. If there are fewer GPUs than processes, several
    processes share a GPU; GPUs that cannot be divided evenly stay unused. ``vendor``: a key of ``VISIBLE``;
    ``environment``: the job's environment variables, which may say which GPUs the job has.
    """
    if gpus == 0:
        return [{} for _ in range(processes)]
    variables = VISIBLE[vendor]
    shown = next((environment[v] for v in variables if environment.get(v)), "")
    found = shown.split(",") if shown else [str(index) for index in range(gpus)]
    each = max(1, len(found) // processes)
    mine = [found[(index * each) % len(found) :][:each] for index in range(processes)]
    return [dict.fromkeys(variables, ",".join(some)) for some in mine]


def wanted(file: Path) -> WorkerOptions:
    """Return the options for each Dask worker from the file ``ASKED``; return the defaults if there is no such file.

    ``file``: the file with the Dask scheduler's address and keys. The file ``ASKED`` is in the same folder.
    """
    try:
        return WorkerOptions.model_validate_json(file.with_name(ASKED).read_bytes(), extra="ignore")
    except FileNotFoundError:
        return WorkerOptions()


async def scheduler_of(file: Path, patience: float) -> Scheduler:
    """Wait until ``file`` exists, and return its content: the address and keys of the Dask scheduler.

    A scheduler with a job of its own may start later than its workers. Raises TimeoutError after ``patience`` seconds.
    """
    async with asyncio.timeout(patience):
        while (found := _scheduler(file)) is None:  # noqa: ASYNC110  # no event reports a new file
            await asyncio.sleep(LOOK)
    return found


def _scheduler(file: Path) -> Scheduler | None:
    """Return the content of the scheduler's file; None if it does not exist."""
    try:
        return Scheduler.model_validate_json(file.read_bytes(), extra="ignore")
    except FileNotFoundError:
        return None


def scratch_folder(asked: str | None, otherwise: Path) -> Path:
    """Return this node's folder for data that workers spill.

    ``asked``: the path that the user chose. Environment variables such as ``$USER`` are filled in, and the folder is
    made if it is missing. ``otherwise``: the folder to use if ``asked`` is None.
    """
    if asked is None:
        return otherwise
    folder = Path(os.path.expandvars(asked)).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def run(options: argparse.Namespace) -> int:
    """Run the workers until all have ended; return the exit code.

    The code is 0 at a normal end, 1 if no scheduler has started, 4 if the versions of Python or of a package differ
    between this job and the scheduler, or 5 if the job does not see exactly the slice of a GPU that it requested, or if
    this cannot be checked.
    """
    from distributed import Nanny, Status

    from factorygate.cluster import versions
    from factorygate.cluster.daskworker import FactoryWorker
    from factorygate.cluster.keys import Keys

    try:
        await gpu_slices.check(job_environment())
    except gpu_slices.GpuSliceError as error:
        gpu_slices.report(error)
        return 5
    asked = wanted(options.file)
    patience = asked.death_timeout or PATIENCE
    try:
        described = await scheduler_of(options.file, patience)
    except TimeoutError:
        log.critical("The cluster's scheduler has not started within %g s", patience)
        return 1
    try:
        versions.check(described.versions, "where the cluster's scheduler runs")
    except versions.VersionsDifferError as error:
        log.critical("%s", error)
        return 4
    security = Keys.of(described) if described.ca else None  # an owner's scheduler may run without TLS
    name = own_name(options.names, dict(os.environ))
    ends = job_ends(options.seconds, dict(os.environ), time.time())
    leaves = ends - margin(options.seconds, options.names.index(name) / len(options.names))
    folder = scratch_folder(asked.local_directory, options.tmp)
    with tempfile.TemporaryDirectory(prefix="factorygate-worker-", dir=folder) as scratch:
        nannies = [
            Nanny(
                described.address,
                name=worker,
                nthreads=asked.threads or options.threads,
                memory_limit=asked.memory or options.memory,
                security=security,
                local_directory=scratch,
                env=shown,
                config={"temporary-directory": scratch},  # also for files that tasks write there
                death_timeout=patience,
                interface=asked.interface,
                preload=list(asked.preload) or None,
                resources=asked.resources or None,
                worker_class=FactoryWorker,
                leaves=leaves,
                ends=ends,
                dashboard=False,
            )
            for worker, shown in zip(
                process_names(name, options.processes),
                devices(options.processes, options.gpus, options.vendor, dict(os.environ)),
                strict=True,
            )
        ]
        log.info("%s: %d workers of %s, for %.0f s", name, len(nannies), described.address, leaves - time.time())
        living = asyncio.ensure_future(_live(nannies))
        # a SIGTERM means that the job is to end
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, living.cancel)
        try:
            await living
        except asyncio.CancelledError:
            log.info("%s: told to end", name)
            for nanny in nannies:  # the same signal may end the workers' processes: do not start others for them
                if nanny.status is Status.running:
                    nanny.close_gracefully()
            await asyncio.gather(*map(_unregister, nannies))
        finally:  # the workers must have ended before the folder can be removed
            await asyncio.gather(*map(_close, nannies), return_exceptions=True)
    return 0


async def _close(nanny: Any) -> None:
    """Close a worker; return when it has closed, also if it was closing already.

    Raises TimeoutError if it has not closed ``CLOSE`` seconds after Dask's own ``close`` has returned.
    """
    await nanny.close(timeout=CLOSE)
    async with asyncio.timeout(CLOSE):
        await nanny.finished()  # the status is "closed" before the connections are


async def _unregister(nanny: Any) -> None:
    """Tell the Dask scheduler that this worker leaves as expected.

    Otherwise the scheduler suspects each task that it had sent to the worker. A task that is sent to several workers
    whose jobs end together would then fail with ``KilledWorker``, though no task ended any of them.
    """
    if nanny.worker_address is None:
        return  # the worker has left already
    try:
        async with asyncio.timeout(UNREGISTER):
            await nanny.scheduler.unregister(
                address=nanny.worker_address, expected=True, close=False, stimulus_id=f"job-ends-{time.time()}"
            )
    except (OSError, TimeoutError) as error:
        log.info("The scheduler was not told that %s leaves: %r", nanny.worker_address, error)


async def _live(nannies: list[Any]) -> None:
    await asyncio.gather(*nannies)
    await asyncio.gather(*(nanny.finished() for nanny in nannies))


def main() -> int:
    """Run the workers with the process's own arguments; return the exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    os.umask(0o077)
    return asyncio.run(run(parse(sys.argv[1:])))


if __name__ == "__main__":
    sys.exit(main())
