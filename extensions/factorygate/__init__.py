"""The notebook's side of the gateway, and the programs that run in the batch jobs of sessions and clusters.

This package imports neither the spawner nor the link.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factorygate.cluster.cluster import FactoryCluster
    from factorygate.examples import copy_examples
    from factorygate.link import use_token
    from factorygate.widgets.panel import ClusterPanel
    from factorygate.widgets.picker import FactoryPicker

__version__ = "0.2.0"
__all__ = ["ClusterPanel", "FactoryCluster", "FactoryPicker", "__version__", "copy_examples", "use_token"]

# Imported at the first use: programs in a job import this package too, and need neither widgets nor Dask.
_PLACES = {
    "ClusterPanel": "factorygate.widgets.panel",
    "FactoryCluster": "factorygate.cluster.cluster",
    "FactoryPicker": "factorygate.widgets.picker",
    "copy_examples": "factorygate.examples",
    "use_token": "factorygate.link",  # nosec B105
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
