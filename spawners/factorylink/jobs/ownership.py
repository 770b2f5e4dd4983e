"""Whether a job that a scheduler shows under a known id is the one that the gateway submitted. Pure.

A job's id alone proves nothing: a controller that lost its state gives the ids anew. The comment proves it, since only
this gateway can sign it, and only a job with the comment may be cancelled or changed. The job's owner can change the
comment, and so can a site's filter at the submission. Such a job is still watched and charged if account and moment of
submission agree, and is never touched. That holds for any other comment, also for a copied one of another session;
with one exception: if that other session has no job and takes this one for its own, this is another job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from factorycommon.models import Job, JobId, JobState

# Seconds by which the clocks of the gateway and of a scheduler may differ; MUNGE takes no more either.
CLOCKS = timedelta(seconds=300)
# Seconds that a submission of which nothing was heard may still bring a job: the scheduler's programs try again by
# themselves, also after the link that ran them is gone.
DOUBT = 40.0


class Found(StrEnum):
    """What a scheduler shows under a job's id."""

    OURS = "ours"  # the job, with the comment that it was submitted with
    ALTERED = "altered"  # the job, with another comment: to be watched, and not to be touched
    FOREIGN = "foreign"  # another job
    GONE = "gone"  # nothing, or a job that has ended


@dataclass(frozen=True)
class OwnJob:
    """A job that the ledger says was submitted here. ``id``: of a job, or of an array as a whole. ``comment``: the
    submitted one. ``submitted``: when, by the scheduler's clock; None: no answer has shown the job yet. ``begun``: when
    its submission was begun, by the gateway's clock."""

    id: JobId
    account: str
    comment: str
    submitted: datetime | None = None
    begun: datetime | None = None
    restarts: int = 0  # how often it had been put back into the queue by then, as far as it is known


def found(own: OwnJob, job: Job, of_another: bool = False) -> Found:
    """Return whether ``job``, which the scheduler shows under the id of ``own``, is our job. ``of_another``: another
    session or batch takes the job for its own, because of the job's comment."""
    if job.account != own.account:
        return Found.FOREIGN
    if job.comment == own.comment:
        return Found.OURS
    if of_another:
        return Found.FOREIGN
    return Found.ALTERED if _submitted_as(own, job) else Found.FOREIGN


def _submitted_as(own: OwnJob, job: Job) -> bool:
    """Return whether a job was submitted when ours was. Slurm changes the submission time whenever it puts the job back
    into the queue."""
    if job.submitted is None:
        return False
    if own.submitted is not None:
        return job.submitted == own.submitted or (job.restarts > own.restarts and job.submitted > own.submitted)
    if own.begun is None:
        return False
    return own.begun - CLOCKS <= job.submitted <= own.begun + timedelta(seconds=DOUBT) + CLOCKS


def verify(wanted: Iterable[OwnJob], answer: Sequence[Job]) -> tuple[list[JobId], dict[JobId, Found]]:
    """Return the ids that may be cancelled or changed according to a fresh answer, and what that answer shows under
    each id: for an array, under each of its tasks. An array is named as a whole if all of its jobs that have not ended
    may be cancelled."""
    by_id = {job.id: job for job in answer}
    by_array: dict[JobId, list[Job]] = {}
    for job in answer:
        if job.array is not None:
            by_array.setdefault(job.array, []).append(job)
    may: list[JobId] = []
    findings: dict[JobId, Found] = {}
    for own in wanted:
        tasks = [by_id[own.id]] if own.id in by_id else by_array.get(own.id, [])
        goes_on = [job for job in tasks if job.state is not JobState.ENDED]
        seen = {job.id: found(own, job) for job in goes_on}
        findings |= seen or {own.id: Found.GONE}
        mine = [id for id, what in seen.items() if what is Found.OURS]
        may += [own.id] if mine and len(mine) == len(seen) else mine
    return may, findings


def of_one(findings: Mapping[JobId, Found], id: JobId) -> Found:
    """Return what the answer shows under the id of a job that is no array."""
    return findings.get(id, Found.GONE)
