"""Accepts the connections that a session makes to the hub's socket in its job, a limited number at a time."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import asyncssh

log = logging.getLogger("factorylink")

# Connections of one door at a time. A notebook server uses a few, and an event stream for each page and cluster. Each
# costs the link two file descriptors for as long as the session keeps it open.
BACK_MOST = 32
# Bytes, for one channel of such a connection. The window limits what the link buffers while it reads slowly. Packets
# are large, since each has a fixed cost, and a cluster's data take this path.
WINDOW, PACKET = 4 << 20, 256 << 10


async def open_way_back(connection: asyncssh.SSHClientConnection, session: str, hub_sock: str, socket: Path) -> None:
    """Make the door listen on a Unix socket in the job, and forward each connection there to a socket of the link.

    ``hub_sock``: the path of the socket in the job; ``socket``: the path of the link's socket, whose app decides where
    the requests may go; ``session``: the session's id, for the log. At most ``BACK_MOST`` connections are open at a
    time; more are refused. Raises asyncssh.Error.
    """
    back: set[object] = set()  # open channels
    warned = False

    async def accept() -> Any:
        nonlocal warned
        if len(back) >= BACK_MOST:
            if not warned:
                log.warning("Session %s wants more than %d ways back at a time", session, BACK_MOST)
            warned = True
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, "too many at a time")
        place = object()
        back.add(place)
        try:
            forwarder: Any = await connection.forward_unix_connection(str(socket))
        except BaseException:
            back.discard(place)
            raise
        lost = forwarder.connection_lost

        def gone(exc: Exception | None) -> None:
            back.discard(place)
            lost(exc)

        forwarder.connection_lost = gone
        return forwarder

    await connection.create_unix_server(accept, hub_sock, window=WINDOW, max_pktsize=PACKET)
