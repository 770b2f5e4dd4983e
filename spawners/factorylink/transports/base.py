"""What every transport can do, and the one place where an answer is read.

A transport runs commands and moves bytes; it knows no scheduler. ``account`` is the site account as which the thing
is done; None is the identity that the watcher has there.
"""

from __future__ import annotations

import logging
import socket
from typing import Protocol, TypeVar

from factorylink.errors import Misread
from factorylink.schedulers.ask import Ask, Output

T = TypeVar("T")
log = logging.getLogger(__name__)


class Transport(Protocol):
    """The way to a factory's login side. Every method raises only the four errors of ``factorylink.errors``."""

    async def run(self, ask: Ask[T], account: str | None = None) -> T:
        """Run a command and read its answer. Past ``ask.timeout``, or when cancelled, it is killed with all its
        children; what it had done by then is not known (Unreachable)."""

    async def read(self, account: str | None, path: str, limit: int = 65536) -> bytes:
        """The first ``limit`` bytes of a file, opened as the account. A leading ``~/`` is its home. Gone: no file."""

    async def home(self, account: str | None) -> str:
        """Absolute path of the account's home there. Gone: no such account."""

    async def connect(self, account: str | None, host: str, port: int) -> socket.socket:
        """A connected, non-blocking TCP socket to a port on a node, seen from the login side."""

    async def close(self) -> None:
        """Let go of whatever is held open. Commands still running are killed."""


def answer(ask: Ask[T], output: Output) -> T:
    """Read what a command left behind. What cannot be read is kept whole in the log and becomes Misread."""
    try:
        return ask.parse(output)
    except Misread:
        log.exception("%s: not understood: %r", ask.argv[0], output)
        raise
    except (ValueError, LookupError, TypeError) as error:  # pydantic's ValidationError is a ValueError
        log.exception("%s: not understood: %r", ask.argv[0], output)
        raise Misread(f"The answer of {ask.argv[0]} was not understood: {error}", repr(output)) from error
