"""What is measured beside all work: how late the event loop is, and sums of the ledger that take time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from factorycommon.models import ProjectBalance, ProjectId, Slug
from factorylink.ledger.charges import Charges
from factorylink.ledger.ledger import LedgerError
from factorylink.util import clock, metrics

log = logging.getLogger("factorylink")

LOOP_STEP = 0.25  # seconds
BALANCES_SECONDS = 30.0  # between two sums of all charges
BALANCES_SHARE = 0.01  # of the ledger's time that these sums may take, however many charges there are


class Measuring:
    """Keeps the GPU-hours of all projects. ``balances``: by project and factory, as last read."""

    def __init__(self, charges: Charges) -> None:
        self._charges = charges
        self.balances: Mapping[tuple[ProjectId | None, Slug], ProjectBalance] = {}

    async def keep(self) -> None:
        """Read the sums again and again, until cancelled."""
        while True:
            began = clock.ticks()
            try:
                await self.read()
            except LedgerError as error:
                log.warning("The GPU-hours for the metrics are those of before: %s", error)
            took = clock.ticks() - began
            await asyncio.sleep(max(BALANCES_SECONDS, took / BALANCES_SHARE))

    async def read(self) -> None:
        """Read the sums once. Raises LedgerError."""
        self.balances = await self._charges.balances()


async def measure_loop() -> None:
    """Measure how late the event loop wakes up, until cancelled."""
    while True:
        due = clock.ticks() + LOOP_STEP
        await asyncio.sleep(LOOP_STEP)
        metrics.LOOP_LAG_SECONDS.observe(max(0.0, clock.ticks() - due))
