"""Sends server-sent events to a browser, which may disconnect at any moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

MOST_OF_A_PERSON = 20  # open streams of one person
# An event at the beginning and every 15 s tells proxies and pages that the stream is alive. A page that gets no event
# takes it that a proxy holds the stream back, and asks for the values instead (extensions/frontend/pages/api.js).
_HEARTBEAT = 15.0  # seconds
_ALIVE = b"event: alive\ndata: 1\n\n"


class PageStreams:
    """Counts the open streams of each person, who may have at most ``MOST_OF_A_PERSON``."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_more(self, person: str) -> Iterator[bool]:
        """Count a new stream of ``person`` during the block, and yield True.

        If the person has ``MOST_OF_A_PERSON`` open streams already, count nothing, and yield False.
        """
        if self._open[person] >= MOST_OF_A_PERSON:
            yield False
            return
        self._open[person] += 1
        try:
            yield True
        finally:
            self._open[person] -= 1
            if not self._open[person]:
                del self._open[person]


class Source(NamedTuple):
    """One source of a stream: each of ``values`` is sent as JSON in an event with the name ``event``.

    ``shape``: the type of a value.
    """

    event: str
    shape: TypeAdapter[Any]
    values: AsyncGenerator[Any]


class Stream:
    """A stream of events with the values of several sources.

    The stream ends when one of the sources ends, or when ``stop`` is called.
    """

    def __init__(self, *sources: Source) -> None:
        self._sources = sources
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    def stop(self) -> None:
        """End the stream; called when the client has disconnected."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()

    async def run(self, handler: RequestHandler) -> None:
        """Write events until the stream ends. No task continues in the background afterwards.

        Raises the error of a source that failed; a disconnected client is no error.
        """
        work = [*(self._copy(source, handler) for source in self._sources), _beat(handler)]
        self._tasks = [asyncio.get_running_loop().create_task(one) for one in work]
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in self._tasks:
                task.cancel()
            done = await asyncio.gather(*self._tasks, return_exceptions=True)
        for error in done:
            if isinstance(error, Exception) and not isinstance(error, StreamClosedError):
                raise error

    async def _copy(self, source: Source, handler: RequestHandler) -> None:
        event = source.event.encode()
        async with aclosing(source.values) as values:
            if self._stopped:
                return
            async for value in values:
                handler.write(b"event: %b\ndata: %b\n\n" % (event, source.shape.dump_json(value)))
                await handler.flush()


def begin_stream(handler: RequestHandler) -> None:
    """Set the headers of a response that is a stream of events, which no proxy should store or hold back."""
    handler.set_header("Content-Type", "text/event-stream")
    handler.set_header("Cache-Control", "no-store")
    handler.set_header("X-Accel-Buffering", "no")


async def _beat(handler: RequestHandler) -> None:
    while True:
        handler.write(_ALIVE)
        await handler.flush()
        await asyncio.sleep(_HEARTBEAT)
