"""Runs commands at a scheduler that may be down or slow, so that no caller waits long for a scheduler that is down."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from factorylink.errors import FactoryError, NotDone, Unreachable
from factorylink.schedulers.command import Command
from factorylink.schedulers.dialect import Dialect
from factorylink.transports.base import CommandRunner
from factorylink.util.single_flight import SingleFlight

T = TypeVar("T")

SILENCE = 1.0  # seconds without an answer after which the link checks whether the scheduler is alive
SILENCE_AGAIN = 5.0


class Down(Unreachable):
    """Raised if a command has no answer yet, and a check does not confirm that the scheduler is alive.

    If the command itself fails, its own error is raised instead.
    """


class NotAsked(NotDone):
    """Raised instead of running a command, because the scheduler is down or has left the last questions unanswered.

    Also raised for an order about a job if the factory has not answered since the link was started.
    """


class CircuitBreaker:
    """A circuit breaker for the questions to a scheduler, which are the commands of ``SchedulerClient.run``.

    The breaker opens after ``MOST`` unanswered questions in a row (``record``), or at once if the scheduler is known to
    be down. While the breaker is open, ``run`` sends only probes (its argument ``probe`` is True), and raises NotAsked
    for all other questions. An answered probe closes the breaker.
    """

    MOST = 3

    def __init__(self) -> None:
        self._failures = 0
        self._words = ""

    @property
    def is_open(self) -> bool:
        """Return whether only probes may be sent to the scheduler now."""
        return self._failures >= self.MOST

    def check(self) -> None:
        """Raise NotAsked, with the message of the last failure, if the circuit breaker is open."""
        if self.is_open:
            raise NotAsked(self._words)

    def record(self, error: FactoryError | None) -> None:
        """Record a question's outcome. ``error``: what the question raised; None: the scheduler answered.

        Only Unreachable and its subclasses count as no answer: a refusal counts as an answer, too.
        """
        if not isinstance(error, Unreachable):
            self._failures = 0
            return
        self._words = error.message
        self._failures = self.MOST if isinstance(error, Down) else self._failures + 1


class SchedulerClient:
    """Runs commands over a transport, and finds out early if the scheduler is down.

    All commands that have no answer yet share one check of whether the scheduler is alive. Slurm's own commands try for
    9 s to reach a controller that is down; ``scontrol ping`` reports this in 10 ms.
    """

    def __init__(self, transport: CommandRunner, dialect: Dialect) -> None:
        self._transport = transport
        self._dialect = dialect
        self.alive: SingleFlight[None] = SingleFlight(0)
        self.circuit_breaker = CircuitBreaker()

    async def run(self, command: Command[T], account: str | None = None, *, probe: bool = False) -> T:
        """Run a command as ``account``, and return its answer.

        ``account`` None: the watcher, the account that asks about all jobs. Raises FactoryError: ``Down`` soon if the
        scheduler is down; ``NotAsked`` at once, without running the command, while ``circuit_breaker`` is open. With
        ``probe`` the command is run even then.
        """
        if not probe:
            self.circuit_breaker.check()
        try:
            answer = await self._run(command, account)
        except FactoryError as error:
            if account is None or isinstance(error, Down) or not isinstance(error, Unreachable):
                self.circuit_breaker.record(error)
            # Otherwise it may be a problem of this account or its shell; it does not concern other accounts, which must
            # not see its output.
            raise
        self.circuit_breaker.record(None)
        return answer

    async def lives(self) -> None:
        """Check whether the scheduler is alive, as the watcher, the account that asks about all jobs.

        Raises FactoryError if the scheduler does not confirm this.
        """
        await self.alive.get("alive", lambda: self._transport.run(self._dialect.alive()))

    async def _run(self, command: Command[T], account: str | None) -> T:
        running = asyncio.create_task(self._transport.run(command, account))
        patience = SILENCE
        try:
            while not (await asyncio.wait({running}, timeout=patience))[0]:
                await self._is_alive(running)
                patience = SILENCE_AGAIN
            return running.result()
        finally:
            running.add_done_callback(_told_already)
            running.cancel()
            await asyncio.wait({running})  # not ``await running``, since the caller may be cancelled at this moment

    async def _is_alive(self, running: asyncio.Task[T]) -> None:
        """Check whether the scheduler is alive; return when this is confirmed, or when ``running`` has ended.

        Raises Down if the check fails before ``running`` has ended.
        """
        asked = asyncio.create_task(self.lives())
        await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            asked.cancel()
        elif (error := asked.exception()) is not None and not running.done():
            raise Down(str(error)) from error


def _told_already(running: asyncio.Task[T]) -> None:
    if not running.cancelled():
        running.exception()
