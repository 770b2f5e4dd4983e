"""Creates a cluster at the link for a job of a plain ``JobQueueCluster``, or of a person's own Dask scheduler."""

from __future__ import annotations

import uuid
import warnings

from distributed.security import Security

from factorycommon.models import Scheduler
from factorygate.cluster.cluster_api import ClusterApi
from factorygate.cluster.keys import Keys
from factorygate.cluster.terms import ClusterTerms
from factorygate.cluster.versions import versions
from factorygate.link import Link, LinkError

CLEAR = (
    "The Dask scheduler at {address} speaks in clear text: whoever reaches its port, or stands between, runs code as "
    "you. FactoryCluster has keys of its own; JobQueueCluster takes security=True."
)


async def begin(address: str, security: Security | None, terms: ClusterTerms) -> ClusterApi:
    """Create at the link a cluster for a single job of Dask workers; return the client for this cluster.

    The caller must then request the job (``ClusterApi.submit``). ``address``: the address of the Dask scheduler, which
    runs already; ``security``: the scheduler's keys; None: the traffic is not encrypted, which gives a warning. Raises
    LinkError; ValueError if ``security`` lacks keys for workers, or if ``terms`` are invalid; OSError if a file that
    ``security`` names cannot be read.
    """
    if security is None:
        warnings.warn(CLEAR.format(address=address), stacklevel=2)
        scheduler = Scheduler(address=address, versions=versions())
    else:
        scheduler = Keys.like(security).tell(address)
    request = terms.request(f"job-{uuid.uuid4().hex[:10]}", scheduler=scheduler)
    cluster_api = ClusterApi(Link.here(), lambda _names: None)
    try:
        await cluster_api.begin(request)
    except LinkError:
        await cluster_api.close()
        raise
    return cluster_api
