"""Runs the HTTP servers of a process in one event loop, on Unix sockets and TCP ports, with and without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from factorycommon.service.tls_server import BoundedTlsServer, listening_socket

_END_SECONDS = 2
# Seconds until a server closes an idle connection. Longer than the proxy keeps one (Node.js: 5 s), since otherwise the
# proxy may send a request at the moment at which the server closes the connection.
_IDLE_SECONDS = 75
# Seconds between two renewals of the date in a server's answers.
_TICK_SECONDS = 1.0


class StartError(Exception):
    """Raised if the process cannot start; the text tells the operator why."""


class _Server(uvicorn.Server):
    """A uvicorn server that handles no signals, since the process handles them, and wakes once a second.

    uvicorn wakes ten times a second to look at ``should_exit``. A link has four to seven servers, and is often idle."""

    def __init__(self, config: uvicorn.Config) -> None:
        self._exits = asyncio.Event()
        super().__init__(config)

    @property
    def should_exit(self) -> bool:
        """Return whether the server has to end; set it to end the server."""
        return self._exits.is_set()

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value:
            self._exits.set()
        else:
            self._exits.clear()

    async def main_loop(self) -> None:
        """Update the ``Date`` header of responses each second, until the server has to end."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._exits.wait(), _TICK_SECONDS)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Run the block without uvicorn's signal handlers, since the process handles signals itself."""
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
class Listener:
    """An app with the socket that it listens on.

    ``tls``: the SSL context; None: HTTP without TLS.
    """

    app: FastAPI
    socket: socket.socket
    tls: ssl.SSLContext | None = None


def new_server(listener: Listener) -> uvicorn.Server:
    """Return the server for a listener, not yet started.

    The server writes no access log, since URLs may contain anything that people type.
    """
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


def unix_socket(path: Path, mode: int = 0o600) -> socket.socket:
    """Return a listening Unix socket, whose file ``path`` is created with this mode.

    An existing file at ``path`` is replaced, such as the socket of a process that has ended. Raises StartError if the
    socket cannot be made there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StartError(f"Cannot listen on {path}: {error}") from error
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        sock.bind(str(path))
    except OSError as error:
        raise StartError(f"Cannot listen on {path}: {error}") from error
    finally:
        os.umask(before)
    sock.listen(2048)
    return sock


def tcp_socket(host: str, port: int) -> socket.socket:
    """Return a TCP socket that listens at this address. Raises StartError."""
    try:
        return listening_socket(host, port)
    except OSError as error:
        raise StartError(f"Cannot listen on {host}:{port}: {error}") from error


@contextlib.contextmanager
def alone(path: Path, program: str) -> Iterator[None]:
    """Hold a lock on a file in the state folder during the block, so that only one process uses the folder.

    ``path``: the file, which is created if it is missing; ``program``: the program's name, for the error's text. Raises
    StartError if another process holds the lock, or the file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"state_dir cannot be used: {error}; allowed: a folder of the process's own user") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(f"Another {program} runs with {path.parent}.") from error
        yield
    finally:
        os.close(descriptor)


def own_folder(path: Path) -> None:
    """Make the state folder if it is missing, and set its mode to 0700. Raises StartError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise StartError(f"state_dir cannot be used: {error}; allowed: a folder of the process's own user") from error
