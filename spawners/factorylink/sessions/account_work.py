"""Runs work in the background if its commands run at a factory as a person's site account.

An account can make such a command last arbitrarily long (for example by a shell that sleeps). So the poller, which
handles the scheduler's answers, must not wait for the command.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any

from factorylink.ledger.ledger import LedgerError

log = logging.getLogger("factorylink")

Account = tuple[str, str]  # factory id, site account


class AccountWork:
    """Runs functions in the background, one at a time for each account, in the order of the requests.

    Each request has a key; a request is ignored if another one with the same key is waiting or running. ``spawn``: runs
    a coroutine in the background.
    """

    def __init__(self, spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]) -> None:
        self._spawn = spawn
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        self._turns: dict[Account, asyncio.Lock] = {}
        self._users: Counter[Account] = Counter()  # number of tasks that wait for the account's lock or hold it

    def begin(self, key: Hashable, account: Account, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` in the background, unless a request with the same key is waiting or running.

        The work waits for all earlier work of ``account`` (factory id, site account). A LedgerError of ``work`` is
        logged.
        """
        if key not in self._tasks:
            self._tasks[key] = task = self._spawn(self._in_turn(account, work), f"work as {account[1]} at {account[0]}")
            task.add_done_callback(lambda _task: self._tasks.pop(key, None))

    async def settle(self) -> None:
        """Wait until all work that was requested is done; errors of the work are not raised here."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _in_turn(self, account: Account, work: Callable[[], Awaitable[None]]) -> None:
        turn = self._turns.setdefault(account, asyncio.Lock())
        self._users[account] += 1
        try:
            async with turn:
                await work()
        except LedgerError:
            log.exception("Work as %s at %s is not in the ledger yet", account[1], account[0])
        finally:
            self._users[account] -= 1
            if not self._users[account]:
                del self._users[account], self._turns[account]
