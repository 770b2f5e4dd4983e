"""The widgets for notebooks: a picker of factories, and a panel of a cluster.

Only Python writes the data; the page sends a person's actions as ``{"op": …}``, which are checked before they are
carried out.
"""

from factorygate.widgets.panel import ClusterPanel
from factorygate.widgets.picker import FactoryPicker

__all__ = ["ClusterPanel", "FactoryPicker"]
