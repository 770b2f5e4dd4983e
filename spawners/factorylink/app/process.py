"""The link as one process: connects its parts, runs all servers in one event loop, and ends cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import ssl
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from factorycommon.models import Factory
from factorycommon.tls import HUB, LINK, PROXY, TlsError, listening
from factorylink.api.cluster_websocket import ClusterWebSocket
from factorylink.api.door import BackWay, back_app
from factorylink.app.assembly import LinkParts, assemble
from factorylink.background.hub_recovery import HubRecovery
from factorylink.catalogue.catalogue import Catalogue
from factorylink.config import LinkConfig
from factorylink.doors.manager import DoorManager
from factorylink.hub_client import HubClient
from factorylink.jobs.identity import Identity, read_or_make_key, read_or_make_ssh_key
from factorylink.ledger.ledger import Ledger
from factorylink.projects.book import YamlTable
from factorylink.site.connecting import make_connections
from factorylink.site.offered_factories import OfferedFactories
from factorylink.util.tls_server import BoundedTlsServer, listening_socket

log = logging.getLogger("factorylink")

_END_SECONDS = 2
# Seconds until the link closes an idle connection. Longer than the proxy keeps one (Node.js: 5 s), since otherwise the
# proxy may send a request at the moment at which the link closes the connection.
_IDLE_SECONDS = 75
_USER_API = "http://user-api"  # a name for the user app's Unix socket


class StartError(Exception):
    """Raised if the link cannot start; the text tells the operator why."""


class _Server(uvicorn.Server):
    """A uvicorn server that handles no signals, since the process handles them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do not capture signals."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the sockets.

        With TLS, clients have only a short time for their handshake and for the end of a connection; uvicorn would give
        them asyncio's 60 s and 30 s.
        """
        tls = self.config.ssl
        if tls is None:
            await super().startup(sockets)
            return
        await self.lifespan.startup()
        self.servers = [BoundedTlsServer(self._protocol, sock, tls) for sock in sockets or ()]  # type: ignore[misc]
        self.started = True

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


@dataclass(frozen=True)
class _Listener:
    """An app with the socket that it listens on. ``tls``: the SSL context; None for clients on this host."""

    app: FastAPI
    socket: socket.socket
    tls: ssl.SSLContext | None = None


async def serve(config: LinkConfig, factories: Mapping[str, Factory], federation: Catalogue) -> None:
    """Run the link until SIGTERM or SIGINT. Raises StartError.

    ``factories``: the factories that this hub offers, with its overrides applied; ``federation``: the whole catalogue.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    try:
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        config.state_dir.chmod(0o700)
    except OSError as error:
        raise StartError(f"state_dir cannot be used: {error}; allowed: a folder of the link's own user") from error
    with _alone(config.state_dir / "link.lock"):
        ledger = Ledger(config.database, alone=True)
        try:
            await ledger.open()
            await _serve(config, factories, federation, ledger, stop)
        except TlsError as error:
            raise StartError(f"tls: {error}") from error
        finally:
            await ledger.close()


