"""A slow and lossy network link for kernels without ``netem``: a TUN device that returns packets late, or drops them.

Runs at an isolated factory's border, which routes the packets between hub and factory through the device. The device
works below TCP, so it affects every connection, also existing ones. The program uses only the
standard library::

    python slow_wire.py NAME MILLISECONDS PERCENT      # prints "ready" once the device NAME is there; ends when killed
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import struct
import sys
from collections import deque

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_LONGEST = 65536  # maximum bytes of a packet
_MOST = 10000  # packets in transit; when the queue is full, packets are dropped, as in a real network


class SlowWire:
    """Delays and drops packets. ``delay``: seconds for each packet; ``loss``: the share of packets that are dropped."""

    def __init__(self, device: int, delay: float, loss: float) -> None:
        self._device, self._delay, self._loss = device, delay, loss
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, bytes]] = deque()  # in the order of arrival and departure
        self._loop.add_reader(device, self._take)

    def _take(self) -> None:
        while True:
            try:
                packet = os.read(self._device, _LONGEST)
            except BlockingIOError:
                return
            if random.random() < self._loss or len(self._under_way) >= _MOST:  # noqa: S311  # nosec B311
                continue
            due = self._loop.time() + self._delay
            if not self._under_way:
                self._loop.call_at(due, self._give)
            self._under_way.append((due, packet))

    def _give(self) -> None:
        while self._under_way and self._under_way[0][0] <= self._loop.time():
            os.write(self._device, self._under_way.popleft()[1])
        if self._under_way:
            self._loop.call_at(self._under_way[0][0], self._give)


def open_device(name: str) -> int:
    """Make a new TUN device, and return its descriptor; the device disappears when the descriptor is closed."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return device


async def main(name: str, milliseconds: str, percent: str) -> None:
    """Delay packets until killed."""
    SlowWire(open_device(name), float(milliseconds) / 1000, float(percent) / 100)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
