"""A pytest plugin that runs distributed's own tests with ``FactoryCluster`` instead of its cluster classes.

distributed's tests describe workers, while ``FactoryCluster`` describes jobs; ``Described`` converts one into the
other.
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
    """A ``FactoryCluster`` with the keywords of ``SpecCluster`` and ``LocalCluster``. Each worker is one job. A
    worker's class is ignored; of its options only threads and memory are used."""

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
        if isinstance(n_workers, dict):  # the first argument of a SpecCluster
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
        """Return when the wanted workers are connected, as ``SpecCluster`` does, or at once if the cluster adapts."""

        started = _Started(super().__await__())

        async def there() -> Described:
            await started
            while len(self.scheduler_info["workers"]) < len(self.plan) and not self.adapting:
                await asyncio.sleep(0.05)
            return self

        return there().__await__()


class _Started:
    """Makes the result of another class's ``__await__``, a generator, awaitable."""

    def __init__(self, generator: Generator[Any, None, Any]) -> None:
        self._generator = generator

    def __await__(self) -> Generator[Any, None, Any]:
        return self._generator


# Done before distributed's tests are imported, since they import the classes.
for module in (distributed, dask.distributed):
    module.SpecCluster = module.LocalCluster = Described
distributed.deploy.cluster.Cluster = Described

# Workers lack pytest, which the function's module imports, so the function is sent by value and not by name.
slowinc.__module__ = "__main__"
sys.modules["__main__"].slowinc = slowinc  # type: ignore[attr-defined]


def pytest_configure(config: pytest.Config) -> None:
    for marker in ("slow", "avoid_ci"):
        config.addinivalue_line("markers", f"{marker}: distributed's, for its CI")
    foreign_suite.register(config)
