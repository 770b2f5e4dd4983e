"""The two carriers of a door's SSH connection: ``tcp`` and ``stdio``.

``tcp`` connects to a port of the door's node, through the login host. ``stdio`` runs a command of the scheduler that
enters the job and connects to a Unix socket there; it is for sites that forbid port forwarding. The door is the same
with both.

The scheduler and the link's own configuration decide which addresses a carrier may connect to. Addresses that the
session's account writes are used only within these bounds.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from factorycommon.models import JobId, SessionId
from factorylink.config import DoorAccess
from factorylink.doors.protocol import DoorFile
from factorylink.errors import Misread, Refused, Unreachable
from factorylink.schedulers.dialect import Dialect
from factorylink.transports.base import ByteStream, CommandRunner, StreamOpener

_SOCKET = "door.sock"


@dataclass(frozen=True)
class Tcp:
    """A carrier that connects to a TCP port.

    ``host``: the configured host, or the node's name from the scheduler (None: the scheduler gives none). ``ports``:
    the range in which the door may listen; None: any port.
    """

    host: str | None
    ports: tuple[int, int] | None


@dataclass(frozen=True)
class Stdio:
    """A carrier that runs a process in the job.

    ``bridge``: argv that, followed by a socket's path, joins its stdin and stdout to that socket on the node.
    ``node_tmp``: the folder in which doors make their own folder. ``most``: how many doors of a factory may be open at
    a time. ``node``: the node's name from the scheduler, None if the scheduler gives none.
    """

    job: JobId
    dialect: Dialect
    bridge: tuple[str, ...]
    node_tmp: str
    most: int
    node: str | None = None


@dataclass(frozen=True)
class Route:
    """How to reach the door of a session.

    ``file``: absolute path of its ``door.json``, which ``commands`` reads as the site account ``account``; ``streams``:
    None if the factory's transport cannot open byte streams.
    """

    session: SessionId
    factory: str
    account: str
    file: str
    commands: CommandRunner
    streams: StreamOpener | None
    carrier: Tcp | Stdio

    async def open(self, door: DoorFile) -> ByteStream:
        """Open a byte stream to the door that the file describes.

        Raises Misread if the file names no address for the carrier, or one that the carrier's settings do not allow;
        Unreachable if the carrier needs the name of the job's node, and the scheduler does not give it; Refused if the
        factory's transport cannot open byte streams; and the transport's errors.
        """
        if self.streams is None:
            raise Refused(f"The way to {self.factory} runs commands only, so no session there can be entered.")
        if isinstance(self.carrier, Tcp):
            return await self.streams.connect(self.account, *_address(self.carrier, door))
        socket = _socket(self.carrier, self.session, door)
        argv = self.carrier.dialect.enter(self.carrier.job, (*self.carrier.bridge, socket), self.carrier.node)
        return await self.streams.enter(self.account, argv)


def carrier(access: DoorAccess, dialect: Dialect, job: JobId, node: str | None, bridge: tuple[str, ...]) -> Tcp | Stdio:
    """Return the carrier that is configured for a factory, for one of its jobs.

    ``node``: the node's name from the scheduler, None if the scheduler gives none. ``bridge``: the command that
    connects to the door's socket inside the job. Only the carrier ``stdio`` uses ``dialect``, ``job`` and
    ``bridge``.
    """
    if access.carrier == "tcp":
        return Tcp(access.host or node, access.ports)
    return Stdio(job, dialect, bridge, access.node_tmp, access.stdio_most, node)


def _address(tcp: Tcp, door: DoorFile) -> tuple[str, int]:
    if tcp.host is None:
        raise Unreachable("The scheduler does not say on which node the session runs.")
    if door.port is None:
        raise Misread("The door listens on no port; it was started for carrier stdio, and door.carrier is tcp now.")
    if tcp.ports is not None and not tcp.ports[0] <= door.port <= tcp.ports[1]:
        raise Misread("The door says port {}, outside door.ports {}-{}.".format(door.port, *tcp.ports))
    return tcp.host, door.port


def _socket(stdio: Stdio, session: SessionId, door: DoorFile) -> str:
    """Return the path of the door's socket.

    Raises Misread if the door's file names no socket, or a path that does not have the form of this session's sockets.
    A door makes its path with ``factorygate.session.folder``.
    """
    if door.socket is None:
        raise Misread("The door has no socket; it was started for carrier tcp, and door.carrier is stdio now.")
    folder, name = posixpath.split(door.socket)
    above, own = posixpath.split(folder)
    ours = re.fullmatch(rf"factorygate-[0-9]+-{session[:8]}-[A-Za-z0-9_]+", own)
    if name != _SOCKET or not ours or above != posixpath.normpath(stdio.node_tmp).rstrip("/"):
        raise Misread(f"The door says socket {door.socket}, which is not a door's below {stdio.node_tmp}.")
    return door.socket
