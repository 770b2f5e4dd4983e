"""Allocates free ports for clusters and for programs of tests.

The ports are outside of the ephemeral range, from which any connection may take a port before a daemon listens on it,
and outside of the link's ranges.
"""

from __future__ import annotations

import hashlib
import random
import socket
from collections import deque

from testbed.errors import CannotRun

FIRST, LAST = 10000, 19999
SINGLE = range(31100, 32700)
BLOCK = 50  # ports that a process claims together
_claims: list[socket.socket] = []  # sockets that claim ports until this process ends
_own: deque[int] = deque()  # the single ports that this process has claimed; the one that it gave last is last


def allocate(count: int, seed: str) -> list[int]:
    """Return ``count`` consecutive free ports, and claim them until this process ends.

    Another testbed does not get claimed ports even while no daemon listens on them yet. ``seed``: selects where the
    search begins. Raises CannotRun.
    """
    starts = range(FIRST, LAST - count + 1, max(count, 16))
    for start in sorted(starts, key=lambda start: hashlib.sha256(f"{seed} {start}".encode()).digest()):
        ports = list(range(start, start + count))
        if all(is_free(port) for port in ports) and _claim(start):
            return ports
    raise CannotRun(f"{count} free ports between {FIRST} and {LAST}")


def single() -> int:
    """Return a port that is free now, and that this function gives to no other process until this process ends.

    The system uses none of these ports for outgoing connections, so the port is still free for a program that starts,
    or restarts, later. Of the free ports that this process has claimed, the function returns the one that it
    returned longest ago. Raises CannotRun.
    """
    for _ in range(len(_own)):
        _own.rotate(-1)
        if is_free(_own[-1]):
            return _own[-1]
    starts = list(range(SINGLE.start, SINGLE.stop, BLOCK))
    random.shuffle(starts)
    for start in starts:
        block = [port for port in range(start, start + BLOCK) if is_free(port)]
        if block and _claim(start):
            _own.extend(block)
            return _own[-1]
    raise CannotRun(f"a free port between {SINGLE.start} and {SINGLE.stop - 1}")


def _claim(start: int) -> bool:
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0factorygate-testbed-ports-{start}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def is_free(port: int, address: str = "") -> bool:
    """Return whether a daemon could now listen on ``port`` of ``address``; "" means any address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
