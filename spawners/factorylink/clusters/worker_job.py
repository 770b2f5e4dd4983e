"""Makes the job request for a batch of workers: one request for all jobs of the batch, because they are equal."""

from __future__ import annotations

from factorycommon.models import JobRequest, ProjectAt
from factorylink.catalogue.loading import ChoiceError, find_size, job_request
from factorylink.errors import Refused
from factorylink.jobs.identity import Identity
from factorylink.ledger.cluster_store import BatchRecord, ClusterRecord
from factorylink.schedulers.batch_script import INDEX
from factorylink.sessions.submitter import session_folder
from factorylink.site.factory_connection import FactoryConnection

FILE = "cluster.json"  # file in the cluster's folder with the scheduler's address and keys
ASKED = "worker.json"  # file in the same folder with the options of each Dask worker, if there are any
GB = 10**9


async def request(
    connection: FactoryConnection, record: ClusterRecord, batch: BatchRecord, identity: Identity, project: ProjectAt
) -> JobRequest:
    """Return the request with which the jobs of a batch of workers are submitted.

    ``project``: the settings of the cluster's project at its factory. Raises Refused if the factory no longer has the
    node size or the environment, or if a value cannot be passed to a scheduler; and the transport's errors.
    """
    folder = await session_folder(connection, record.account, record.id)
    try:
        size = find_size(connection.factory, record.choice.size)
    except ChoiceError as error:  # the size was offered when the cluster was created
        raise Refused(error.message) from error
    share = max(1, size.cores // record.processes)
    argv = [
        *("-P", "-m", "factorygate.cluster.worker", "--file", f"{folder}/{FILE}"),
        *("--names", ",".join(worker.name for worker in batch.workers)),
        *("--processes", str(record.processes), "--threads", str(share)),
        *("--memory", str(int(size.memory_gb * GB) // record.processes)),
        *("--gpus", str(size.gpus), "--vendor", connection.factory.accelerator.vendor),
        *("--seconds", str(round(batch.hours * 3600)), "--tmp", connection.access.door.node_tmp),
    ]
    log = log_name(batch, 1 if batch.count == 1 else INDEX)
    try:
        return job_request(
            connection.factory,
            connection.access,
            record.choice.model_copy(update={"hours": batch.hours}),
            record.options,
            name=identity.job_name,
            comment=identity.batch_comment(batch.id, record.account, record.factory),
            folder=folder,
            argv=argv,
            log=log,
            warned=False,  # the workers themselves know their end
            project=project,
        )
    except ChoiceError as error:  # the environment was offered when the cluster was created
        raise Refused(error.message) from error
    except ValueError as error:
        raise Refused(f"The job for {connection.factory.site.machine} cannot be written: {error}") from error


def log_name(batch: BatchRecord, task: int | str) -> str:
    """Return the name of a job's log in the cluster's folder.

    ``task``: the job's index in its array, or the placeholder ``INDEX`` for it.
    """
    return f"{batch.id}-{task}.log"
