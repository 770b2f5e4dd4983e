"""Removes batchspawner's callback from the hub.

``POST /hub/api/batchspawner`` lets its caller set any attribute of a spawner, and accepts a notebook's own token, so
that a notebook could run commands as the hub. Importing batchspawner registers the callback. This module imports
batchspawner and removes the callback again, so other modules import batchspawner's classes from here.
"""

from __future__ import annotations

from batchspawner import BatchSpawnerBase, JobStatus
from batchspawner.api import BatchSpawnerAPIHandler
from jupyterhub import apihandlers

__all__ = ["BatchSpawnerBase", "JobStatus", "remove_callback"]


def remove_callback() -> None:
    """Remove the route to batchspawner's handler from the hub's default routes; other routes keep their order."""
    apihandlers.default_handlers[:] = [
        route for route in apihandlers.default_handlers if route[1] is not BatchSpawnerAPIHandler
    ]


remove_callback()
