"""Makes Python's garbage collector run less often, for a server process that makes many objects for each request.

By default, Python looks for unused cycles of objects after every 2,000 new objects (Python 3.13), and looks at all
objects again when their number has grown by a quarter. While a class starts, this takes some percent of the hub's CPU
time, and one look at all objects keeps the hub's event loop busy for 0.1 s.
"""

from __future__ import annotations

import gc

_NEW_OBJECTS = 50_000  # new objects before Python looks at them


def collect_less_often() -> None:
    """Make Python look for unused cycles of objects only after every ``_NEW_OBJECTS`` new objects."""
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
