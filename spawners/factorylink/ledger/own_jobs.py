"""Makes ``OwnJob`` objects for the jobs that this link has submitted according to the ledger.

The link compares such an object with the job that the scheduler lists, in particular before it cancels or extends the
job.
"""

from __future__ import annotations

from factorycommon.models import JobId
from factorylink.jobs.identity import Identity
from factorylink.jobs.ownership import OwnJob
from factorylink.ledger.cluster_store import BatchRecord, ClusterRecord
from factorylink.ledger.schema import SessionRecord


def session_job(record: SessionRecord, identity: Identity) -> OwnJob:
    """Return what the link knows about a session's job, by which the job is recognised in a scheduler's answer.

    ``record``: the session in the ledger; its ``job`` must not be None; ``identity``: signs the job's comment.
    """
    comment = identity.comment(record.id, record.account, record.factory)
    return OwnJob(record.job or "", record.account, comment, record.submitted, record.submit_begun, record.restarts)


def batch_job(record: ClusterRecord, batch: BatchRecord, id: JobId, identity: Identity) -> OwnJob:
    """Return what the link knows about one job of a cluster's batch, or about the batch's whole job array.

    ``id``: the id of the job or of the array; ``identity``: signs the job's comment.
    """
    comment = identity.batch_comment(batch.id, record.account, record.factory)
    return OwnJob(id, record.account, comment, batch.submitted, batch.submit_begun)
