"""TLS servers with thousands of strangers: other clients are answered, memory is limited, and the server ends
cleanly."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI

from factorycommon.service import tls_server
from factorycommon.service.serving import Listener, new_server
from factorycommon.service.tls_server import BoundedTlsServer, listening_socket
from factorycommon.tls import HUB, dialing, listening
from factorylink.doors.port_forwarder import SessionPort
from testbed import ports
from tests.support.door import until
from tests.unit.test_tls import files

STRANGERS = 1500
ANSWERED = 2.0  # seconds
MOST_BYTES = 300 * 2**20  # for 500 unfinished handshakes, and for the strangers' sides of the connections


@pytest.fixture
def many_files() -> None:
    """Raise the limit of open files, since both ends of all connections are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * STRANGERS + 500:
        pytest.skip(f"needs {2 * STRANGERS + 500} open files; this account may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * STRANGERS + 500), hard))


@asynccontextmanager
async def link_listener(tls: ssl.SSLContext) -> AsyncIterator[int]:
    """Run a listener like the link's own; yield its port."""
    app = FastAPI()

    @app.get("/health")
    async def health() -> str:
        return "ok"

    sock = listening_socket("127.0.0.1", 0)
    server = new_server(Listener(app, sock, tls))
    serving = asyncio.create_task(server.serve([sock]))
    await until(lambda: server.started)
    yield sock.getsockname()[1]
    server.should_exit = True
    await serving


@asynccontextmanager
async def session_port(tls: ssl.SSLContext) -> AsyncIterator[int]:
    """Run the port of a session whose door never answers; yield the port's number.

    A client that is let in waits for the door.
    """

    async def connect(_made: object) -> None:
        await asyncio.Event().wait()

    number = ports.single()
    port = SessionPort("127.0.0.1", number, connect, tls)
    await port.listen()
    yield number
    assert isinstance(port._server, BoundedTlsServer)
    port.close()
    await port._server.wait_closed()


async def silent(port: int, count: int, address: str) -> list[socket.socket]:
    """Open ``count`` connections from that address that send nothing; return their sockets."""
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((address, 0))
        await loop.sock_connect(sock, ("127.0.0.1", port))
        made.append(sock)
    return made


async def shakes_hands(port: int, client: ssl.SSLContext) -> float:
    """Return the seconds until a client with a certificate is let in."""
    began = time.monotonic()
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
    took = time.monotonic() - began
    writer.transport.abort()
    return took


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("listener", "addresses"),
    [(link_listener, 1), (session_port, 50)],
    ids=["one address at the link's port", "fifty addresses at a session's port"],
)
@pytest.mark.usefixtures("many_files")
async def test_thousands_who_send_nothing_keep_nobody_out(
    tmp_path: Path, listener: Callable[[ssl.SSLContext], object], addresses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_server, "HANDSHAKE_SECONDS", 600.0)  # long, so that only the number of handshakes ends them
    client = dialing(files(tmp_path, "hub"))
    async with listener(listening(files(tmp_path, "link"), [HUB])) as port:  # type: ignore[attr-defined]
        await shakes_hands(port, client)
        before, strangers = resident(), []
        for number in range(addresses):
            strangers += await silent(port, STRANGERS // addresses, f"127.0.0.{number + 2}")
        took = [await shakes_hands(port, client) for _ in range(5)]
        await until(lambda: tls_server._unfinished._count == tls_server.MOST_UNFINISHED, what="the others are dropped")
        assert min(took) < ANSWERED, took
        assert resident() - before < MOST_BYTES
        for one in strangers:
            one.close()
    assert tls_server._unfinished._of == {}


async def test_who_does_not_finish_a_handshake_is_dropped_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_server, "HANDSHAKE_SECONDS", 0.5)
    async with link_listener(listening(files(tmp_path, "link"), [HUB])) as port:
        strangers = await silent(port, 20, "127.0.0.1")
        loop = asyncio.get_running_loop()
        for one in strangers:
            assert await asyncio.wait_for(loop.sock_recv(one, 1), 60) == b""
            one.close()


async def test_the_end_is_clean_although_clients_are_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One client sends nothing, and one never closes its side: neither delays the link's end or causes an error."""
    client, took = dialing(files(tmp_path, "hub")), list[float]()
    while not took or (took[-1] >= 10 and len(took) < 3):  # a busy machine may hold one of them up
        took.append(await _seconds_to_end(tmp_path, client, caplog))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert took[-1] < 10, took


async def _seconds_to_end(tmp_path: Path, client: ssl.SSLContext, caplog: pytest.LogCaptureFixture) -> float:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(link_listener(listening(files(tmp_path, "link"), [HUB])))
        [stranger] = await silent(port, 1, "127.0.0.1")

        def connect() -> ssl.SSLSocket:
            made = client.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
            made.sendall(b"GET /health HTTP/1.1\r\nHost: link\r\n\r\n")
            assert made.recv(15) == b"HTTP/1.1 200 OK"
            return made

        mute = await asyncio.to_thread(connect)
        with caplog.at_level(logging.WARNING):
            began = time.monotonic()
            await stack.aclose()
            took = time.monotonic() - began
    stranger.close()
    mute.close()
    return took


async def test_a_process_without_file_descriptors_goes_on_once_it_has_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, iter([OSError(24, "Too many open files"), ConnectionAbortedError()])

    async def failing(sock: socket.socket) -> object:
        for error in failures:
            raise error
        return await accept(sock)

    monkeypatch.setattr(loop, "sock_accept", failing)
    client = dialing(files(tmp_path, "hub"))
    async with link_listener(listening(files(tmp_path, "link"), [HUB])) as port:
        assert await shakes_hands(port, client) < 60
    assert "No connection can be accepted: [Errno 24] Too many open files" in caplog.text


async def test_a_port_is_free_as_soon_as_its_server_is_closed(tmp_path: Path) -> None:
    tls = listening(files(tmp_path, "link"), [HUB])
    port = 0
    for _ in range(3):
        sock = listening_socket("127.0.0.1", port)
        port = sock.getsockname()[1]
        server = BoundedTlsServer(asyncio.Protocol, sock, tls)
        await asyncio.sleep(0)
        server.close()
        server.close()
