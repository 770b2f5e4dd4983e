"""One stream of bytes that continues over several connections (carriers), one after the other.

Dask drops what a client computes when the client's connection breaks. A connection to another factory leads through a
door, a link and networks, each of which may fail for a moment. So both ends keep the bytes that the other end has not
confirmed, and continue over the next carrier when one has broken. Dask notices only a pause.

Protocol on a carrier: the end that has opened the carrier sends ``HELLO``, and the other end answers with ``COUNT``.
Then both ends send frames. A frame is a ``HEADER``, which has the kind of the frame (``DATA``, ``TAKEN`` or ``END``)
and a number. After the header of a ``DATA`` frame come as many bytes as this number says.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from typing import Protocol, cast

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
    """A connection that carries a ``ResumableStream`` for some time.

    The methods raise OSError or EOFError when the connection breaks.
    """

    async def read(self, count: int) -> bytes:
        """Return exactly ``count`` bytes."""
        ...

    async def write(self, data: bytes | memoryview) -> None:
        """Send ``data``; return when more may be written."""
        ...


class Streams:
    """A carrier (a connection that carries a ``ResumableStream`` for some time) made of two asyncio streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, count: int) -> bytes:
        """Return exactly ``count`` bytes. Raises EOFError if the connection ends before that, OSError if it breaks."""
        return await self._reader.readexactly(count)

    async def write(self, data: bytes | memoryview) -> None:
        """Send ``data``; return when more may be written. Raises OSError if the connection breaks."""
        self._writer.write(data)
        await self._writer.drain()


class ResumableStream(asyncio.BufferedProtocol):
    """One end of a stream that continues over several connections (carriers), one after the other.

    This object is the asyncio protocol of the local connection. It sends the bytes of the local connection to the other
    end, and writes the bytes from the other end to the local connection. ``carry`` does this over one carrier. When the
    carrier breaks, the caller calls ``carry`` again with another carrier.
    """

    def __init__(self) -> None:
        self.taken = 0  # bytes received from the other end
        self.over = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._frame = bytearray(HEADER.size + PIECE)  # for the next bytes of the local connection
        self._held: deque[tuple[int, bytes | memoryview]] = deque()  # unconfirmed frames, each with its position
        self._sent = self._confirmed = 0
        self._ended = False  # the local connection sends no more bytes
        self._more = asyncio.Event()
        self._carrying: list[asyncio.Task[None]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the local connection's transport; close it if the stream was closed before."""
        self._transport = cast(asyncio.Transport, transport)
        if self.over.is_set():
            self._transport.close()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Return where the local connection's next bytes are to be put."""
        return memoryview(self._frame)[HEADER.size :]

    def buffer_updated(self, nbytes: int) -> None:
        """Make a frame of the buffer's first ``nbytes`` bytes; pause reading if too many bytes are unconfirmed."""
        HEADER.pack_into(self._frame, 0, DATA, nbytes)
        frame: bytes | memoryview = memoryview(self._frame)[: HEADER.size + nbytes]
        if nbytes < PIECE // 2:
            frame = bytes(frame)  # so that many small frames do not keep a large buffer each
        else:
            self._frame = bytearray(HEADER.size + PIECE)
        self._held.append((self._sent, frame))
        self._sent += nbytes
        self._more.set()
        if self._sent - self._confirmed > WINDOW and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Remember that the local connection sends no more bytes. Return True: asyncio keeps the connection."""
        self._ended = True
        self._more.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Remember that the local connection is closed, and so sends no more bytes."""
        self._ended = True
        self._more.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """Take no more bytes from the other end for now, since the local connection receives too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Take bytes from the other end again, after ``pause_writing``."""
        self._writable.set()

    def close(self) -> None:
        """End the stream, and close the local connection."""
        self.over.set()
        if self._transport is not None:
            self._transport.close()

    async def drop_carrier(self) -> None:
        """Stop using the present carrier, if there is one; called before another carrier is used.

        The present carrier may be broken although no error was raised.
        """
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def carry(self, carrier: Carrier, theirs: int) -> None:
        """Exchange the stream's bytes with the other end over ``carrier``, in both directions, until the stream ends.

        The stream ends, and is closed, as soon as one of its two ends has sent its last byte, or when the other end
        sends an invalid frame. ``theirs``: the number of bytes that the other end has received so far. Raises OSError
        or EOFError when the carrier breaks, and EOFError after a call of ``drop_carrier``.
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

    def _confirm(self, count: int) -> None:
        self._confirmed = max(self._confirmed, count)
        while self._held and self._held[0][0] + len(self._held[0][1]) - HEADER.size <= self._confirmed:
            self._held.popleft()
        if self._sent - self._confirmed <= WINDOW and self._transport is not None:
            self._transport.resume_reading()

    async def _give(self, carrier: Carrier) -> None:
        at = self._confirmed
        while True:
            begun = at
            self._more.clear()
            for begin, frame in tuple(self._held):
                if begin >= at:
                    await carrier.write(frame)
                    at = begin + len(frame) - HEADER.size
            if at < self._sent:
                if at == begun:  # the number of received bytes is inside a frame
                    raise EOFError("The other end counts otherwise.")
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
                self._write(await carrier.read(count))
                self.taken += count  # counted before the next await, so that no byte is received twice
                await self._writable.wait()
                if self.taken - confirmed >= CONFIRM:
                    await carrier.write(HEADER.pack(TAKEN, self.taken - confirmed))
                    confirmed = self.taken
            else:
                return

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
