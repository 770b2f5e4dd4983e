"""The slow wire alone: a socket that preserves packets replaces the network device."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from testbed.network.slow_wire import SlowWire


class Ends:
    """The two ends of the wire. ``device``: the wire's; ``kernel``: the kernel's."""

    def __init__(self) -> None:
        self.kernel, self.device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.kernel.setblocking(False)
        self.device.setblocking(False)

    async def next(self, seconds: float = 60) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.kernel, 2000), seconds)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.kernel.close()
    made.device.close()


async def test_packets_come_back_later_and_in_order(ends: Ends) -> None:
    SlowWire(ends.device.fileno(), 0.2, 0)
    since = time.monotonic()
    sent = [str(number).encode() for number in range(50)]
    for packet in sent:
        ends.kernel.send(packet)
    assert await ends.next() == sent[0]
    assert time.monotonic() - since >= 0.2
    assert [await ends.next() for _ in sent[1:]] == sent[1:]
    ends.kernel.send(b"again")
    assert await ends.next() == b"again", "after a pause, too"
    asyncio.get_running_loop().remove_reader(ends.device)


async def test_a_share_of_the_packets_is_lost(ends: Ends) -> None:
    SlowWire(ends.device.fileno(), 0, 0.5)
    arrived = 0
    for _ in range(20):  # a socket holds few packets at a time
        for _ in range(20):
            ends.kernel.send(b"x")
        await asyncio.sleep(0)
        try:
            while True:
                await ends.next(0.05)
                arrived += 1
        except TimeoutError:
            continue
    assert 100 < arrived < 300, "of 400, half"
    asyncio.get_running_loop().remove_reader(ends.device)
