"""Keeps a port and an SSH connection to the door for each live session; a lost connection is opened again.

The link reads the door's host key over the transport, from a file of the session's account; it trusts no other key that
a connection to the door may show. Everything that a door sends is bounded and parsed: a manipulated door can only
mislead its own person about their own session.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import socket
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import asyncssh

from factorycommon.malloc import keep_blocks
from factorycommon.models import MessageBody, SessionId
from factorycommon.models.workshops.material import DoorOrder, MaterialReport
from factorycommon.tls import HUB, PROXY, listening
from factorylink.config import LinkConfig
from factorylink.doors.carriers import Route, Stdio
from factorylink.doors.connection import DoorConnection, Stream
from factorylink.doors.port_forwarder import FarSide, SessionPort
from factorylink.doors.protocol import DoorStatus, DoorToken
from factorylink.errors import Gone
from factorylink.transports.command_slots import CommandSlots

log = logging.getLogger("factorylink")

NO_PORT = 0  # the port of a session that needs none, since the proxy does not serve it
# connections opened at once per factory: a restarted link opens hundreds, each with a connection at the login side
OPENING_AT_ONCE = 16


class DoorManager:
    """Keeps the sessions' ports and the connections to their doors.

    Methods that send something through a door raise Gone before ``open`` and after ``close`` for the session,
    Unreachable if the door is not connected or does not answer, and Refused if the door refused. ``on_status`` is
    called with every new status of a connected door. It is called with None when the connection to a door is lost, or
    when there is a new reason why the door cannot be connected. ``key``: the SSH key with which the link logs in at the
    doors; ``back_socket``: the link's Unix socket for the notebooks' requests to the hub and to the link.
    """

    def __init__(
        self,
        config: LinkConfig,
        key: asyncssh.SSHKey,
        on_status: Callable[[SessionId, DoorStatus | None], None],
        back_socket: Path,
    ) -> None:
        self._config = config
        self._key = key
        self._on_status = on_status
        self._back_socket = back_socket
        self._ports: dict[SessionId, SessionPort] = {}
        self._doors: dict[SessionId, DoorConnection] = {}
        # by factory, so that a silent factory does not delay the doors of other factories
        self._slots: dict[str, CommandSlots] = {}
        self._places: dict[str, asyncio.Semaphore] = {}  # by factory, for doors that are entered through its scheduler
        self._more_doors = asyncio.Condition()
        self._host = config.sessions.listen_host
        self._tls = None if config.tls is None else listening(config.tls, (PROXY, HUB))
        first, last = config.session_ports
        self._next = first + secrets.randbelow(last - first + 1)
        keep_blocks()
        asyncssh.set_log_level(logging.WARNING)  # at INFO, asyncssh logs every connection

    def allocate(self, used: set[int]) -> int:
        """Return a port of ``session_ports`` that is free and not in ``used``. Raises OSError if there is none.

        Ports are taken in turn, because the proxy may still route requests of an ended session to its port, and these
        requests must not reach another person's notebook.
        """
        first, last = self._config.session_ports
        taken = used | {port.port for port in self._ports.values()}
        for _ in range(first, last + 1):
            port, self._next = self._next, self._next + 1 if self._next < last else first
            if port not in taken and _is_free(self._host, port):
                return port
        raise OSError(f"no free port in session_ports {first}-{last}")

    async def bind(self, session_id: SessionId, port: int) -> None:
        """Listen on the session's port, unless it is ``NO_PORT``. Raises OSError.

        A connection to the port is closed if the door cannot be reached within ``DOOR_WAIT`` seconds.
        """
        if port == NO_PORT:
            return
        known = self._ports.get(session_id)
        if known is not None and known.port == port:
            return
        if known is not None:
            self._ports.pop(session_id).close()
        opened = SessionPort(self._host, port, lambda far: self._connect(session_id, far), self._tls)
        await opened.listen()
        self._ports[session_id] = opened

    async def _connect(self, session_id: SessionId, far: Callable[[], FarSide]) -> object:
        async with self._more_doors:  # a restarted link listens on its ports before it knows its doors
            await self._more_doors.wait_for(lambda: session_id in self._doors)
        return await self._door(session_id).connect(far)

    async def open(self, route: Route) -> None:
        """Start to connect to the session's door, and to reconnect whenever the connection is lost, in the background.

        If this object already opens or holds a connection to the door by the same route, and the door has not reported
        the end of the session, this call does nothing. Otherwise a new connection replaces the session's earlier
        connection, if there is one.
        """
        session_id = route.session
        known = self._doors.get(session_id)
        if known is not None and known.route == route and not known.ended:
            return
        if known is not None:
            await known.close()
        places = None
        if isinstance(route.carrier, Stdio):
            places = self._places.setdefault(route.factory, asyncio.Semaphore(route.carrier.most))
        slots = self._slots.setdefault(route.factory, CommandSlots(OPENING_AT_ONCE, OPENING_AT_ONCE // 2, 1))
        door = DoorConnection(
            route, self._key, slots, places, self._back_socket, lambda s: self._on_status(session_id, s)
        )
        self._doors[session_id] = door
        door.start()
        async with self._more_doors:
            self._more_doors.notify_all()

    async def close(self, session_id: SessionId) -> None:
        """Close the connection to the door, and the port. The notebook continues."""
        port, door = self._ports.pop(session_id, None), self._doors.pop(session_id, None)
        if port is not None:
            port.close()
        if door is not None:
            await door.close()

    async def shutdown(self) -> None:
        """Close all connections and ports. The notebooks continue."""
        await asyncio.gather(*(self.close(session_id) for session_id in {*self._ports, *self._doors}))

    def is_open(self, session_id: SessionId) -> bool:
        """Return whether the session's door is connected, so that requests to the session's port reach its node."""
        door = self._doors.get(session_id)
        return door is not None and door.is_open

    def problem(self, session_id: SessionId) -> str:
        """Return an explanation why the door is not connected.

        "" if it is connected, if no reason is known yet, and for a session before ``open`` and after ``close``.
        """
        door = self._doors.get(session_id)
        return door.problem if door is not None else ""

    async def answers(self, session_id: SessionId, path: str) -> bool:
        """Return whether the notebook answers ``GET path`` with 200; False if the door is not connected."""
        door = self._doors.get(session_id)
        return door is not None and await door.answers(path)

    async def send_environment(
        self, session_id: SessionId, environment: dict[str, str], argv: Sequence[str]
    ) -> DoorStatus:
        """Send the door the environment variables and the command of the session's notebook or Dask scheduler.

        The door then starts this command. Return the door's status. A second call with the same values changes nothing;
        the door refuses other values.
        """
        message = json.dumps({"environment": environment, "argv": list(argv)})
        return await self._door(session_id).command("environment", DoorStatus, message)

    async def enter(self, session_id: SessionId) -> Stream:
        """Open a channel to the socket of the session's notebook or Dask scheduler, as a pair of streams."""
        return await self._door(session_id).enter()

    async def token(self, session_id: SessionId) -> str | None:
        """Return the token with which the notebook calls the hub's API; None if the notebook has none yet."""
        return (await self._door(session_id).command("token", DoorToken)).token

    async def stop(self, session_id: SessionId) -> DoorStatus:
        """Ask the door to stop the notebook cleanly and then to end the job; return the door's status."""
        return await self._door(session_id).command("stop", DoorStatus)

    async def new_end(self, session_id: SessionId, ends: datetime) -> DoorStatus:
        """Send the door the new end of the session's job, as the scheduler reports it; return the door's status."""
        return await self._door(session_id).command("ends", DoorStatus, json.dumps({"ends": ends.isoformat()}))

    async def tell(self, session_id: SessionId, message: MessageBody) -> DoorStatus:
        """Show a message to the person in the session; return the door's status.

        The message is ignored if the door still keeps an earlier one with the same id.
        """
        return await self._door(session_id).command("tell", DoorStatus, message.model_dump_json())

    async def deliver(self, session_id: SessionId, order: DoorOrder, archive: Path) -> MaterialReport:
        """Deliver a workshop's material into the session; return how many files had each outcome.

        ``order``: into which folder, and how; ``archive``: the file with the material.
        """
        return await self._door(session_id).deliver(order, archive)

    def _door(self, session_id: SessionId) -> DoorConnection:
        door = self._doors.get(session_id)
        if door is None:
            raise Gone("The session has no door yet.")
        return door


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
