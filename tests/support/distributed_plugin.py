"""A pytest plugin: distributed's own tests with ``FactoryCluster`` in the place of its clusters.

distributed describes workers where ``FactoryCluster`` describes jobs; ``Described`` says the one by the other.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator
from typing import Any

import dask.distributed
import dask.system
import distributed
import distributed.deploy.cluster
import pytest
from distributed.utils_test import cleanup, loop, loop_in_thread, slowinc

from factorygate import FactoryCluster
from tests.support import foreign_suite

__all__ = ["cleanup", "loop", "loop_in_thread"]  # fixtures


class Described(FactoryCluster):
    """A ``FactoryCluster`` by the keywords of ``SpecCluster`` and ``LocalCluster``. A job is one worker; of a worker's
    class nothing is taken over, and of its options the threads and the memory."""

    def __init__(
        self,
        n_workers: int | dict[Any, Any] | None = None,
        workers: dict[Any, Any] | None = None,
        worker: dict[str, Any] | None = None,
        scheduler: dict[str, Any] | None = None,
        threads_per_worker: int | None = None,
        memory_limit: Any = None,
        processes: bool | None = None,
        dashboard_address: str | None = None,
        silence_logs: Any = "critical",
        **options: Any,
    ) -> None:
        if isinstance(n_workers, dict):  # of a SpecCluster that is the first argument
            n_workers = len(n_workers)
        spec = (worker or {}).get("options", {})
        super().__init__(
            cores=spec.get("nthreads") or threads_per_worker or dask.system.CPU_COUNT,
            memory=spec.get("memory_limit") or memory_limit or None,
            processes=spec.get("n", 1),
            workers=len(workers or ()) if n_workers is None else n_workers,
            silence_logs=silence_logs,
            **options,
        )

    def __await__(self) -> Generator[Any, None, Described]:
        """Return when the workers that are wanted are there, as ``SpecCluster`` does."""

        started = _Started(super().__await__())

        async def there() -> Described:
            await started
            while len(self.scheduler_info["workers"]) < len(self.plan) and not self.adapting:
                await asyncio.sleep(0.05)
            return self

        return there().__await__()


class _Started:
    """What another class's ``__await__`` returned, to be awaited."""

    def __init__(self, generator: Generator[Any, None, Any]) -> None:
        self._generator = generator

    def __await__(self) -> Generator[Any, None, Any]:
        return self._generator


# Before its tests are imported, which take the classes from there.
for module in (distributed, dask.distributed):
    module.SpecCluster = module.LocalCluster = Described
distributed.deploy.cluster.Cluster = Described

# Workers lack pytest, which its module imports: the function goes to them by what is in it, not by its name.
slowinc.__module__ = "__main__"
sys.modules["__main__"].slowinc = slowinc  # type: ignore[attr-defined]


def pytest_configure(config: pytest.Config) -> None:
    for marker in ("slow", "avoid_ci"):
        config.addinivalue_line("markers", f"{marker}: distributed's, for its CI")
    foreign_suite.register(config)
