"""Reads the operator's file of pools, and reads it again whenever it has changed."""

from __future__ import annotations

import logging
from pathlib import Path

from factorycommon.models.workshops import WorkshopPools
from factorycommon.service.yaml_file import CatalogueError, read_model

log = logging.getLogger("workshops")


class PoolsFile:
    """The operator's file of pools.

    If the file cannot be used, the last valid content that this service has read counts. If this service has not read
    any valid content since its start, there are no pools.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[int, int, int] | None = None  # the file's metadata when it was last read
        self._pools = WorkshopPools()

    def pools(self) -> WorkshopPools:
        """Return the pools; read the file again first if it has changed."""
        try:
            found = self._path.stat()
            looks = (found.st_ctime_ns, found.st_size, found.st_ino)
        except OSError:
            looks = (0, 0, 0)
        if looks != self._read:
            self._read = looks
            try:
                self._pools = read_model(self._path, WorkshopPools)
            except CatalogueError as error:
                log.error("The pools of workshops cannot be used, and the last good ones count:\n%s", error)  # noqa: TRY400
        return self._pools
