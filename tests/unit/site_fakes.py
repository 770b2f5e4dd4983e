"""A factory, a dialect and a transport without a scheduler: the test plans answers, errors and silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from factorycommon.models import Factory, Job, JobRequest, JobState, Outcome
from factorylink.config import Access
from factorylink.errors import FactoryError, Unreachable
from factorylink.jobs.ownership import OwnJob
from factorylink.schedulers.command import Command
from factorylink.schedulers.pbs import dialect as pbs
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.site.site import Site
from factorylink.transports.base import ByteStream
from tests.unit.slurm_output import COMMENT


def factory() -> Factory:
    def size(id: str, gpus: int, cores: int, memory_gb: float, whole_node: bool = False) -> dict[str, object]:
        return {"id": id, "gpus": gpus, "cores": cores, "memory_gb": memory_gb, "whole_node": whole_node,
                "partition": "gpu", "max_hours": 4, "billed_as": "GPU-hours"}  # fmt: skip

    return Factory.model_validate(
        {
            "id": "site", "name": "Site", "state": "live", "scheduler": "slurm", "outbound": "none",
            "site": {"machine": "m", "host": "h", "city": "c", "country": "FI"},
            "accelerator": {"vendor": "NVIDIA", "model": "A100", "memory_gb": 40, "per_node": 4, "gres_type": "a100"},
            "node": {"cores": 32, "memory_gb": 256},
            "partitions": [{"name": "gpu", "max_hours": 24}],
            "sizes": [size("one", 1, 8, 64), size("full", 4, 32, 256, whole_node=True), size("cpu", 0, 4, 8)],
            "environments": [{"id": "e", "title": "E", "kind": "venv", "python": "/usr/bin/python3"}],
        }
    )  # fmt: skip


def request(**changes: object) -> JobRequest:
    fields: dict[str, object] = {
        "name": "factorygate-hub", "comment": COMMENT, "partition": "gpu", "gpus": 1, "cores": 8, "memory_gb": 64,
        "walltime": 3600, "output": "/tmp/log", "command": ("/bin/sleep", "60"),
    }  # fmt: skip
    return JobRequest.model_validate(fields | changes)


def job(id: str, state: JobState = JobState.PENDING, **changes: object) -> Job:
    fields: dict[str, object] = {
        "id": id, "array": slurm.array_of(id) or pbs.array_of(id),
        "name": "factorygate-hub", "account": "alice", "comment": COMMENT, "state": state,
        "raw_state": {JobState.ENDED: "FAILED"}.get(state, state.name),
        "outcome": Outcome.FAILED if state is JobState.ENDED else None, "partition": "gpu", "priority": 1,
    }  # fmt: skip
    return Job.model_validate(fields | changes)


def own(account: str, *ids: str) -> list[OwnJob]:
    """Return an account's jobs in the form of the ledger's OwnJob."""
    return [OwnJob(id, account, COMMENT) for id in ids]


class FakeTransport:
    """Answers each command by its name with a value, an error to raise, a coroutine function, or None (no answer). An
    answer by "name/account" is for that account only."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"jobs": [], "by id": [], "nodes": [], "waiting": {}, "alive": ()}
        self.asked: list[str] = []
        self.asked_as: list[tuple[str, str | None]] = []
        self.changed = asyncio.Condition()

    async def run(self, ask: Command[Any], account: str | None = None) -> Any:
        kind = _kind(ask)
        async with self.changed:
            self.asked.append(kind)
            self.asked_as.append((kind, account))
            self.changed.notify_all()
        answer = self.answers.get(f"{kind}/{account}", self.answers.get(kind))
        if answer is None and kind == "reservations":
            return []
        if kind == "groups" and isinstance(answer, dict):
            answer = answer.get(ask.argv[-1], frozenset())
        if answer is None:
            await asyncio.sleep(ask.timeout)
            raise Unreachable("no answer")
        if isinstance(answer, FactoryError):
            raise answer
        return await answer() if callable(answer) else answer

    def count(self, kind: str) -> int:
        """Return how often that command was run."""
        return self.asked.count(kind)

    async def until(self, enough: Callable[[], bool]) -> None:
        """Wait until the run commands fulfil a condition."""
        async with asyncio.timeout(120), self.changed:
            await self.changed.wait_for(enough)

    async def read(self, account: str | None, path: str, limit: int = 65536) -> bytes:
        raise NotImplementedError

    async def home(self, account: str | None) -> str:
        raise NotImplementedError

    async def connect(self, account: str | None, host: str, port: int) -> ByteStream:
        raise NotImplementedError

    async def enter(self, account: str | None, argv: Sequence[str]) -> ByteStream:
        raise NotImplementedError

    async def close(self) -> None:
        """Do nothing, since nothing is open."""


def _kind(ask: Command[Any]) -> str:
    program, *words = ask.argv[4:] if ask.argv[0] == "sh" else ask.argv  # a shell runs the commands of lists
    if program == "squeue":
        if any(word.startswith("--jobs=") for word in words):
            return "by id"
        return "waiting" if "--states=PENDING" in words else "jobs"
    if program == "scontrol":
        return "reservations" if "reservation" in words else "alive"
    if program == "sbatch":
        return "estimate" if "--test-only" in words else "submit"
    return {"id": "groups", "sinfo": "nodes", "scancel": "cancel", "sacct": "accounting"}[program]


def site(transport: FakeTransport, **access: Any) -> Site:
    return Site(factory(), Access(account_pool=("alice",), **access), transport, slurm, "hub")
