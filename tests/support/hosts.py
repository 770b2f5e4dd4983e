"""Separate hosts for a test: network namespaces on one switch, with their own host names."""

from __future__ import annotations

import ctypes
import os
import shlex
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from testbed.install import system

T = TypeVar("T")

SUBNET = "10.9.8"  # no route of this machine leads there; each host has its own route
SWITCH = "switch"
_NETNS = Path("/run/netns")
_LISTENS = "0A"  # the state of a listening socket in /proc/net/tcp


class Hosts:
    """Hosts by name, each with one address of ``SUBNET``. Call ``up`` before use; root only."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.address = {name: f"{SUBNET}.{number}" for number, name in enumerate(names, start=1)}
        self._tag = f"fgt{os.getpid()}"
        self._names_file = folder / "hosts"
        lines = [
            f"127.0.0.1 localhost {socket.gethostname()}",
            *(f"{address} {name}" for name, address in self.address.items()),
        ]
        self._names_file.write_text("\n".join([*lines, ""]))
        self._threads: dict[str, ThreadPoolExecutor] = {}

    def up(self) -> None:
        for name in (SWITCH, *self.address):
            _ip("netns", "add", self._space(name))
            _ip("-n", self._space(name), "link", "set", "lo", "up")
        _ip("-n", self._space(SWITCH), "link", "add", "lan", "type", "bridge")
        _ip("-n", self._space(SWITCH), "link", "set", "lan", "up")
        for name, address in self.address.items():
            wire = ("type", "veth", "peer", "name", "eth0", "netns", self._space(name))
            _ip("-n", self._space(SWITCH), "link", "add", f"to-{name}", *wire)
            _ip("-n", self._space(SWITCH), "link", "set", f"to-{name}", "master", "lan", "up")
            _ip("-n", self._space(name), "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", self._space(name), "link", "set", "eth0", "up")

    def down(self) -> None:
        for threads in self._threads.values():
            threads.shutdown()
        for name in (*self.address, SWITCH):
            if (_NETNS / self._space(name)).exists():
                _ip("netns", "delete", self._space(name))

    def on(self, name: str, *argv: str) -> tuple[str, ...]:
        """Return the argv that runs a command on that host, which knows the other hosts by name. The command replaces
        its shell, so that signals to the process reach the command."""
        script = f"mount --bind {shlex.quote(str(self._names_file))} /etc/hosts && exec {shlex.join(argv)}"
        space = (system.program("nsenter"), f"--net={_NETNS / self._space(name)}")
        return (*space, "unshare", "--mount", "--propagation", "slave", "sh", "-c", script)

    def call(self, name: str, work: Callable[[], T]) -> T:
        """Run ``work`` in a thread of this process in that host's network; return its result.

        The connections that ``work`` makes come from that host.
        """
        if name not in self._threads:
            space = _NETNS / self._space(name)
            self._threads[name] = ThreadPoolExecutor(8, initializer=_enter, initargs=(space,))
        return self._threads[name].submit(work).result()

    def calls(self, name: str, works: Sequence[Callable[[], T]]) -> list[T]:
        """Run these functions, at most eight, all at the same moment; return their results in order.

        Each runs in a thread of this process in that host's network.
        """
        together = threading.Barrier(len(works))

        def at_once(work: Callable[[], T]) -> T:
            together.wait(60)
            return work()

        self.call(name, lambda: None)
        return [one.result() for one in [self._threads[name].submit(at_once, work) for work in works]]

    def ports(self, name: str) -> set[int]:
        """Return the TCP ports on which programs of that host listen for other hosts."""

        def look() -> str:
            return Path("/proc/thread-self/net/tcp").read_text() + Path("/proc/thread-self/net/tcp6").read_text()

        found = set()
        for line in self.call(name, look).splitlines():
            words = line.split()
            if words[3] == _LISTENS:
                address, _, port = words[1].partition(":")
                if not _is_loopback(bytes.fromhex(address)):
                    found.add(int(port, 16))
        return found

    def _space(self, name: str) -> str:
        return f"{self._tag}-{name}"


def _is_loopback(address: bytes) -> bool:
    """Return True for a loopback address; ``address`` is in the machine's byte order, as in ``/proc/net/tcp``."""
    return (
        address[-1] == 127 if len(address) == 4 else address[-4:] == (1).to_bytes(4, "little") and not any(address[:-4])
    )


def _enter(space: Path) -> None:
    """Move this thread to that network; ``os.setns`` needs Python 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(space, os.O_RDONLY)
    try:
        if libc.setns(descriptor, 0x40000000):  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


def reachable(host: str, port: int) -> bool:
    """Return True if a program accepts a connection within ten seconds, otherwise False."""
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError:
        return False
    return True


def _ip(*words: str) -> None:
    done = subprocess.run([system.program("ip"), *words], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, (words, done.stderr)
