"""A cluster's connections: one that fails does not break other connections of the same thread."""

from __future__ import annotations

import errno
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from distributed import Client, Scheduler, Worker
from distributed.security import Security

from factorygate.cluster.keys import Keys, mend
from factorygate.cluster.tls import OwnErrorsSocket


def theirs() -> Security:
    made = Security.temporary()
    mend(made)
    return made


class Pairs:
    """Pairs of non-blocking TLS sockets, client and server."""

    def __init__(self, security: Security) -> None:
        self._server = security.get_listen_args("scheduler")["ssl_context"]
        self._client = security.get_connection_args("client")["ssl_context"]
        self._made: list[ssl.SSLSocket] = []

    def new(self) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname())
            server, _ = listening.accept()
        done: list[ssl.SSLSocket] = []
        accepting = threading.Thread(target=lambda: done.append(self._server.wrap_socket(server, server_side=True)))
        accepting.start()
        near = self._client.wrap_socket(client)
        accepting.join()
        [far] = done
        far.sendall(b"x")
        assert near.recv(1) == b"x"  # after the session tickets
        for one in (near, far):
            one.setblocking(False)
        self._made += [near, far]
        return near, far

    def close(self) -> None:
        for one in self._made:
            one.close()


@pytest.fixture(params=[Keys.new, theirs], ids=["own keys", "somebody's own"])
def pairs(request: pytest.FixtureRequest) -> Iterator[Pairs]:
    made = Pairs(request.param())
    yield made
    made.close()


def reset(far: socket.socket) -> None:
    """Close the socket like a killed process with unread data."""
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()


def fails(near: ssl.SSLSocket) -> OSError | None:
    """Return the error of writing to a connection, which occurs once the peer's reset has arrived; None: no error."""
    for _ in range(10_000):
        try:
            near.send(b"hello")
        except ssl.SSLWantWriteError:
            pass
        except OSError as error:
            return error
    return None


@pytest.mark.parametrize("end", [reset, socket.socket.close], ids=["reset", "end"])
def test_a_write_into_a_broken_connection_fails_that_connection_alone(
    pairs: Pairs, end: Callable[[socket.socket], None]
) -> None:
    good, theirs = pairs.new()
    bad, far = pairs.new()
    end(far)
    error = fails(bad)
    assert error is not None
    assert error.errno in (errno.ECONNRESET, errno.EPIPE)
    with pytest.raises(ssl.SSLWantReadError):
        good.recv(1)
    good.send(b"still")
    theirs.setblocking(True)
    assert theirs.recv(5) == b"still"


def test_an_error_that_other_code_of_the_thread_left_behind_is_nobodys(pairs: Pairs) -> None:
    good, theirs = pairs.new()
    plain = Pairs(Security.temporary())  # another library's connection, with Python's standard class
    bad, far = plain.new()
    reset(far)
    assert fails(bad) is not None
    with pytest.raises(ssl.SSLWantReadError):
        good.recv(1)
    theirs.send(b"x")
    good.setblocking(True)
    assert good.recv(1) == b"x"
    plain.close()


async def test_all_connections_of_dask_have_such_sockets() -> None:
    keys = Keys.new()
    async with (
        Scheduler(protocol="tls://", security=keys, dashboard=False, port=0) as scheduler,
        Worker(scheduler.address, security=keys, dashboard=False) as worker,
        Client(scheduler.address, security=keys, asynchronous=True) as client,
    ):
        streams = [scheduler.stream_comms[worker.address], worker.batched_stream, client.scheduler_comm]
        streams += scheduler.client_comms.values()
        assert {type(stream.comm.stream.socket) for stream in streams} == {OwnErrorsSocket}
