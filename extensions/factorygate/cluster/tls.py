"""TLS sockets that report only their own errors, and that accept a connection closed without TLS's close_notify.

These sockets solve two problems with OpenSSL's error queue. Each thread has one queue, and Dask has all its connections
in one thread:

- CPython (3.10 to 3.14: its issues 81891, 127257 and 148594) raises OSError for a write into a connection that the peer
  has reset, and leaves the error in the queue. A later operation of that thread then fails with that error, on whatever
  connection it is. So when a worker was killed, connections of clients broke, and the clients lost all their futures.

- OpenSSL 3 treats an end of file without close_notify as an attack, and answers with an alert into the closed
  connection; the failure of that write is left in the queue in the same way. Dask's messages have lengths, so a
  truncated message is noticed anyway.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class OwnErrorsSocket(ssl.SSLSocket):
    """An SSLSocket that does not raise errors of other connections.

    OpenSSL has one queue of errors for each thread, in which another connection may have left an error.
    """

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """Read up to ``len`` bytes as ``SSLSocket.read`` does, but without errors of other connections.

        ``recv`` and ``recv_into`` call this method.
        """
        return _own(lambda: super(OwnErrorsSocket, self).read(len, buffer))

    def send(self, data: Any, flags: int = 0) -> int:
        """Write what can be written now, as ``SSLSocket.send`` does, but without errors of other connections."""
        return _own(lambda: super(OwnErrorsSocket, self).send(data, flags))

    def do_handshake(self, block: bool = False) -> None:
        """Continue the handshake as ``SSLSocket.do_handshake`` does, but without errors of other connections."""
        return _own(lambda: super(OwnErrorsSocket, self).do_handshake(block))


def _own(operation: Callable[[], T]) -> T:
    """Return the result of ``operation``; if it raises an OSError other than SSLError, call it once more.

    Before the second call, empty the error queue. The first error may belong to another connection; if it belongs to
    this one, the second call fails again. For an SSLError, CPython itself has emptied the queue.
    """
    try:
        return operation()
    except ssl.SSLError:  # CPython has emptied the queue for errors of this class
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
    """Create a TLS object, since CPython then empties this thread's queue of OpenSSL errors."""
    _context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())


def mend(context: ssl.SSLContext) -> None:
    """Let each socket of ``context`` raise only its own errors.

    The sockets also accept that the peer closes a connection without close_notify.
    """
    context.sslsocket_class = OwnErrorsSocket
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
