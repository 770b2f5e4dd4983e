"""A transport that tells the standing what comes of each act, and enters nothing while a factory is paused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from factorylink.schedulers.ask import Ask
from factorylink.standing import Standing
from factorylink.transports.base import Transport, Wire

T = TypeVar("T")


class HeedingTransport:
    """Around another transport; a ``Transport`` itself."""

    def __init__(self, inner: Transport, standing: Standing) -> None:
        self._inner = inner
        self._standing = standing

    async def run(self, ask: Ask[T], account: str | None = None) -> T:
        """As the inner one."""
        with self._standing.heeding(account):
            return await self._inner.run(ask, account)

    async def read(self, account: str | None, path: str, limit: int = 65536) -> bytes:
        """As the inner one."""
        with self._standing.heeding(account):
            return await self._inner.read(account, path, limit)

    async def home(self, account: str | None) -> str:
        """As the inner one."""
        return await self._inner.home(account)  # may be remembered, so it tells nothing of now

    async def connect(self, account: str | None, host: str, port: int) -> Wire:
        """As the inner one."""
        with self._standing.entering(account):
            return await self._inner.connect(account, host, port)

    async def enter(self, account: str | None, argv: Sequence[str]) -> Wire:
        """As the inner one."""
        with self._standing.entering(account):
            return await self._inner.enter(account, argv)

    async def close(self) -> None:
        """As the inner one."""
        await self._inner.close()
