"""Sessions and clusters in the form in which the link sends them to a notebook."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from factorycommon.models import Cluster, GpuHours, ResolvedChoice, Session, SessionState

WHEN = datetime(2026, 3, 10, 12, tzinfo=UTC)


def choice(**more: Any) -> ResolvedChoice:
    fields = {"factory": "one", "size": "cpu", "environment": "plain", "hours": 1}
    return ResolvedChoice(**fields | {"idle_minutes": 60, "unopened_minutes": 30} | more)


def session(**more: Any) -> Session:
    fields = {"id": "ab" * 16, "user": "ada", "server": "", "account": "a", "choice": choice(), "created": WHEN}
    return Session(**fields | {"state": SessionState.RUNNING, "wish": "run"} | more)


def cluster(**more: Any) -> Cluster:
    fields = {"id": "c" * 32, "name": "mine", "user": "ada", "account": "a", "choice": choice(), "processes": 1}
    hours = GpuHours(spent=0, committed=0, at=WHEN, per_hour=0)
    return Cluster(**fields | {"gpus": 0, "state": "live", "created": WHEN, "gpu_hours": hours, "counts": {}} | more)
