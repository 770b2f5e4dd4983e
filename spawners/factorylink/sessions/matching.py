"""Matches the ledger's rows with the scheduler's jobs. Pure, so that tests can cover every case."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field

from factorycommon.models import Job, SessionId
from factorylink.jobs.identity import Identity
from factorylink.jobs.ownership import Found, found
from factorylink.ledger.own_jobs import session_job
from factorylink.ledger.schema import SessionRecord


@dataclass
class MatchingPlan:
    """The result of matching a scheduler's answer with the live rows that the ledger has for the factory.

    Each row is in one of the lists ``seen``, ``replaced``, ``missed``, ``claims`` and ``waiting``. The other lists hold
    jobs that match no row. The comment at each list says what the list holds.
    """

    seen: list[tuple[SessionRecord, Job]] = field(
        default_factory=list
    )  # rows whose job the answer contains, with this job, even if its comment was changed
    replaced: list[tuple[SessionRecord, Job]] = field(
        default_factory=list
    )  # rows whose job id now belongs to another job, with this job
    missed: list[SessionRecord] = field(default_factory=list)  # rows with a job that the answer lacks
    claims: list[tuple[SessionRecord, Job]] = field(
        default_factory=list
    )  # rows without a job, with the job whose comment names the row
    # rows without a job that no job's comment names; also rows whose job is being submitted now
    waiting: list[SessionRecord] = field(default_factory=list)
    surplus: list[tuple[SessionRecord, Job]] = field(
        default_factory=list
    )  # other jobs whose comment names a row that has a job already
    # jobs of this gateway, by their comment, without a live row
    unknown: list[tuple[SessionId, Job]] = field(default_factory=list)
    # jobs of an array with a session's comment: sessions are never submitted as arrays
    copies: list[tuple[SessionId, Job]] = field(default_factory=list)
    others: list[Job] = field(default_factory=list)  # jobs with this gateway's job name that another gateway has signed


def compare(
    rows: Iterable[SessionRecord],
    jobs: Iterable[Job],
    identity: Identity,
    factory: str,
    submitting: Container[SessionId] = (),
    of_batch: Callable[[Job], bool] = lambda _job: False,
) -> MatchingPlan:
    """Match the jobs of a scheduler's answer with the live rows that the ledger has for the factory.

    A row with a job id is matched only with the job of this id. Any other job counts as a session's only if it has this
    gateway's job name, and a comment that this gateway signed for the job's account. ``identity``: checks names and
    comments of jobs; ``factory``: the factory's id; ``submitting``: ids of the rows whose job is being submitted now.
    While such a row has no job id, the row is matched with no job. ``of_batch``: returns whether a job belongs to a
    batch of Dask workers; such a job is no session's, even if a row has its job id.
    """
    plan = MatchingPlan()
    by_id = {record.id: record for record in rows}
    by_job = {record.job: record for record in by_id.values() if record.job is not None}
    seen: set[SessionId] = set()
    claimed: set[SessionId] = set()
    for job in jobs:
        known = by_job.get(job.id)
        session_id = identity.session_of(job, factory)
        record = None if session_id is None or job.array is not None else by_id.get(session_id)
        may_claim = (
            record is not None and record.job is None and record.account == job.account and record.id not in claimed
        )
        if known is not None:
            seen.add(known.id)
            claims = may_claim and session_id not in submitting
            if found(session_job(known, identity), job, claims or of_batch(job)) is not Found.FOREIGN:
                plan.seen.append((known, job))
                continue
            plan.replaced.append((known, job))
        if session_id is None:
            if identity.is_of_another_gateway(job, factory):
                plan.others.append(job)
            continue
        if job.array is not None:
            plan.copies.append((session_id, job))
        elif record is None:
            plan.unknown.append((session_id, job))
        elif may_claim and session_id in submitting:
            continue
        elif may_claim:
            claimed.add(record.id)
            plan.claims.append((record, job))
        else:
            plan.surplus.append((record, job))
    for record in by_id.values():
        if record.job is not None and record.id not in seen:
            plan.missed.append(record)
        elif record.job is None and record.id not in claimed:
            plan.waiting.append(record)
    return plan
