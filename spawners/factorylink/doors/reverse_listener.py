"""Requests from a session: accepts connections to the hub's socket in the job, a limited number at a time."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import asyncssh

log = logging.getLogger("factorylink")

# Of one door at a time. A notebook server has a few, and a stream of events for each page and cluster; each costs us
# two descriptors, for as long as the session's own account likes.
BACK_MOST = 32
# Of one of its channels. The window is what the link holds where it reads slowly; packets are large, since each costs
# the same, and a cluster's data go this way.
WINDOW, PACKET = 2 << 20, 256 << 10


async def open_way_back(connection: asyncssh.SSHClientConnection, session: str, hub_sock: str, socket: Path) -> None:
    """Make the door forward connections to its ``hub_sock`` to the link. Raises asyncssh.Error.

    ``socket``: the link's own socket for these connections, whose app decides where their requests may go.
    """
    back: set[object] = set()  # channels that are open
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
