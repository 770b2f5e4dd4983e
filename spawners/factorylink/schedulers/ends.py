"""Makes the record of a job's end, for every dialect."""

from __future__ import annotations

from factorycommon.models import End, Job, JobState, Outcome


def end_of(job: Job) -> End | None:
    """Return the record of a job's end, from the job as the scheduler lists it; None if the job has not ended.

    A job whose outcome the scheduler does not tell counts as failed.
    """
    if job.state is not JobState.ENDED:
        return None
    elapsed = int((job.ended - job.started).total_seconds()) if job.ended and job.started else None
    return End(
        job=job.id,
        outcome=job.outcome or Outcome.FAILED,
        raw_state=job.raw_state,
        exit_code=job.exit_code,
        signal=job.signal,
        reason=job.reason,
        ended=job.ended,
        elapsed=elapsed,
    )
