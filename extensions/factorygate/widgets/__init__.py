"""The widgets for notebooks: a picker of factories, and a panel of a cluster.

Only Python code sets the widgets' data. The page sends a person's actions as ``{"op": …}``, which Python checks before
it carries them out.
"""

from factorygate.widgets.panel import ClusterPanel
from factorygate.widgets.picker import FactoryPicker

__all__ = ["ClusterPanel", "FactoryPicker"]
