"""Asking a scheduler that may have died: nobody waits long for the answer of one that is not there."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TypeVar

from factorylink.errors import LinkError, Unreachable
from factorylink.flights import Flights
from factorylink.schedulers.ask import Ask
from factorylink.schedulers.dialect import Dialect
from factorylink.transports.base import Transport

T = TypeVar("T")

SILENCE = 1.0  # seconds without an answer after which the scheduler is asked whether it is there at all
SILENCE_AGAIN = 5.0


class Down(Unreachable):
    """The scheduler itself is not there: surer than a question that failed."""


class Asker:
    """Runs asks over a transport. All that wait for the same silent scheduler share one question whether it lives.

    Slurm's own commands try for 9 s to reach a controller that is not there; ``scontrol ping`` says so in 10 ms.
    """

    def __init__(self, transport: Transport, dialect: Dialect) -> None:
        self._transport = transport
        self._dialect = dialect
        self.alive: Flights[None] = Flights(0)

    async def run(self, ask: Ask[T], account: str | None = None) -> T:
        """The answer, or one of the four errors; ``Down`` soon where the scheduler is not there."""
        running = asyncio.create_task(self._transport.run(ask, account))
        patience = SILENCE
        try:
            while not (await asyncio.wait({running}, timeout=patience))[0]:
                await self._is_alive(running)
                patience = SILENCE_AGAIN
            return running.result()
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError, LinkError):  # told already
                await running

    async def _is_alive(self, running: asyncio.Task[T]) -> None:
        """Returns when the scheduler lives, or ``running`` came to its end meanwhile. Raises Down."""
        asked = asyncio.create_task(self.alive.get("alive", lambda: self._transport.run(self._dialect.alive())))
        await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            asked.cancel()
        elif (error := asked.exception()) is not None and not running.done():
            raise Down(str(error)) from error
