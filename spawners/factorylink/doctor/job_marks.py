"""Checks the marks by which jobs are recognised: their name and comment after a submission.

Also looks for other gateways' jobs with this gateway's job name.
"""

from __future__ import annotations

from pathlib import Path

from factorycommon.models import Job, JobState, Words
from factorylink.jobs.identity import Identity, read_or_make_key


def changed(job: Job, name: str, comment: str) -> Words | None:
    """Return a warning if a job's name or comment differs from the submitted one, else None."""
    parts = [part for part, now, was in (("name", job.name, name), ("comment", job.comment, comment)) if now != was]
    if not parts:
        return None
    return Words(
        code="job-rewritten",
        what=f"The factory changed the {' and the '.join(parts)} of the job as it was submitted.",
        do=(
            "Ask the site to leave name and comment of the gateway's jobs as they are: a session is found again by "
            "them, and a job with another comment is not cancelled by the gateway."
        ),
        whose="site",
        scheduler=f"name {job.name!r}, comment {job.comment!r}",
    )


def own_identity(hub: str, keys: Path) -> Identity | None:
    """Return the identity with which this machine's link signs its jobs; None if its key is missing or cannot be read.

    The key is missing if the link was never started here. ``hub``: the hub's name; ``keys``: the folder of the key."""
    file = keys / "hmac.key"
    try:
        return Identity(hub, read_or_make_key(file)) if file.exists() else None
    except (OSError, ValueError):
        return None


def same_name(jobs: list[Job], identity: Identity, factory: str) -> Words | None:
    """Return a warning if live jobs with this gateway's job name have another gateway's comment, else None."""
    others = [j for j in jobs if j.state is not JobState.ENDED and identity.is_of_another_gateway(j, factory)]
    if not others:
        return None
    return Words(
        code="same-name",
        what=f"{len(others)} jobs of the name {identity.job_name} were submitted by another gateway.",
        do=(
            "Two hubs with the same hub.name use this factory: give each a name of its own in link.yaml. Jobs of the "
            "other one are left alone meanwhile."
        ),
        whose="operator",
        scheduler=", ".join(f"job {job.id} of {job.account}" for job in others[:5]),
    )
