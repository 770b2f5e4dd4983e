"""Questions to a scheduler that is down."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from factorylink.errors import Unreachable
from factorylink.schedulers.command import Command
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.site.scheduler_client import Down, SchedulerClient


class DeadScheduler:
    """Answers nothing, reports that it is down, and needs time to kill a command."""

    def __init__(self) -> None:
        self.killing = asyncio.Event()
        self.killed = asyncio.Event()

    async def run(self, ask: Command[Any], account: str | None = None) -> Any:
        if ask.argv[:2] == ("scontrol", "ping"):
            raise Unreachable("Slurmctld(primary) at one is DOWN")
        try:
            await asyncio.Event().wait()
        finally:
            self.killing.set()
            await self.killed.wait()


async def test_a_caller_may_be_cancelled_at_any_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller may be cancelled even while an abandoned command is being killed."""
    monkeypatch.setattr("factorylink.site.scheduler_client.SILENCE", 0.01)
    dead = DeadScheduler()
    asking = asyncio.create_task(SchedulerClient(dead, slurm).run(slurm.jobs("factorygate-hub")))  # type: ignore[arg-type]
    await dead.killing.wait()
    asking.cancel()
    await asyncio.wait({asking}, timeout=60)
    assert asking.cancelled()
    dead.killed.set()


async def test_a_scheduler_that_is_down_is_reported_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factorylink.site.scheduler_client.SILENCE", 0.01)
    dead = DeadScheduler()
    dead.killed.set()
    with pytest.raises(Down, match="DOWN"):
        await SchedulerClient(dead, slurm).run(slurm.jobs("factorygate-hub"))  # type: ignore[arg-type]
