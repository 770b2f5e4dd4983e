"""Server-sent events to a browser that may go at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Generic, TypeVar

from pydantic import TypeAdapter
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

T = TypeVar("T")

_HEARTBEAT = 15.0  # seconds; tells proxies that the stream lives


class Stream(Generic[T]):
    """One stream of values under one event name. It ends with its source, or when ``stop`` is called."""

    def __init__(self, event: str, shape: TypeAdapter[T], source: AsyncGenerator[T]) -> None:
        self._event = event.encode()
        self._shape = shape
        self._source = source
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def stop(self) -> None:
        """The reader is gone."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    async def run(self, handler: RequestHandler) -> None:
        """Write until the end. Nothing goes on in the background afterwards."""
        self._task = asyncio.get_running_loop().create_task(self._copy(handler))
        beat = asyncio.get_running_loop().create_task(_beat(handler))
        try:
            await asyncio.wait([self._task, beat], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._task.cancel()
            beat.cancel()
            done = await asyncio.gather(self._task, beat, return_exceptions=True)
        for error in done:
            if isinstance(error, Exception) and not isinstance(error, StreamClosedError):
                raise error

    async def _copy(self, handler: RequestHandler) -> None:
        async with aclosing(self._source) as values:
            if self._stopped:
                return
            async for value in values:
                handler.write(b"event: %b\ndata: %b\n\n" % (self._event, self._shape.dump_json(value)))
                await handler.flush()


async def _beat(handler: RequestHandler) -> None:
    while True:
        handler.write(b": \n\n")
        await handler.flush()
        await asyncio.sleep(_HEARTBEAT)
