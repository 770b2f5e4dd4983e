"""A job in nobody's ``FactoryCluster``: of a plain ``JobQueueCluster``, or of somebody's own Dask scheduler."""

from __future__ import annotations

import os
import uuid
import warnings
from typing import Any

from distributed.security import Security

from factorygate.cluster.broker import Broker
from factorygate.cluster.keys import Keys
from factorygate.cluster.place import WorkerPlace
from factorygate.cluster.versions import versions
from factorygate.link import Link, LinkError

CLEAR = (
    "The Dask scheduler at {address} speaks in clear text: whoever reaches its port, or stands between, runs code as "
    "you. FactoryCluster has keys of its own; JobQueueCluster takes security=True."
)


async def begin(
    address: str, security: Security | None, place: WorkerPlace, project: str | None, asked: dict[str, Any]
) -> Broker:
    """For one job, which to the gateway is a cluster of its own. Raises LinkError, ValueError."""
    if security is None:
        warnings.warn(CLEAR.format(address=address), stacklevel=2)
        scheduler = {"address": address, "versions": versions()}
    else:
        scheduler = Keys.like(security).tell(address)
    broker = Broker(Link.here(), lambda _names: None)
    request = {
        "name": f"job-{uuid.uuid4().hex[:10]}",
        "factory": place.factory,
        "size": place.size,
        "environment": place.environment,
        "hours": place.hours,
        "project": project,
        "processes": place.processes,
        "session": os.environ.get("FACTORYGATE_SESSION") if place.here else None,
        "worker": asked,
        "scheduler": scheduler,
    }
    try:
        await broker.begin(request)
    except LinkError:
        await broker.close()
        raise
    return broker
