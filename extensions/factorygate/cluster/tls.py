"""TLS sockets that report only their own failures, and that treat a connection closed without a TLS goodbye like any
other end.

Both are about errors that OpenSSL keeps in one queue for each thread, while Dask has all its connections in one thread:

- CPython (3.10 to 3.14: its issues 81891, 127257 and 148594) raises OSError for a write into a connection that the peer
has reset, and leaves the error in the queue. Every later operation of that thread then fails with that error, on
whatever connection it is. So a worker that was killed ended the connections of clients, and lost all their futures.

- OpenSSL 3 takes an end without a TLS goodbye for an attack and answers it with an alert into the closed connection;
the failure of that write is left in the queue in the same way. Dask's messages have lengths, so a truncated message is
noticed anyway.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class OwnErrorsSocket(ssl.SSLSocket):
    """An SSLSocket whose operations do not raise errors that another connection of the same thread has left in the
    queue."""

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """Read up to ``len`` bytes, as ``SSLSocket.read`` does; ``recv`` and ``recv_into`` come here."""
        return _own(lambda: super(OwnErrorsSocket, self).read(len, buffer))

    def send(self, data: Any, flags: int = 0) -> int:
        """Write what can be written now, as ``SSLSocket.send`` does."""
        return _own(lambda: super(OwnErrorsSocket, self).send(data, flags))

    def do_handshake(self, block: bool = False) -> None:
        """Continue the handshake, as ``SSLSocket.do_handshake`` does."""
        return _own(lambda: super(OwnErrorsSocket, self).do_handshake(block))


def _own(operation: Callable[[], T]) -> T:
    """Return what the operation returns. An OSError may be another connection's: the queue is emptied and the operation
    tried once more, which fails again if the error is its own."""
    try:
        return operation()
    except ssl.SSLError:  # CPython has emptied the queue for these
        raise
    except OSError:
        _empty_queue()
    try:
        return operation()
    except OSError:
        _empty_queue()
        raise


_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_context.check_hostname = False


def _empty_queue() -> None:
    """Empty OpenSSL's queue of errors of this thread; CPython does so whenever it creates a TLS object."""
    _context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())


def mend(context: ssl.SSLContext) -> None:
    """Make the connections of this context independent of each other's errors."""
    context.sslsocket_class = OwnErrorsSocket
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
