"""Wraps a factory's transports; the wrappers record in the access status whether the site allows the operations.

While the factory is paused, no streams are opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from factorylink.schedulers.command import Command
from factorylink.transports.access_status import SiteAccessStatus
from factorylink.transports.base import ByteStream, CommandRunner, StreamOpener

T = TypeVar("T")


class GuardedCommands:
    """Runs commands and reads files with the wrapped ``CommandRunner``.

    ``run`` and ``read`` record in the access status whether the site lets the link act for the account. ``home``
    records nothing, since its answer may come from a cache.
    """

    def __init__(self, inner: CommandRunner, access_status: SiteAccessStatus) -> None:
        self._inner = inner
        self._access_status = access_status

    async def run(self, command: Command[T], account: str | None = None) -> T:
        """Run a command with the wrapped transport, and return its parsed output."""
        with self._access_status.heeding(account):
            return await self._inner.run(command, account)

    async def read(self, account: str | None, path: str, limit: int = 65536) -> bytes:
        """Return the first ``limit`` bytes of a file, read with the wrapped transport."""
        with self._access_status.heeding(account):
            return await self._inner.read(account, path, limit)

    async def home(self, account: str | None) -> str:
        """Return the account's home from the wrapped transport."""
        # the answer may come from a cache, so it says nothing about the present access
        return await self._inner.home(account)

    async def close(self) -> None:
        """Close the wrapped transport."""
        await self._inner.close()


class GuardedStreams:
    """Opens streams with the wrapped ``StreamOpener``.

    While the factory is paused, every call raises Unreachable. If the site refuses to let the link act for the account,
    the call records this in the access status.
    """

    def __init__(self, inner: StreamOpener, access_status: SiteAccessStatus) -> None:
        self._inner = inner
        self._access_status = access_status

    async def connect(self, account: str | None, host: str, port: int) -> ByteStream:
        """With the wrapped transport, open a stream to a TCP port on a node.

        Raises Unreachable if the factory is paused.
        """
        with self._access_status.entering(account):
            return await self._inner.connect(account, host, port)

    async def enter(self, account: str | None, argv: Sequence[str]) -> ByteStream:
        """Run a command with the wrapped transport; return a stream of its stdin and stdout.

        For example, the command connects to a door in a job. Raises Unreachable if the factory is paused.
        """
        with self._access_status.entering(account):
            return await self._inner.enter(account, argv)
