"""What is free at a factory and who else waits there: asked slowly, and only while somebody wants to know."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime

from factorylink import availability, moments, pacing, windows
from factorylink.asking import Asker
from factorylink.errors import LinkError
from factorylink.models import Factory, JobId, MaintenanceView, NodeSize, NodeState, PartitionLoad, Reservation
from factorylink.schedulers.dialect import Dialect

log = logging.getLogger(__name__)

RESERVATIONS = 120.0  # seconds between two questions for them: they are made long before
STALE = 120.0  # seconds after which what was free says nothing any more


class Survey:
    """Keeps nodes and waiting jobs of one factory. ``on_loads`` is called when they were asked anew."""

    def __init__(self, factory: Factory, asker: Asker, dialect: Dialect, reachable: Callable[[], bool]) -> None:
        self.on_loads: Callable[[], None] = lambda: None
        self.queue = availability.Queue({})  # of all waiting jobs that we may see
        self._factory = factory
        self._asker = asker
        self._dialect = dialect
        self._reachable = reachable
        self._nodes: list[NodeState] = []
        self._waiting: dict[str, list[tuple[int, JobId]]] = {}
        self.reservations: list[Reservation] = []
        self._at = float("-inf")
        self.asked_at: datetime | None = None  # when it was told last
        self._reserved_at = float("-inf")
        self._wanted = float("-inf")  # until then
        self._wake = asyncio.Event()

    def want(self, seconds: float) -> None:
        """Somebody wants to know, for so long."""
        self._wanted = max(self._wanted, time.monotonic() + seconds)
        self._wake.set()

    def loads(self) -> tuple[PartitionLoad, ...]:
        """What is free, by partition of the catalogue; empty until it was asked once."""
        return availability.loads(self._factory, self._nodes, self._waiting) if self._nodes else ()

    def fits(self, size: NodeSize) -> int:
        """How many more of a size could start now; 0 also where that is not known."""
        fresh = time.monotonic() - self._at < STALE
        return availability.fits(self._factory, self._nodes, size) if fresh else 0

    def maintenance(self) -> tuple[MaintenanceView, ...]:
        """Those that come, or are, as far as it was asked."""
        names = [partition.name for partition in self._factory.partitions]
        return windows.maintenances(self.reservations, self._nodes, names, moments.now())

    async def keep(self) -> None:
        """Ask while it is wanted, until cancelled."""
        while True:
            await self._wake.wait()
            began = time.monotonic()
            if self._reachable():
                await self._ask()
            took = time.monotonic() - began
            await asyncio.sleep(max(pacing.SURVEY, took * (1 / pacing.SHARE - 1)))
            if time.monotonic() > self._wanted:
                self._wake.clear()

    async def _ask(self) -> None:
        try:
            self._nodes = await self._asker.run(self._dialect.nodes())
            self._waiting = await self._asker.run(self._dialect.waiting())
        except LinkError as error:
            log.info("%s: what is free is not known: %s", self._factory.id, error.message)
            return
        self.queue = availability.Queue(self._waiting)
        self._at = time.monotonic()
        self.asked_at = moments.now()
        self.on_loads()
        if time.monotonic() - self._reserved_at < RESERVATIONS:
            return
        self._reserved_at = time.monotonic()  # where a site does not tell them, it is not asked more often either
        try:
            self.reservations = await self._asker.run(self._dialect.reservations())
        except LinkError as error:
            log.info("%s: its reservations are not known: %s", self._factory.id, error.message)
            return
        self.on_loads()
