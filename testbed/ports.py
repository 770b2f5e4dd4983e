"""Free ports for a cluster, outside the ephemeral range and outside what the link uses."""

from __future__ import annotations

import hashlib
import socket

from testbed.errors import CannotRun

FIRST, LAST = 10000, 19999


def allocate(count: int, seed: str) -> list[int]:
    """``count`` free consecutive ports. ``seed`` picks where to look first, so that clusters do not race for one."""
    starts = range(FIRST, LAST - count + 1, max(count, 16))
    for start in sorted(starts, key=lambda start: hashlib.sha256(f"{seed} {start}".encode()).digest()):
        ports = list(range(start, start + count))
        if all(is_free(port) for port in ports):
            return ports
    raise CannotRun(f"{count} free ports between {FIRST} and {LAST}")


def is_free(port: int) -> bool:
    """Whether a daemon could listen on ``port`` now, on any address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
