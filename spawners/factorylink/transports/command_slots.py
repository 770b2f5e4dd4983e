"""Limits the concurrent commands at a factory: each site account has a share, and the watcher has slots of its own.

An account can make its commands hang as long as it likes (a FIFO, a shell that sleeps), so without shares one account
could block all others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator


class CommandSlots:
    """Limits how many commands run at the same time.

    ``total``: the limit for all accounts together; ``share``: the limit for one account; ``watcher``: the limit for the
    watcher (the account as which the link asks the scheduler), in addition to ``total``.
    """

    def __init__(self, total: int, share: int, watcher: int) -> None:
        self._all = asyncio.Semaphore(total)
        self._share = share
        self._watcher = asyncio.Semaphore(watcher)
        self._accounts: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()  # by account, the number of commands that wait for or hold a slot

    @contextlib.asynccontextmanager
    async def of(self, account: str | None) -> AsyncIterator[None]:
        """Wait for a slot of the account (None: of the watcher), and hold the slot during the block."""
        if account is None:
            async with self._watcher:
                yield
            return
        own = self._accounts.setdefault(account, asyncio.Semaphore(self._share))
        self._users[account] += 1
        try:
            async with own, self._all:
                yield
        finally:
            self._users[account] -= 1
            if not self._users[account]:
                del self._users[account], self._accounts[account]
