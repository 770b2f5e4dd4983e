"""Makes, in the kernels of `benchmarks/panel.py`, the two widgets that are compared: the panel, and dask's own widget.

Each shows a cluster with many workers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from distributed.core import Status
from distributed.deploy.cluster import Cluster
from distributed.objects import SchedulerInfo

from factorygate import ClusterPanel
from factorygate.view_data import ClusterView
from factorygate.widgets.rows import PAGE
from tests.support.watched import ScriptedCluster, view

CHANGES = 10  # changes per second


class Running(ScriptedCluster):
    """A cluster whose jobs run, so that their GPU-hours grow."""

    def __init__(self, jobs: int) -> None:
        super().__init__(view(jobs, gpu_hours_cap=None))
        self._began = time.monotonic()

    def view(self) -> ClusterView:
        hours = (time.monotonic() - self._began) / 3600 * len(self.now.jobs)
        return replace(self.now, gpu_hours_spent=hours, gpu_hours_committed=len(self.now.jobs) - hours)


class Ours:
    """The gateway's panel. ``shown``: the id of the comm to the page."""

    def __init__(self, jobs: int) -> None:
        self.cluster = Running(jobs)
        self.panel = ClusterPanel(self.cluster)
        self.shown = self.panel.comm.comm_id

    def change(self, number: int) -> None:
        """Move one job that the page shows to another node, which is the most expensive change."""
        self.cluster.change(number % PAGE, node=f"nid{number:06}", workers=number % 4)


class Dask(Cluster):  # type: ignore[misc]  # untyped upstream
    """A dask cluster manager with data of a scheduler and its workers, none of which run."""

    def __init__(self, jobs: int) -> None:
        super().__init__(asynchronous=True)
        workers = {f"tls://10.0.{number // 250}.{number % 250}:40000": _worker(number) for number in range(jobs)}
        told = {"type": "Scheduler", "id": "Scheduler-1", "address": "tls://10.0.0.1:8786", "started": time.time(),
                "services": {"dashboard": 8787}, "n_workers": jobs, "total_threads": 8 * jobs,
                "total_memory": jobs * 10**9, "workers": workers}  # fmt: skip
        self.scheduler_info = SchedulerInfo(told)
        self.status = Status.running
        self.shown = self._widget().comm.comm_id

    scheduler_address = "tls://10.0.0.1:8786"  # there is no scheduler

    def change(self, number: int) -> None:
        """Report another metric of a worker, as each real worker does twice a second."""
        workers = list(self.scheduler_info["workers"].values())
        workers[number % len(workers)]["metrics"]["memory"] = number * 10**6


def _worker(number: int) -> dict[str, Any]:
    metrics = {"task_counts": {"executing": 1}, "memory": 10**9, "spilled_bytes": {"memory": 0, "disk": 0}, "cpu": 99.0,
               "num_fds": 30, "host_net_io": {"read_bps": 1.0, "write_bps": 1.0}, "time": time.time()}  # fmt: skip
    return {"type": "Worker", "id": f"w-{number}", "name": f"w-{number}", "host": "10.0.0.1", "nthreads": 8,
            "memory_limit": 10**9, "resources": {}, "local_directory": "/tmp/dask", "services": {"dashboard": 40001},
            "nanny": "tls://10.0.0.1:40002", "last_seen": time.time(), "status": "running",
            "metrics": metrics}  # fmt: skip


def keep_changing(one: Any) -> Callable[[], None]:
    """Call ``one.change`` ``CHANGES`` times per second in a thread; call the returned function to stop.

    The thread does not wait for the kernel's other work.
    """
    stopped = threading.Event()

    def run() -> None:
        number = 0
        while not stopped.wait(1 / CHANGES):
            one.change(number)
            number += 1

    threading.Thread(target=run, daemon=True).start()
    return stopped.set
