"""Jobs of a cluster that are planned and not there yet: made, and asked for together."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factorygate.cluster.cluster import FactoryCluster
    from factorygate.cluster.job import FactoryJob

AT_A_TIME = 50  # jobs that are made before the event loop comes round again


async def open_missing(cluster: FactoryCluster) -> None:
    """As SpecCluster does; but a few at a time, since each renders a script, and the event loop is also the
    scheduler's and everybody's who waits for an answer. Call it with the cluster's lock. Raises LinkError."""
    made: dict[str, FactoryJob] = {}
    for name in [name for name in cluster.worker_spec if name not in cluster.workers]:
        if (spec := cluster.worker_spec.get(name)) is not None:  # still wanted
            address = getattr(cluster.scheduler, "contact_address", None) or cluster.scheduler.address
            made[name] = job = spec["cls"](address, **{"name": name, **spec["options"]})
            job._cluster = weakref.ref(cluster)
        if len(made) % AT_A_TIME == 0:
            await asyncio.sleep(0)
    cluster.workers.update(made)
    cluster._created.update(made.values())
    if made:
        starting = [asyncio.ensure_future(job) for job in made.values()]
        await asyncio.wait(starting)
        await asyncio.gather(*starting)
