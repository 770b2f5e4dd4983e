"""The door: an SSH server that accepts exactly one key, and offers only what a session needs.

A client with this key can run a few commands, connect to the notebook's socket, and open one reverse listener on the
hub's socket, at which the notebook sends requests to the hub. The door owns the hub's socket, which stays when links
connect and disconnect: connections to the hub's socket go to the link that opened the last reverse listener.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from pathlib import Path
from typing import Any, cast

import asyncssh

from factorycommon.new_connections import read_later
from factorycommon.ssh_data_path import use_data_path
from factorygate.session.command import DoorCommand
from factorygate.session.session import JobSession

log = logging.getLogger(__name__)

USER = "link"
MAX_STRANGERS = 32  # connections that have not shown the key yet
LINK_WAIT = 40.0  # seconds that a request to the hub waits for a link; the notebook server itself gives up after 46
WINDOW = 4 << 20  # bytes in transit of a channel, which the door must buffer if the notebook reads slowly
PACKET = 256 << 10  # large, since each packet has a fixed cost; OpenSSH accepts no larger ones
CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"]


class _OnlyRefusals(logging.Filter):
    """Passes only warnings, errors and refusals of asyncssh, which also logs every accepted connection."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or "denied" in record.getMessage()


def _tell_refusals(connection: asyncssh.SSHServerConnection) -> None:
    """Make ``connection`` log every channel that it refuses, whatever its type; some types never reach ``_Server``."""
    refuse = connection.send_channel_open_failure

    def log_and_refuse(send_chan: int, code: int, reason: str, lang: str) -> None:
        log.warning("refused: a channel: %s", reason)
        refuse(send_chan, code, reason, lang)

    connection.send_channel_open_failure = log_and_refuse  # type: ignore[method-assign]


class _Back(asyncssh.SSHListener):
    """One link's request to receive connections to the hub's socket; it ends with that link's SSH connection."""

    def __init__(self, door: Door, connection: asyncssh.SSHServerConnection) -> None:
        super().__init__()
        self._door = door
        self._connection = connection

    def close(self) -> None:
        self._door.forget_link(self._connection)

    async def wait_closed(self) -> None:
        return None


class _Server(asyncssh.SSHServer):
    """The server's side of one SSH connection, from anybody who can reach the door's port or Unix socket."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._known = False

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        _tell_refusals(conn)
        use_data_path(conn)
        self._door.strangers += 1
        if self._door.strangers > MAX_STRANGERS:
            log.warning("refused: more than %d connections without the key", MAX_STRANGERS)
            conn.abort()

    def auth_completed(self) -> None:
        self._known = True
        self._door.strangers -= 1
        self._door.connections.add(self._connection)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._door.connections.discard(self._connection)
        if not self._known:
            self._door.strangers -= 1
            log.warning("refused: a connection from %s without the key", self._connection.get_extra_info("peername"))

    def begin_auth(self, _username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and key.public_data == self._door.authorized.public_data

    def session_requested(self) -> DoorCommand:
        return DoorCommand(self._door.session, self._door.commands)

    def connection_requested(self, dest_host: str, dest_port: int, _orig_host: str, _orig_port: int) -> bool:
        log.warning("refused: a connection to %r port %d", dest_host, dest_port)
        return False

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        log.warning("refused: to listen on %r port %d", listen_host, listen_port)
        return False

    def unix_connection_requested(self, dest_path: str) -> Any:
        if dest_path == self._door.session.status.notebook_sock:
            channel = self._connection.create_unix_channel(encoding=None, window=WINDOW, max_pktsize=PACKET)
            return channel, self._connection.forward_unix_connection(dest_path)
        log.warning("refused: a connection to %r", dest_path)
        return False

    def unix_server_requested(self, listen_path: str) -> asyncssh.SSHListener | bool:
        if listen_path == self._door.session.status.hub_sock:
            self._door.take_link(self._connection)
            return _Back(self._door, self._connection)
        log.warning("refused: to listen on %r", listen_path)
        return False


class HubRequest(asyncssh.SSHForwarder):
    """A connection to the hub's socket, at which the notebook and other programs in the job send requests to the hub.

    The door reads nothing from the connection until a channel to the link is open. asyncssh's forwarder then passes on
    the bytes of each direction, as fast as the receiver takes them, and the end of file of each direction.
    """

    def __init__(self, door: Door) -> None:
        super().__init__()
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the door for a channel, and read nothing until ``begin``."""
        super().connection_made(transport)
        read_later(cast(asyncio.Transport, transport))
        self._door.pass_on(self)

    def begin(self) -> None:
        """Begin to pass bytes between this connection and the channel to the link. Call this once the channel is open.

        If this connection was lost before the call, close the channel.
        """
        if self._transport is None:
            self.close()
        else:
            self.resume_reading()


