"""What asyncssh sends beside what it is told to send."""

from __future__ import annotations

from typing import Any

import asyncssh

_MSG_IGNORE = 2  # RFC 4253, 11.2


def send_no_fillers(connection: asyncssh.SSHConnection) -> None:
    """Stop sending an empty message before each message of ``connection``.

    asyncssh does so against an attack on CBC ciphers (RFC 4251, 9.3.1), of which none is offered here. OpenSSH does not
    either. Each of these messages is encrypted and written by itself, once more for each connection inside another.
    """
    send = connection.send_packet

    def send_packet(pkttype: int, *args: bytes, handler: Any = None) -> None:
        if pkttype != _MSG_IGNORE:
            send(pkttype, *args, handler=handler)

    connection.send_packet = send_packet  # type: ignore[method-assign]
