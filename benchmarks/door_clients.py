"""Measures a notebook server from clients that do what a browser does, as fast as Python can.

The clients download, send small requests, and let a kernel echo.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from websockets.sync.client import ClientConnection, connect, unix_connect

PIECE = 1 << 20
LIMIT = 120.0  # seconds


class _Http(http.client.HTTPConnection):
    """An HTTP client over a TCP port of this machine, or over a Unix socket."""

    def __init__(self, to: int | Path) -> None:
        super().__init__("localhost", timeout=LIMIT)
        self._to = to

    def connect(self) -> None:
        if isinstance(self._to, int):
            self.sock = socket.create_connection(("127.0.0.1", self._to), timeout=LIMIT)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(LIMIT)
            self.sock.connect(str(self._to))


@dataclass(frozen=True)
class Target:
    """One address of a notebook server.

    ``to``: a loopback port, or the server's Unix socket; ``base``: the URL's path.
    """

    to: int | Path
    base: str

    def answers(self) -> bool:
        """Return True if the server answers a request of its API with status 200."""
        connection = _Http(self.to)
        try:
            connection.request("GET", f"{self.base}api")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def download(self, name: str, size: int) -> float:
        """Return the bytes per second of downloading one file. Raises RuntimeError if the file is incomplete."""
        connection = _Http(self.to)
        begin = time.perf_counter()
        connection.request("GET", f"{self.base}files/{name}")
        answer = connection.getresponse()
        buffer, got = bytearray(PIECE), 0
        while count := answer.readinto(buffer):
            got += count
        taken = time.perf_counter() - begin
        connection.close()
        if answer.status != 200 or got != size:
            raise RuntimeError(f"{self}: {answer.status}, {got} of {size} bytes")
        return size / taken

    def small(self, times: int) -> list[float]:
        """Return the seconds of each of a number of small requests, sent one after another on one connection."""
        connection, taken = _Http(self.to), []
        for _ in range(times):
            begin = time.perf_counter()
            connection.request("GET", f"{self.base}api")
            connection.getresponse().read()
            taken.append(time.perf_counter() - begin)
        connection.close()
        return taken

    def kernel(self) -> Kernel:
        """Start a kernel, open a WebSocket to it, and return it as soon as it answers."""
        connection = _Http(self.to)
        connection.request("POST", f"{self.base}api/kernels", json.dumps({"name": "python3"}))
        kernel = json.load(connection.getresponse())["id"]
        connection.close()
        path = f"ws://localhost{self.base}api/kernels/{kernel}/channels"
        if isinstance(self.to, int):
            return Kernel(connect(path.replace("localhost", f"127.0.0.1:{self.to}"), open_timeout=LIMIT, max_size=None))
        return Kernel(unix_connect(str(self.to), path, open_timeout=LIMIT, max_size=None))


class Kernel:
    """The WebSocket of a running kernel, for requests that every kernel answers at once."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.echo()  # wait until the kernel has started

    def echo(self) -> float:
        """Return the seconds from a request to the kernel's reply."""
        message = uuid.uuid4().hex
        header = {
            "msg_id": message, "msg_type": "kernel_info_request", "username": "", "session": "bench", "version": "5.3",
            "date": "",
        }  # fmt: skip
        request = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": {},
            "channel": "shell",
            "buffers": [],
        }
        begin = time.perf_counter()
        self._connection.send(json.dumps(request))
        while True:
            reply = json.loads(self._connection.recv(timeout=LIMIT))
            if reply["parent_header"].get("msg_id") == message and reply["msg_type"] == "kernel_info_reply":
                return time.perf_counter() - begin

    def close(self) -> None:
        self._connection.close()


def output_rate(argv: Sequence[str], env: dict[str, str], size: int) -> float:
    """Return the bytes per second of a command's output, counted from its first byte.

    Raises RuntimeError if the command fails, or if its output is not ``size`` bytes long.
    """
    process = subprocess.Popen(argv, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    got = len(os.read(descriptor, PIECE))
    begin, first = time.perf_counter(), got
    while piece := os.read(descriptor, PIECE):
        got += len(piece)
    taken = time.perf_counter() - begin
    if process.wait() or got != size:
        raise RuntimeError(f"{argv[:3]}: code {process.returncode}, {got} of {size} bytes")
    return (size - first) / taken
