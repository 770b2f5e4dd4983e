"""A worker's job as dask-jobqueue sees it: asked for through the link in place of a scheduler's commands."""

from __future__ import annotations

from typing import Any

import dask
from dask_jobqueue.core import Job
from distributed.core import Status

from factorygate.cluster.broker import Broker
from factorygate.link import LinkError

# dask-jobqueue wants every one of its settings in a section of ours, or looks for it in vain.
DEFAULTS: dict[str, Any] = {
    "name": "factorygate", "cores": None, "memory": None, "processes": 1, "python": None, "interface": None,
    "death-timeout": 60, "local-directory": None, "shared-temp-directory": None, "extra": None,
    "worker-command": "distributed.cli.dask_worker", "worker-extra-args": [], "shebang": "#!/bin/bash",
    "walltime": None, "env-extra": None, "job-script-prologue": [], "job-extra": None, "job-extra-directives": [],
    "job-directives-skip": [], "log-directory": None, "scheduler-options": {}, "queue": None, "account": None,
}  # fmt: skip
dask.config.update_defaults({"jobqueue": {"factory": DEFAULTS}})


class FactoryJob(Job):
    """One job of a cluster. Made by dask-jobqueue with what ``FactoryCluster`` gave it for all jobs."""

    config_name = "factory"

    def __init__(
        self, scheduler: Any = None, name: Any = None, *, broker: Broker, describe: str = "", **kwargs: Any
    ) -> None:
        super().__init__(scheduler=scheduler, name=name, **kwargs)
        self._broker = broker
        self.job_header = describe

    async def start(self) -> None:
        """Ask for it. Raises LinkError with the scheduler's words."""
        await self._broker.submit(str(self.name))
        self.status = Status.running

    async def close(self) -> None:
        """See that it ends."""
        if self.status is Status.running:
            try:
                await self._broker.cancel(str(self.name))
            except LinkError as error:
                if error.kind != "gone":  # the whole cluster is over, so it is, too
                    raise
        self.status = Status.closed
        self._event_finished.set()

    @property
    def told(self) -> dict[str, Any]:
        """As the link tells it; empty while nothing is known."""
        return self._broker.workers.get(str(self.name), {})