class Door:
    """The SSH server of one session; ``authorized``: the base64 part of the link's public key (ssh-ed25519).

    The host key is made anew in memory for each door; the link reads its public part (``host_key``) from a file.
    """

    def __init__(self, session: JobSession, authorized: str) -> None:
        self.session = session
        self.authorized = asyncssh.import_public_key(f"ssh-ed25519 {authorized}")
        self.commands: set[asyncio.Task[None]] = set()
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self.strangers = 0
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self._link: asyncio.Future[asyncssh.SSHServerConnection] = asyncio.get_running_loop().create_future()
        self._passing: set[asyncio.Task[None]] = set()

    @property
    def host_key(self) -> str:
        """Return the door's public host key: ``ssh-ed25519 AAAA…``, without a comment."""
        return self._key.export_public_key("openssh").decode().strip()

    def take_link(self, connection: asyncssh.SSHServerConnection) -> None:
        """From now on, send the job's requests to the hub through ``connection``, a link's SSH connection."""
        if self._link.done():
            self._link = asyncio.get_running_loop().create_future()
        self._link.set_result(connection)

    def forget_link(self, connection: asyncssh.SSHServerConnection) -> None:
        """Send no more of the job's requests to the hub through ``connection``, a link's SSH connection.

        If ``connection`` was in use for these requests, later ones wait for another link. Otherwise nothing changes.
        """
        if self._link.done() and self._link.result() is connection:
            self._link = asyncio.get_running_loop().create_future()

    async def open(self, bound: socket.socket) -> None:
        """Begin to accept links on ``bound``, and the job's requests to the hub on the hub's socket.

        ``bound``: a listening TCP or Unix socket.
        """
        logging.getLogger("asyncssh").addFilter(_OnlyRefusals())
        self._hub = await asyncio.get_running_loop().create_unix_server(
            lambda: HubRequest(self), self.session.status.hub_sock
        )
        self._acceptor = await asyncssh.listen(
            sock=bound,
            server_factory=lambda: _Server(self),
            server_host_keys=[self._key],
            encryption_algs=CIPHERS,
            compression_algs=["none"],
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            agent_forwarding=False,
            x11_forwarding=False,
            line_editor=False,
            encoding=None,
            login_timeout=15,
            keepalive_interval=10,
            keepalive_count_max=3,
        )

    def pass_on(self, request: HubRequest) -> None:
        """Begin to open a channel to the link for ``request``, in a task of the door; return at once.

        If no link comes within ``LINK_WAIT`` seconds, or the link refuses the channel, the task closes ``request``.
        """
        task = asyncio.create_task(self._pass_on(request))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass_on(self, request: HubRequest) -> None:
        try:
            link = await asyncio.wait_for(asyncio.shield(self._link), LINK_WAIT)
            await link.create_unix_connection(
                lambda: asyncssh.SSHForwarder(request),  # type: ignore[arg-type,return-value]
                self.session.status.hub_sock,
                window=WINDOW,
                max_pktsize=PACKET,
            )
        except (TimeoutError, asyncssh.Error, OSError) as error:
            log.warning("a request to the hub found no link: %s", str(error) or "none came in time")
            request.close()
        except BaseException:  # for example, asyncssh finds that its connection was lost meanwhile
            request.close()
            raise
        else:
            request.begin()

    async def close(self, patience: float = 2.0) -> None:
        """Shut down the door, after links have had time to read the last status and to disconnect by themselves.

        ``patience``: the most seconds to wait for links' commands that still run at the door; the whole call takes at
        most two and a half times as long. Without the wait, a link that writes to a closed connection would lose the
        answers that it has not read yet.
        """
        self._acceptor.close()
        self._hub.close()
        if self.commands:
            await asyncio.wait(self.commands, timeout=patience)
        await self._hung_up(patience / 2)
        for connection in list(self.connections):
            connection.close()
        await self._hung_up(patience)

    async def _hung_up(self, patience: float) -> None:
        if left := [asyncio.ensure_future(connection.wait_closed()) for connection in self.connections]:
            await asyncio.wait(left, timeout=patience)


def bind_path(path: Path) -> socket.socket:
    """Return a listening Unix socket at ``path``, for links that connect through the batch scheduler.

    Raises OSError.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(str(path))
    bound.listen(64)
    return bound


def bind(listen: str, ports: tuple[int, int] | None) -> socket.socket:
    """Return a socket that listens at the address ``listen`` on a free port of the range ``ports``.

    ``listen`` "": every IPv4 address; ``ports``: the first and the last port of the range, None: any free port. The
    ports are tried in random order. Raises OSError if the socket can listen on none of them, for example because none
    is free, or if the range is empty.
    """
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    tried = [0] if ports is None else list(range(ports[0], ports[1] + 1))
    random.SystemRandom().shuffle(tried)
    for port in tried:
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.bind((listen, port))
            bound.listen(64)
        except OSError as error:
            bound.close()
            if port == tried[-1]:
                raise OSError(error.errno, f"no free port on {listen or 'any address'}: {error.strerror}") from error
        else:
            return bound
    raise OSError("the range of ports is empty")
