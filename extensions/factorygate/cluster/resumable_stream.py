"""One stream of bytes that continues over several connections (carriers), one after the other.

Dask drops what a client computes when the client's connection breaks. A connection to another factory leads through a
door, a link and networks, each of which may fail for a moment. So both ends keep the bytes that the other end has not
confirmed, and continue over the next carrier when one has broken. Dask notices only a pause.

Protocol on a carrier: first ``HELLO`` and the other end's ``COUNT``, then frames: a ``HEADER`` and, for ``DATA``, as
many bytes as the header says.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from typing import Protocol

LARGEST = 256 << 10  # maximum bytes of the data in a frame
WINDOW = 8 << 20  # bytes that may be unconfirmed: 160 MB/s with a round trip of 50 ms
CONFIRM = 1 << 20  # received bytes after which the other end gets a confirmation
PATIENCE = 300.0  # seconds without a carrier after which the stream ends

MAGIC = 0xFA  # no HTTP request starts with this byte
HELLO = struct.Struct(">B16sQ")  # MAGIC, the stream's id, number of received bytes
COUNT = struct.Struct(">Q")  # number of received bytes
UNKNOWN = 2**64 - 1  # sent instead of a count if the stream has ended
HEADER = struct.Struct(">BI")
PIECE = LARGEST - HEADER.size  # bytes of the data in a frame that is sent; with its header, it fits in one SSH packet
DATA, TAKEN, END = range(3)  # TAKEN: this number of further bytes was received


class Carrier(Protocol):
    """A connection that carries the stream for some time. Its methods raise OSError or EOFError when it breaks."""

    async def read(self, count: int) -> bytes:
        """Return exactly ``count`` bytes."""
        ...

    async def write(self, data: bytes) -> None:
        """Send ``data``; return when more may be written."""
        ...


class Streams:
    """A carrier (a connection that carries a ``ResumableStream`` for some time) made of two asyncio streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, count: int) -> bytes:
        """Return exactly ``count`` bytes. Raises EOFError if the connection ends before that, OSError if it breaks."""
        return await self._reader.readexactly(count)

    async def write(self, data: bytes) -> None:
        """Send ``data``; return when more may be written. Raises OSError if the connection breaks."""
        self._writer.write(data)
        await self._writer.drain()


class ResumableStream:
    """One end of a stream that continues over several connections (carriers), one after the other.

    ``reader``, ``writer``: the local connection, whose bytes the stream exchanges with the other end.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken = 0  # bytes received from the other end
        self.over = asyncio.Event()
        self._reader, self._writer = reader, writer
        self._held: deque[tuple[int, bytes]] = deque()  # unconfirmed pieces, each with its position
        self._sent = self._confirmed = 0
        self._ended = False  # the local connection sends no more bytes
        self._more, self._room = asyncio.Event(), asyncio.Event()
        self._carrying: list[asyncio.Task[None]] = []
        self._filling = asyncio.create_task(self._fill())

    def close(self) -> None:
        """End the stream, and close the local connection."""
        self.over.set()
        self._filling.cancel()
        self._writer.close()

    async def drop_carrier(self) -> None:
        """Stop using the present carrier, if there is one; called before another carrier is used.

        The present carrier may be broken although no error was raised.
        """
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def carry(self, carrier: Carrier, theirs: int) -> None:
        """Exchange the stream's bytes with the other end over ``carrier``, in both directions, until the stream ends.

        The stream ends, and is closed, as soon as one of its two ends has sent its last byte. ``theirs``: the number of
        bytes that the other end has received so far. Raises OSError or EOFError when the carrier breaks, and EOFError
        after a call of ``drop_carrier``.
        """
        self._confirm(theirs)
        self._carrying = tasks = [asyncio.create_task(self._give(carrier)), asyncio.create_task(self._take(carrier))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.cancelled():
                    raise EOFError("another carrier came")
                task.result()
            self.close()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _fill(self) -> None:
        try:
            while piece := await self._reader.read(PIECE):
                self._held.append((self._sent, piece))
                self._sent += len(piece)
                self._more.set()
                while self._sent - self._confirmed > WINDOW:
                    self._room.clear()
                    await self._room.wait()
        except OSError:
            pass  # the local connection broke, so it sends no more bytes
        self._ended = True
        self._more.set()

    def _confirm(self, count: int) -> None:
        self._confirmed = max(self._confirmed, count)
        while self._held and self._held[0][0] + len(self._held[0][1]) <= self._confirmed:
            self._held.popleft()
        self._room.set()

    async def _give(self, carrier: Carrier) -> None:
        at = self._confirmed
        while True:
            self._more.clear()
            for begin, piece in tuple(self._held):
                if begin >= at:
                    await carrier.write(HEADER.pack(DATA, len(piece)) + piece)
                    at = begin + len(piece)
            if at < self._sent:
                continue
            if self._ended:
                await carrier.write(HEADER.pack(END, 0))
                return
            await self._more.wait()

    async def _take(self, carrier: Carrier) -> None:
        confirmed = self.taken
        while True:
            kind, count = HEADER.unpack(await carrier.read(HEADER.size))
            if kind == TAKEN:
                self._confirm(self._confirmed + count)
            elif kind == DATA and count <= LARGEST:
                self._writer.write(await carrier.read(count))
                self.taken += count  # counted before the next await, so that no byte is received twice
                await self._writer.drain()
                if self.taken - confirmed >= CONFIRM:
                    await carrier.write(HEADER.pack(TAKEN, self.taken - confirmed))
                    confirmed = self.taken
            else:
                return
