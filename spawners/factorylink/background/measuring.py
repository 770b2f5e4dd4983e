"""Measures, in the background, the delay of the event loop and the GPU-hours in the ledger, for the metrics."""

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
BALANCES_SECONDS = 30.0  # seconds between two sums of all charges
BALANCES_SHARE = 0.01  # largest share of time that these sums may take, however many charges there are


class Measuring:
    """Adds up the GPU-hours of all projects, for the metrics.

    ``balances``: the last sums, by project and factory; empty before the first sum. The project None stands for the
    jobs that are charged to no project.
    """

    def __init__(self, charges: Charges) -> None:
        self._charges = charges
        self.balances: Mapping[tuple[ProjectId | None, Slug], ProjectBalance] = {}

    async def keep(self) -> None:
        """Update ``balances`` from the ledger repeatedly, until cancelled."""
        while True:
            began = clock.ticks()
            try:
                await self.read()
            except LedgerError as error:
                log.warning("The GPU-hours for the metrics are those of before: %s", error)
            took = clock.ticks() - began
            await asyncio.sleep(max(BALANCES_SECONDS, took / BALANCES_SHARE))

    async def read(self) -> None:
        """Update ``balances`` from the ledger once. Raises LedgerError."""
        self.balances = await self._charges.balances()


async def measure_loop() -> None:
    """Measure the delay of the event loop repeatedly, for the metric ``LOOP_LAG_SECONDS``, until cancelled."""
    while True:
        due = clock.ticks() + LOOP_STEP
        await asyncio.sleep(LOOP_STEP)
        metrics.LOOP_LAG_SECONDS.observe(max(0.0, clock.ticks() - due))