async def _serve(
    config: LinkConfig,
    factories: Mapping[str, Factory],
    federation: Catalogue,
    ledger: Ledger,
    stop: asyncio.Event,
) -> None:
    back_socket, user_socket = config.state_dir / "back.sock", config.state_dir / "user.sock"
    parts, hub = _build(config, factories, federation, ledger, back_socket), HubClient(config.hub, config.tls)
    recovery, callers = HubRecovery(parts.live_sessions, hub), parts.callers(hub)
    back = BackWay(config.hub.url, _USER_API, config.hub.base_url, user_socket, config.tls)
    to_schedulers = ClusterWebSocket(parts.clusters, callers)
    hub_app, user_app = parts.hub_app(recovery), parts.user_app(callers, config.hub.base_url)
    from_doors = back_app(back)
    for app in (user_app, from_doors):  # sessions also open WebSockets through their door
        app.add_api_websocket_route(
            f"{config.hub.base_url}services/factories/api/clusters/{{cluster_id}}/wire", to_schedulers.handle
        )
    listeners = [
        _Listener(hub_app, _unix_socket(config.socket)),
        _Listener(user_app, _unix_socket(user_socket)),
        _Listener(from_doors, _unix_socket(back_socket)),
        _Listener(user_app, _tcp_socket(config.listen_host, config.listen_port), _tls(config, (PROXY, HUB, LINK))),
    ]
    if (own := config.hub_listener) is not None:
        listeners.append(_Listener(hub_app, _tcp_socket(own.host, own.port), _tls(config, (HUB,))))
    if (read := config.metrics) is not None:
        tls = _tls(config, None) if read.tls else None
        listeners.append(_Listener(parts.metrics_app(), _tcp_socket(read.host, read.port), tls))
    await parts.start()
    parts.tasks.begin(parts.revocation.run(), "ending what nobody may use any more")
    parts.measure()
    parts.tasks.begin(recovery.run(), "bringing back what the hub forgot")
    servers = [_server(listener) for listener in listeners]
    serving = [
        asyncio.create_task(server.serve([listener.socket]))
        for server, listener in zip(servers, listeners, strict=True)
    ]
    log.info("The link is up: %s", ", ".join(factories))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *serving], return_when=asyncio.FIRST_COMPLETED)
    log.info("The link ends; jobs and notebooks go on")
    parts.feed.close()
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*serving)
    await parts.close()
    await hub.close()
    await back.close()
    stopping.cancel()
    for path in (config.socket, user_socket, back_socket):
        path.unlink(missing_ok=True)


def _build(
    config: LinkConfig, factories: Mapping[str, Factory], federation: Catalogue, ledger: Ledger, back_socket: Path
) -> LinkParts:
    try:
        make = config.key_dir is None  # if an operator provides the keys, the link must not make a missing one
        identity = Identity(config.hub.name, read_or_make_key(config.keys / "hmac.key", make))
        ssh_key = read_or_make_ssh_key(config.keys / "link_ed25519", make)
    except (OSError, ValueError) as error:
        raise StartError(f"The link's keys cannot be used: {error}") from error
    try:
        offered = make_connections(config, factories)
    except ValueError as error:
        raise StartError(str(error)) from error
    doors = DoorManager(
        config,
        ssh_key,
        lambda session_id, status: parts.listener.on_status(session_id, status),
        back_socket,
    )
    table = None if config.projects is None else YamlTable(config.projects, federation.factories, config.factories)
    public_key = ssh_key.export_public_key().decode().split()[1]
    parts = assemble(config, ledger, identity, OfferedFactories(ledger, offered, federation), doors, public_key, table)
    return parts


def _tls(config: LinkConfig, names: Collection[str] | None) -> ssl.SSLContext | None:
    """Return the SSL context of a listener that accepts only clients with these names; None if the link has no
    certificate. Raises TlsError."""
    return None if config.tls is None else listening(config.tls, names)


def _server(listener: _Listener) -> _Server:
    """Return a server without an access log, since URLs may contain anything that people type."""
    settings = uvicorn.Config(
        listener.app,
        access_log=False,
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=_END_SECONDS,
        timeout_keep_alive=_IDLE_SECONDS,
        server_header=False,
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # the traffic is encrypted, so it cannot be compressed
    )
    settings.load()
    settings.ssl = listener.tls  # uvicorn's own setting would read the files only once
    return _Server(settings)


def _unix_socket(path: Path) -> socket.socket:
    """Return a listening socket at ``path``, which has mode 0600 from its creation.

    An existing file at ``path`` is replaced, since it belongs to a link that has ended.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StartError(f"Cannot listen on {path}: {error}") from error
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
    except OSError as error:
        raise StartError(f"Cannot listen on {path}: {error}") from error
    finally:
        os.umask(before)
    sock.listen(2048)
    return sock


def _tcp_socket(host: str, port: int) -> socket.socket:
    try:
        return listening_socket(host, port)
    except OSError as error:
        raise StartError(f"Cannot listen on {host}:{port}: {error}") from error


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of the state folder during the block. Raises StartError if another link holds it.

    Two links on one ledger would submit every job twice.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"state_dir cannot be used: {error}; allowed: a folder of the link's own user") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(f"Another link runs with {path.parent}.") from error
        yield
    finally:
        os.close(descriptor)
