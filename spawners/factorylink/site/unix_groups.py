"""Looks up the Unix groups of a factory's site accounts.

A site may open a reservation to groups, and only the site knows their members. The link runs ``id`` on the login host,
for one account after the other, and only for people to whom such a reservation could be offered. The commands run as
the watcher (the account as which the link asks the scheduler).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from factorylink.errors import FactoryError, Misread, Refused, Unreachable
from factorylink.schedulers.command import Command, Output
from factorylink.transports.base import CommandRunner

log = logging.getLogger(__name__)

KEPT = 900.0  # seconds for which an answer is used
AGAIN = 120.0  # seconds until a question that failed is asked again
PACE = 1.0  # seconds between two questions
PATIENCE = 1.0  # seconds that a start waits for an answer


def question(account: str) -> Command[frozenset[str]]:
    """Return the command that prints the names of an account's groups, each followed by a NUL.

    The command's ``parse`` raises Misread if the NUL at the end is missing (the answer was truncated), Refused if the
    site does not report the groups, and Unreachable if a signal ended the command.
    """

    def read(output: Output) -> frozenset[str]:
        if output.code < 0:
            raise Unreachable(output.stderr.strip() or "A signal ended the command.")
        if output.code:
            raise Refused(output.stderr.strip() or f"id ended with code {output.code}")
        if not output.stdout.endswith("\0"):
            raise Misread("The list of groups has no end: it was cut.", repr(output))
        return frozenset(output.stdout.removesuffix("\0").split("\0"))

    return Command(("id", "-Gnz", "--", account), read, timeout=10)


class Groups:
    """The Unix groups of site accounts, which are looked up while ``keep`` runs.

    If the groups of an account cannot be looked up (the site does not report them, or does not answer), the account
    counts as a member of no group; after ``AGAIN`` seconds, its groups may be looked up again.
    """

    def __init__(self, factory: str, transport: CommandRunner) -> None:
        self._factory = factory
        self._transport = transport
        # the groups by account, each with the time until which they are used
        self._known: dict[str, tuple[float, frozenset[str]]] = {}
        self._wanted: dict[str, None] = {}  # accounts to look up, in order
        self._wake = asyncio.Event()
        self._one = asyncio.Lock()

    def of(self, account: str) -> frozenset[str]:
        """Return the groups of an account that are known now, perhaps none.

        If they are unknown or outdated, ``keep`` looks them up soon.
        """
        until, groups = self._known.get(account, (float("-inf"), frozenset()))
        if until < time.monotonic():
            self._wanted[account] = None
            self._wake.set()
        return groups

    async def wait_for(self, account: str) -> None:
        """Wait for the account's groups if ``of`` has requested them, for ``PATIENCE`` seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._ask(account)

    async def keep(self) -> None:
        """Look up the requested groups, until cancelled."""
        while True:
            await self._wake.wait()
            while self._wanted:
                await self._ask(next(iter(self._wanted)))
                await asyncio.sleep(PACE)
            self._wake.clear()

    async def _ask(self, account: str) -> None:
        async with self._one:
            if account not in self._wanted:
                return
            try:
                groups, kept = await self._transport.run(question(account)), KEPT
            except FactoryError as error:
                log.info("%s: the groups of %s are not known: %s", self._factory, account, error.message)
                groups, kept = frozenset[str](), AGAIN
            self._known[account] = (time.monotonic() + kept, groups)
            del self._wanted[account]
