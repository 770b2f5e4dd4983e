"""What `benchmarks/panel.py` runs in its kernels: our panel, and dask's own widget, of a cluster of many workers."""

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

CHANGES = 10  # a second


class Running(ScriptedCluster):
    """Jobs that run, so that their GPU-hours flow."""

    def __init__(self, jobs: int) -> None:
        super().__init__(view(jobs, gpu_hours_cap=None))
        self._began = time.monotonic()

    def view(self) -> ClusterView:
        hours = (time.monotonic() - self._began) / 3600 * len(self.now.jobs)
        return replace(self.now, gpu_hours_spent=hours, gpu_hours_committed=len(self.now.jobs) - hours)


class Ours:
    """``shown``: the id of the comm that the page's end talks to."""

    def __init__(self, jobs: int) -> None:
        self.cluster = Running(jobs)
        self.panel = ClusterPanel(self.cluster)
        self.shown = self.panel.comm.comm_id

    def change(self, number: int) -> None:
        """One of the jobs that the page shows gets another node: the dearest there is."""
        self.cluster.change(number % PAGE, node=f"nid{number:06}", workers=number % 4)


class Dask(Cluster):  # type: ignore[misc]  # untyped upstream
    """A cluster manager that was told of its workers as a scheduler tells; nothing runs."""

    def __init__(self, jobs: int) -> None:
        super().__init__(asynchronous=True)
        workers = {f"tls://10.0.{number // 250}.{number % 250}:40000": _worker(number) for number in range(jobs)}
        told = {"type": "Scheduler", "id": "Scheduler-1", "address": "tls://10.0.0.1:8786", "started": time.time(),
                "services": {"dashboard": 8787}, "n_workers": jobs, "total_threads": 8 * jobs,
                "total_memory": jobs * 10**9, "workers": workers}  # fmt: skip
        self.scheduler_info = SchedulerInfo(told)
        self.status = Status.running
        self.shown = self._widget().comm.comm_id

    scheduler_address = "tls://10.0.0.1:8786"  # there is none to ask

    def change(self, number: int) -> None:
        """A worker reports another metric, as each does twice a second in life."""
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
    """``CHANGES`` a second from now on, whatever the kernel does; call what comes back to stop."""
    stopped = threading.Event()

    def run() -> None:
        number = 0
        while not stopped.wait(1 / CHANGES):
            one.change(number)
            number += 1

    threading.Thread(target=run, daemon=True).start()
    return stopped.set
