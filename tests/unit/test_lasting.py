"""A stream over carriers that break: every byte arrives once and in order, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from factorygate.cluster import resumable_stream
from factorygate.cluster.resumable_stream import COUNT, HEADER, ResumableStream, Streams

ID = b"x" * 16


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[tuple[asyncio.StreamReader, asyncio.StreamWriter], ...]]:
    """Connect two sockets; yield both ends of the connection, each as its reader and its writer."""
    came: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()
    done = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set_result((reader, writer))
        await done.wait()

    server = await asyncio.start_server(take, "127.0.0.1", 0, limit=resumable_stream.PIECE)
    here = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=resumable_stream.PIECE)
    there = await came
    try:
        yield here, there
    finally:
        done.set()
        for _, writer in (here, there):
            writer.close()
        server.close()


@asynccontextmanager
async def local() -> AsyncIterator[tuple[tuple[asyncio.StreamReader, asyncio.StreamWriter], ResumableStream]]:
    """Connect a program to a stream; yield the program's reader and writer, and the stream."""
    stream = ResumableStream()
    server = await asyncio.get_running_loop().create_server(lambda: stream, "127.0.0.1", 0)
    program = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=resumable_stream.PIECE)
    try:
        yield program, stream
    finally:
        program[1].close()
        stream.close()
        server.close()


class Breaking:
    """A carrier that breaks after a number of bytes in one direction; bytes written before may or may not arrive."""

    def __init__(self, inner: Streams, after: int) -> None:
        self._inner, self._left = inner, after

    async def read(self, count: int) -> bytes:
        return await self._inner.read(count)

    async def write(self, data: bytes | memoryview) -> None:
        self._left -= len(data)
        if self._left < 0:
            await self._inner.write(data[: len(data) // 2])
            raise OSError("broken")
        await self._inner.write(data)


async def carried(one: ResumableStream, other: ResumableStream, after: tuple[int, int]) -> None:
    """Carry bytes over one carrier until it breaks, or the stream ends. ``after``: by direction, bytes until then."""
    async with pair() as (here, there):

        async def end(
            stream: ResumableStream, peer: ResumableStream, ends: Streams, limit: int, writer: asyncio.StreamWriter
        ) -> None:
            with contextlib.suppress(OSError, EOFError):
                await stream.carry(Breaking(ends, limit), peer.taken)
            writer.close()

        await asyncio.gather(
            end(one, other, Streams(*here), after[0], here[1]),
            end(other, one, Streams(*there), after[1], there[1]),
        )


@pytest.mark.parametrize("seed", range(6))
async def test_every_byte_arrives_once_over_carriers_that_break(seed: int) -> None:
    chance = random.Random(seed)
    data = chance.randbytes(12 << 20)  # more than the window
    async with local() as (person, one), local() as (scheduler, other):

        async def say(writer: asyncio.StreamWriter) -> None:
            for begin in range(0, len(data), 1 << 20):
                writer.write(data[begin : begin + (1 << 20)])
                await writer.drain()

        async def hear(reader: asyncio.StreamReader) -> str:
            return hashlib.sha256(await reader.readexactly(len(data))).hexdigest()

        async def both() -> list[object]:
            return await asyncio.gather(say(person[1]), say(scheduler[1]), hear(person[0]), hear(scheduler[0]))

        talking = asyncio.create_task(both())
        breaks = 0
        while not talking.done():
            carrying = asyncio.create_task(carried(one, other, (chance.randrange(5 << 20), chance.randrange(5 << 20))))
            await asyncio.wait([talking, carrying], return_when=asyncio.FIRST_COMPLETED)
            breaks += carrying.done()
            if not carrying.done():
                carrying.cancel()
            await asyncio.gather(carrying, return_exceptions=True)
        assert (await talking)[2:] == [hashlib.sha256(data).hexdigest()] * 2
        assert breaks > 1
        one.close()
        other.close()


async def test_a_carrier_that_broke_unnoticed_delivers_nothing_twice() -> None:
    async with local() as (person, one), local() as (scheduler, other), pair() as (old, older), pair() as (new, newer):
        giving = asyncio.create_task(one.carry(Streams(*old), 0))
        taking = asyncio.create_task(other.carry(Streams(*older), 0))
        person[1].write(b"first ")
        assert await scheduler[0].readexactly(6) == b"first "
        await one.drop_carrier()  # this end knows that the carrier is broken
        with pytest.raises(EOFError):
            await giving
        person[1].write(b"second")
        await other.drop_carrier()
        with pytest.raises(EOFError):
            await taking
        both = [one.carry(Streams(*new), other.taken), other.carry(Streams(*newer), one.taken)]
        carrying = asyncio.gather(*both)
        person[1].close()
        assert await scheduler[0].read() == b"second"
        await carrying


async def test_the_end_of_a_stream_is_reported() -> None:
    async with local() as (person, one), local() as (scheduler, other):
        carrying = asyncio.create_task(carried(one, other, (1 << 30, 1 << 30)))
        person[1].write(b"last words")
        person[1].close()
        assert await scheduler[0].read() == b"last words"
        await carrying
        assert one.over.is_set() and other.over.is_set()


async def test_unconfirmed_bytes_are_limited() -> None:
    async with local() as (person, one):
        person[1].write(bytes(3 * resumable_stream.WINDOW))
        writing = asyncio.create_task(person[1].drain())
        await asyncio.wait([writing], timeout=0.5)
        assert not writing.done()
        writing.cancel()
        unconfirmed = sum(len(frame) - HEADER.size for _, frame in one._held)
        assert unconfirmed <= resumable_stream.WINDOW + resumable_stream.PIECE
        one.close()


async def test_the_largest_frame_of_an_older_release_is_taken() -> None:
    async with local() as (person, one), pair() as (here, there):
        data = random.Random(4).randbytes(resumable_stream.LARGEST)
        carrying = asyncio.create_task(one.carry(Streams(*here), 0))
        there[1].write(HEADER.pack(resumable_stream.DATA, len(data)) + data)
        assert await person[0].readexactly(len(data)) == data
        one.close()
        carrying.cancel()
        await asyncio.gather(carrying, return_exceptions=True)


async def test_a_stream_that_was_closed_before_its_connection_closes_it() -> None:
    stream = ResumableStream()
    stream.close()
    server = await asyncio.get_running_loop().create_server(lambda: stream, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    server.close()


async def test_a_count_inside_a_frame_breaks_the_carrier() -> None:
    async with local() as (person, one), pair() as (here, _there):
        person[1].write(bytes(1000))
        await one._more.wait()
        async with asyncio.timeout(10):
            with pytest.raises(EOFError, match="counts otherwise"):
                await one.carry(Streams(*here), 500)


async def test_invalid_data_ends_the_stream() -> None:
    async with local() as (_person, one), pair() as (here, there):
        there[1].write(HEADER.pack(resumable_stream.DATA, resumable_stream.LARGEST + 1))
        await one.carry(Streams(*here), 0)
        assert one.over.is_set()
        assert COUNT.size == 8
