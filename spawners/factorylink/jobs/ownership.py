"""Decides whether a job that a scheduler lists under a known id is the one that the gateway submitted.

A job's id alone proves nothing: a controller that has lost its state gives the same ids again. The comment is proof,
since only this gateway can sign it; only a job with the right comment may be cancelled or changed.

The job's owner can change the comment, and so can a site's filter at the submission. A job whose comment was changed is
still watched and charged if its account and its time of submission agree, but it is never cancelled or changed. The
new comment may be a copy of the comment of another session or batch. If that session or batch takes the job for its
own, the job counts as another job (``FOREIGN``); a session that has a job already takes no second one. All functions
are pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from factorycommon.models import Job, JobId, JobState

# Seconds by which the clocks of gateway and scheduler may differ; MUNGE tolerates the same difference.
CLOCKS = timedelta(seconds=300)
# Seconds after which an unanswered submission can no longer create a job: the scheduler's programs retry by themselves,
# even after the link that started them has ended.
DOUBT = 40.0


class Found(StrEnum):
    """What a scheduler lists under the id of a job that the gateway submitted."""

    OURS = "ours"  # the submitted job, with its comment
    ALTERED = "altered"  # the submitted job, with a changed comment: it is watched, but never cancelled or changed
    FOREIGN = "foreign"  # another job
    GONE = "gone"  # no job, or a job that has ended


@dataclass(frozen=True)
class OwnJob:
    """What the link knows about a job, or a whole array, that this gateway submitted.

    ``account``: the site account; ``comment``: the submitted comment; ``submitted``: when the job was submitted, by the
    scheduler's clock; ``begun``: when the link started the submission, by the gateway's clock; both None if not known.
    ``restarts``: how often the scheduler had requeued the job when ``submitted`` was read; 0 also if this is not known.
    """

    id: JobId
    account: str
    comment: str
    submitted: datetime | None = None
    begun: datetime | None = None
    restarts: int = 0


def found(own: OwnJob, job: Job, of_another: bool = False) -> Found:
    """Return ``OURS``, ``ALTERED`` or ``FOREIGN`` for ``job``, which the scheduler lists under the id of ``own``.

    ``ALTERED``: the submitted job, with a changed comment; ``FOREIGN``: another job. ``of_another``: True if another
    session or batch takes the job for its own, because the job has the comment of that session or batch.
    """
    if job.account != own.account:
        return Found.FOREIGN
    if job.comment == own.comment:
        return Found.OURS
    if of_another:
        return Found.FOREIGN
    return Found.ALTERED if _submitted_as(own, job) else Found.FOREIGN


def _submitted_as(own: OwnJob, job: Job) -> bool:
    """Return whether the submission time of ``job`` is that of ``own``, or a later one if the job was requeued since.

    Slurm changes the submission time whenever it requeues the job. If ``own.submitted`` is None, the time must agree
    with ``own.begun``, within the tolerances ``DOUBT`` and ``CLOCKS``. False if ``job`` has no submission time.
    """
    if job.submitted is None:
        return False
    if own.submitted is not None:
        return job.submitted == own.submitted or (job.restarts > own.restarts and job.submitted > own.submitted)
    if own.begun is None:
        return False
    return own.begun - CLOCKS <= job.submitted <= own.begun + timedelta(seconds=DOUBT) + CLOCKS


def verify(wanted: Iterable[OwnJob], answer: Sequence[Job]) -> tuple[list[JobId], dict[JobId, Found]]:
    """Return the ids of the jobs that may be cancelled or changed, and a finding for each job that has not ended.

    ``wanted``: jobs and arrays that the gateway submitted; ``answer``: a fresh answer of the scheduler about them. Only
    a job that is ``OURS`` may be cancelled or changed. If all unfinished jobs of an array are ``OURS``, the list has
    the array's id instead of the ids of these jobs. If a wanted job has ended or is not found, the finding under its
    id is ``GONE``. The same holds for an array if all of its jobs have ended or none is found.
    """
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
    """Return the finding for the id of a single job (not of an array); ``GONE`` if ``findings`` has none."""
    return findings.get(id, Found.GONE)
