"""What a notebook shows of the gateway: a picker of factories, and a panel of a cluster.

Python alone writes the data; the page sends what a person did as ``{"op": …}``, which is checked before it is done.
"""

from factorygate.widgets.panel import ClusterPanel
from factorygate.widgets.picker import FactoryPicker

__all__ = ["ClusterPanel", "FactoryPicker"]
