"""Asks one factory for its nodes, waiting jobs and reservations, rarely and only while somebody needs the answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import datetime

from factorycommon.models import Factory, JobId, MaintenanceView, NodeSize, NodeState, PartitionLoad, Reservation
from factorylink.errors import FactoryError
from factorylink.schedulers.dialect import Dialect
from factorylink.site import availability, maintenance
from factorylink.site.scheduler_client import SchedulerClient
from factorylink.util import clock, rate_limiter

log = logging.getLogger(__name__)

RESERVATIONS = 120.0  # seconds between two questions about reservations, which are made long in advance
EARLY = 30.0  # seconds between two questions about the queue that are asked early
STALE = 120.0  # seconds after which the free resources are outdated


class LoadPoller:
    """Asks for nodes, waiting jobs and reservations of one factory, and stores the answers.

    ``keep`` asks until the time that ``want`` has set. ``on_loads`` is called after each new answer. ``reachable``:
    returns whether the factory can be asked now; if not, nothing is asked.
    """

    def __init__(
        self, factory: Factory, scheduler_client: SchedulerClient, dialect: Dialect, reachable: Callable[[], bool]
    ) -> None:
        self.on_loads: Callable[[], None] = lambda: None
        self.queue = availability.Queue({})  # all visible waiting jobs
        self.queue_asked = float("-inf")  # when the question for this queue was sent, in ticks
        self._factory = factory
        self._scheduler_client = scheduler_client
        self._dialect = dialect
        self._reachable = reachable
        self._nodes: list[NodeState] = []
        self._waiting: dict[str, list[tuple[int, JobId]]] = {}
        self.reservations: list[Reservation] = []
        self._at = float("-inf")
        self.asked_at: datetime | None = None  # when the last answer came
        self._reserved_at = float("-inf")
        self._wanted = float("-inf")  # ask until this time, in ticks
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()  # set if a waiting job is newer than the queue
        self._hurried = float("-inf")

    def want(self, seconds: float) -> None:
        """Let ``keep`` go on asking until ``seconds`` from now, since somebody needs the answers."""
        self._wanted = max(self._wanted, time.monotonic() + seconds)
        self._wake.set()

    def hurry(self) -> None:
        """Let ``keep`` ask for the waiting jobs earlier than planned, at most every ``EARLY`` seconds.

        Call this if ``queue`` is too old to contain a waiting job of this gateway.
        """
        self._hurry.set()

    def all_out(self, partition: str) -> bool:
        """Return whether every node of a partition is out of service; False if that is not known."""
        inside = [node for node in self._nodes if partition in node.partitions]
        return bool(inside) and not any(node.usable for node in inside) and time.monotonic() - self._at < STALE

    def loads(self) -> tuple[PartitionLoad, ...]:
        """Return the load of each partition that the catalogue lists for the factory; empty before the first answer."""
        return availability.loads(self._factory, self._nodes, self._waiting) if self._nodes else ()

    def fits(self, size: NodeSize) -> int:
        """Return how many more sessions of a size could start now; 0 if that is not known."""
        fresh = time.monotonic() - self._at < STALE
        return availability.fits(self._factory, self._nodes, size) if fresh else 0

    def maintenance(self) -> tuple[MaintenanceView, ...]:
        """Return the present and future maintenances in the last answer, the next one first."""
        names = [partition.name for partition in self._factory.partitions]
        return maintenance.maintenances(self.reservations, self._nodes, names, clock.now())

    async def keep(self) -> None:
        """Ask repeatedly while somebody needs the answers (``want``), until cancelled."""
        while True:
            await self._wake.wait()
            began = time.monotonic()
            if self._reachable():
                await self._ask()
            took = time.monotonic() - began
            await self._pause(took * (1 / rate_limiter.SHARE - 1))
            if time.monotonic() > self._wanted:
                self._wake.clear()

    async def _pause(self, least: float) -> None:
        """Wait until the next full question is due, at least ``least`` seconds.

        A full question asks for nodes and waiting jobs and, every ``RESERVATIONS`` seconds, for reservations. If
        ``hurry`` was called, or is called during the wait, also ask early for the waiting jobs: once, and at most every
        ``EARLY`` seconds.
        """
        until = time.monotonic() + max(rate_limiter.SURVEY, least)
        await asyncio.sleep(min(least, rate_limiter.SURVEY))
        early = max(0.0, self._hurried + EARLY - time.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(until - time.monotonic()):
                await asyncio.sleep(early)
                await self._hurry.wait()
                self._hurried = time.monotonic()
                if self._reachable():
                    await self._ask_early()
        await asyncio.sleep(max(0.0, until - time.monotonic()))

    async def _ask_early(self) -> None:
        try:
            await self._ask_queue()
        except FactoryError as error:
            log.info("%s: who waits is not known: %s", self._factory.id, error.message)
            return
        self.on_loads()

    async def _ask_queue(self) -> None:
        """Ask for the waiting jobs of all users, and store them in ``queue``. Raises FactoryError."""
        self._hurry.clear()
        began = time.monotonic()
        self._waiting = await self._scheduler_client.run(self._dialect.waiting())
        self.queue, self.queue_asked = availability.Queue(self._waiting), began

    async def _ask(self) -> None:
        try:
            self._nodes = await self._scheduler_client.run(self._dialect.nodes())
            await self._ask_queue()
        except FactoryError as error:
            log.info("%s: what is free is not known: %s", self._factory.id, error.message)
            return
        self._at = time.monotonic()
        self.asked_at = clock.now()
        self.on_loads()
        if time.monotonic() - self._reserved_at < RESERVATIONS:
            return
        # also if the site does not tell its reservations, so that it is not asked more often
        self._reserved_at = time.monotonic()
        try:
            self.reservations = await self._scheduler_client.run(self._dialect.reservations())
        except FactoryError as error:
            log.info("%s: its reservations are not known: %s", self._factory.id, error.message)
            return
        self.on_loads()
